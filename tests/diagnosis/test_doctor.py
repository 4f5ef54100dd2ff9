"""`vaetools doctor` finds what is wrong with an installation, and says how to mend it."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

import vaetools
from tests.diagnosis.faults import FAULTS, Bench, Fault
from vaetools.diagnosis.finding import Installation
from vaetools.diagnosis.packages import libraries
from vaetools.image import Image, encode_image, format_of
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="stub libraries need cc on Linux"
)


def findings(bench: Bench) -> tuple[int, list[dict[str, str]]]:
    done = bench.run("doctor", "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def has(found: list[dict[str, str]], fault: Fault) -> bool:
    return any(
        (one["state"], one["subject"]) == (fault.state, fault.subject)
        and fault.text in one["text"]
        and fault.cure in one["cure"]
        for one in found
    )


def test_doctor_finds_all_ten_faults_of_one_installation(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    faults = {name: seed(bench) for name, seed in FAULTS.items()}
    assert len(faults) == 10
    code, found = findings(bench)
    assert code == 4
    assert [name for name, fault in faults.items() if not has(found, fault)] == [], found


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_alone_is_the_only_one_that_is_found(name: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    fault = FAULTS[name](bench)
    code, found = findings(bench)
    assert has(found, fault), found
    assert code == (4 if fault.state == "fail" else 0)
    others = [one for one in found if one["state"] != "ok" and one["subject"] != fault.subject]
    allowed = {
        "both wheels of ONNX Runtime": {"models"},
        "old driver": {"cuda libraries", "cudnn"},
        "wrong major version of CUDA": {"cudnn"},
        "no space": {"cache"},
    }
    assert {one["subject"] for one in others} <= allowed.get(name, set())
    assert all(one["cure"] for one in found if one["state"] != "ok")


@pytest.mark.parametrize("module", ["av", "rawpy"])
def test_an_extra_that_does_not_import_is_found(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / module).mkdir()
    text = "libx.so.6: cannot open shared object file"
    (tmp_path / module / "__init__.py").write_text(f"raise ImportError({text!r})")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    bad = [one for one in libraries(Installation(PluginHost, vaetools.open)) if one.state != "ok"]
    assert [(one.subject, one.state) for one in bad] == [(module, "fail")]
    assert text in bad[0].text and bad[0].cure.endswith(f"--no-deps {module}")


LIBGL = """
class NoLibGL:
    def find_spec(self, name, path=None, target=None):
        if name == "cv2":
            path = "site-packages/cv2/cv2.abi3.so"
            text = "libGL.so.1: cannot open shared object file: No such file or directory"
            raise ImportError(text, name="cv2", path=path)
sys.meta_path.insert(0, NoLibGL())
"""
"""What importing OpenCV's build with windows raises in a slim container."""


def images(folder: Path) -> Path:
    for name in ("a.png", "b.jpg", "c.webp", "d.tif"):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(encode_image(Image(gradient()), format_of(name)))
    return folder


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    """The only error of a command that could do nothing."""
    assert done.returncode == 4 and done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first.startswith("E061 ") and not any(line.startswith("E0") for line in rest)
    return first


@pytest.mark.parametrize(
    "words", ["compress in -o out", pytest.param("eval in in", marks=pytest.mark.slow)]
)
def test_without_libgl_a_command_says_so_once(words: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.causes += LIBGL
    images(tmp_path / "in")
    line = one_error(bench.run(*words.split()))
    assert "libGL.so.1" in line and "libgl1 libglib2.0-0" in line
    assert "pip install opencv-python-headless" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "code", "words"),
    [
        ("cv2", "pip install --force-reinstall", "denoise in -o out --sigma 5"),
        ("PIL._imaging", "--no-deps pillow", "denoise in -o out --sigma 5"),
        ("PIL._webp", "--no-deps pillow", "denoise in/c.webp -o out --sigma 5"),
        ("onnxruntime", "onnxruntime-gpu", "denoise in -o out --sigma 5"),
        ("onnxruntime", "onnxruntime-gpu", "run compress in -o out"),
    ],
)
def test_a_library_that_is_missing_is_named_once(
    missing: str, code: str, words: str, tmp_path: Path
) -> None:
    bench = Bench(tmp_path)
    bench.causes += f"Missing.names.add({missing!r})\n"
    images(tmp_path / "in")
    assert code in one_error(bench.run(*words.split()))


@pytest.mark.slow
def test_an_empty_opencv_is_not_a_damaged_image(tmp_path: Path) -> None:
    """What is left of `cv2` after one of two wheels was uninstalled: a folder without code."""
    bench = Bench(tmp_path)
    bench.causes += "import types; sys.modules['cv2'] = types.ModuleType('cv2')\n"
    images(tmp_path / "in")
    line = one_error(bench.run("denoise", "in", "-o", "out", "--sigma", "5"))
    assert "opencv-python" in line and "has no attribute" in line
