"""Flags in seconds: what no system can wait for is refused."""

from __future__ import annotations

import pytest

from vaetools.cli import main

FLAGS = {
    "--lease": ("shards", ".", "-o", "run"),
    "--interval": ("denoise", ".", "-o", "out", "--watch"),
    "--seconds": ("plugins", "check", "."),
}


@pytest.mark.parametrize("value", ["inf", "nan", "1e11", "0"])
@pytest.mark.parametrize("flag", FLAGS)
def test_bad_seconds_are_one_line(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*FLAGS[flag], flag, value])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert flag in line and line.startswith("E0")
