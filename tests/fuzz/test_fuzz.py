"""Short runs of the fuzzers on every test run; long runs are marked slow, or started by hand."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import subprocess
import sys

import pytest

from tests.fuzz import container as fuzzer
from tests.fuzz.mutations import Case
from tests.fuzz.run import attempt
from tests.paths import ROOT


def fuzz(script, *arguments):
    command = [sys.executable, "-m", f"tests.fuzz.{script}", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False
    )


def assert_none_fails(script, cases, codes):
    """No case fails, and the cases are neither all refused nor all decoded."""
    run = fuzz(script, "--cases", str(cases), "--seed", "7")
    assert run.returncode == 0, run.stderr
    (line,) = run.stdout.splitlines()
    assert ", 0 failed;" in line
    decoded, refused = (int(n) for n in re.search(r": (\d+) decoded, (\d+) refused", line).groups())
    assert decoded + refused == cases
    assert decoded > 0.05 * cases, "mutations that get through everything"
    for code in codes:
        assert code in line


def test_containers_that_are_damaged():
    assert_none_fails("container", 2000, ["E030", "E031", "E032", "E034"])


def test_images_of_damaged_files():
    assert_none_fails("decode", 400, ["E030", "E031", "E032", "E033", "E034"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_containers_that_are_damaged():
    assert_none_fails("container", 100_000, ["E030", "E031", "E032", "E034"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_images_of_many_damaged_files():
    assert_none_fails("decode", 20_000, ["E030", "E031", "E032", "E033", "E034"])


def test_a_case_can_be_repeated_alone():
    one = fuzz("container", "--cases", "1", "--first", "1234", "--seed", "7").stdout
    two = fuzz("container", "--cases", "1", "--first", "1234", "--seed", "7").stdout
    assert one.split(";")[0] == two.split(";")[0]
    assert one.startswith("1 cases, seed 7: ")


def test_a_reader_that_takes_damaged_files_is_found():
    """The fuzzer detects what the runs above never met."""
    tables = fuzzer.toy_tables()
    files = [fuzzer.good_file(tables, number) for number in range(4)]
    hyper, *rest = files[1].sections
    other = dataclasses.replace(hyper, data=hyper.data + b"!")
    damaged = dataclasses.replace(files[1], sections=(other, *rest))
    begun = dataclasses.replace(files[1], sections=(hyper, *rest[:-1]))
    for found, is_forged, problem in [
        (files[1], False, ""),
        (begun, False, ""),
        (damaged, True, ""),
        (damaged, False, "decoded a damaged file"),
    ]:
        case = Case(b"", is_forged)
        outcome = attempt(case, files, lambda *_, found=found: found, random.Random(0))
        assert outcome == ("decoded", problem)


def assert_no_operator_does_harm(cases, seed):
    """No graph that passes the check ends the process, or takes more than 512 MiB or 10 s."""
    run = fuzz("nodes", "--cases", str(cases), "--seed", str(seed))
    assert run.returncode == 0, run.stdout
    facts = json.loads(run.stdout.splitlines()[-1])
    assert facts["checked"] == cases
    assert facts["ran"] > 0.2 * cases, "hardly any graph passes"


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_operators_in_graphs_of_one_node():
    assert_no_operator_does_harm(150, 7)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_many_operators_in_graphs_of_one_node():
    assert_no_operator_does_harm(20_000, 500_000)
