"""One run at a time per output folder."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from vaetools.errors import OutputError, UsageError
from vaetools.runner.lock import folder_lock
from vaetools.runner.place import Place

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys, time
from pathlib import Path
from vaetools.runner.lock import folder_lock
from vaetools.runner.place import Place
with folder_lock(Place(Path(sys.argv[1])), None):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    folder = Place(tmp_path / "out")
    with folder_lock(folder, None):
        with pytest.raises(UsageError, match="another run") as caught, folder_lock(folder, None):
            pass
        assert str(tmp_path / "out") in str(caught.value)
    with folder_lock(folder, None):
        pass


def test_shards_run_at_the_same_time_but_not_with_an_unsharded_run(tmp_path: Path) -> None:
    with folder_lock(Place(tmp_path), (1, 2)), folder_lock(Place(tmp_path), (2, 2)):
        for shard in ((1, 2), None):
            with pytest.raises(UsageError), folder_lock(Place(tmp_path), shard):
                pass
    with (
        folder_lock(Place(tmp_path), None),
        pytest.raises(UsageError),
        folder_lock(Place(tmp_path), (1, 2)),
    ):
        pass


def test_a_killed_run_releases_the_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError), folder_lock(Place(tmp_path), None):
            pass
        process.kill()
    with folder_lock(Place(tmp_path), None):
        pass


def test_a_folder_that_cannot_be_created_is_an_output_error(nobody: Path) -> None:
    (nobody / "file").touch()
    with (
        pytest.raises(OutputError, match="cannot be written to"),
        folder_lock(Place(nobody / "file" / "out"), None),
    ):
        pass
    nobody.chmod(0o500)
    with (
        pytest.raises(OutputError, match="Permission denied"),
        folder_lock(Place(nobody / "out"), None),
    ):
        pass
