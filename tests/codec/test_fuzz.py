"""A short run of the fuzzer on every test run; the long ones are started by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FUZZER = Path(__file__).parents[2] / "benchmarks" / "fuzz_container.py"


def fuzz(*arguments):
    command = [sys.executable, FUZZER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_two_thousand_cases_and_not_one_that_fails():
    run = fuzz("--cases", "2000", "--seed", "7")
    assert run.returncode == 0, run.stderr
    (line,) = run.stdout.splitlines()
    assert ", 0 failed;" in line
    decoded, refused = (int(n) for n in re.search(r": (\d+) decoded, (\d+) refused", line).groups())
    assert decoded + refused == 2000
    assert decoded > 100, "mutations that get through everything"
    for code in ("E030", "E031", "E032", "E034"):
        assert code in line


def test_a_case_can_be_repeated_alone():
    one = fuzz("--cases", "1", "--first", "1234", "--seed", "7").stdout
    two = fuzz("--cases", "1", "--first", "1234", "--seed", "7").stdout
    assert one.split(";")[0] == two.split(";")[0]
    assert one.startswith("1 cases, seed 7: ")
