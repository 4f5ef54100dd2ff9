"""What a command says on a machine with a GPU and without cuDNN, to the last line of stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import pytest

from tests.cuda import fake
from vaetools.testing import gradient

if TYPE_CHECKING:
    from pathlib import Path

MISSING = fake.missing()

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "all is there"),
    pytest.mark.xdist_group("fake_cuda"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def libraries(request: pytest.FixtureRequest) -> Path:
    return fake.build(request.config.cache.mkdir("fake_cuda"))


def denoise(device: str, folder: Path, libraries: Path) -> tuple[int, list[str]]:
    """Exit code and lines on stderr."""
    cv2.imwrite(str(folder / "a.png"), gradient())
    words = ["denoise", folder / "a.png", "-o", folder / "out.png", "--sigma", "9"]
    done = subprocess.run(
        [sys.executable, "-m", "vaetools", *words, "--device", device],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def test_auto_names_cudnn_and_goes_on(tmp_path: Path, libraries: Path) -> None:
    code, (warning, summary) = denoise("auto", tmp_path, libraries)
    assert code == 0 and summary.startswith("1 done")
    assert warning.startswith("cuda:0: cuDNN 9 is missing (libcudnn.so.9); pip install")
    assert warning.endswith("; using the CPU")


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cuda", "E060 cuda:0: cuDNN 9 is missing (libcudnn.so.9); pip install 'vaetools[cuda]'"),
        ("cuda:1", "E060 cuda:1: there is no such GPU, only cuda:0; choose one of these"),
        ("tensorrt", "E060 tensorrt:0: cuDNN 9 is missing"),
    ],
)
def test_a_device_that_is_named_fails_with_one_line(
    device: str, said: str, tmp_path: Path, libraries: Path
) -> None:
    code, (line,) = denoise(device, tmp_path, libraries)
    assert code == 4 and line.startswith(said)
    assert not (tmp_path / "out.png").exists()
