"""What a failing disk is to a user: one line with a code that is not that of a defect."""

import errno
from pathlib import Path

import pytest

from vaetools.errors import OutputError, UnreadableError
from vaetools.runner.fault import DISK_FULL, fault_of
from vaetools.system_errors import system_error


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, OutputError) for name in ("ENOSPC", "EROFS")),
        *((name, UnreadableError) for name in ("EIO", "EACCES", "ESTALE")),
    ],
)
def test_an_error_of_the_system_names_its_file(name: str, kind: type[Exception]) -> None:
    number = getattr(errno, name)
    found = system_error(OSError(number, "the reason", "a/b.png"))
    assert type(found) is kind
    assert found.line.startswith(f"{found.code} a/b.png: cannot be ")
    assert found.line.endswith(": the reason")


@pytest.mark.parametrize(
    "error", [OSError("without a number"), OSError(errno.EBADF, "x"), ValueError("x")], ids=str
)
def test_a_defect_of_the_program_stays_one(error: Exception) -> None:
    assert system_error(error) is None
    assert fault_of(error, Path("a.png")).code == "E099"


def test_a_full_disk_stops_a_run_wherever_it_is_noticed() -> None:
    fault = fault_of(OSError(errno.ENOSPC, "No space left on device"), Path("a.png"))
    assert (fault.code, fault.stops) == ("E070", DISK_FULL)
