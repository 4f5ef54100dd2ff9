"""Methods of a hub: their signatures, their errors, and what type checkers find."""

from __future__ import annotations

import ast
import gc
import inspect
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vaetools
from tests.paths import ROOT
from tests.restoration.models import BLUR
from vaetools.errors import OptionError, UsageError
from vaetools.hub import Hub
from vaetools.model.runtime import Runtime
from vaetools.operation.signature import documentation, signature
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient

if TYPE_CHECKING:
    from pathlib import Path

STUB = ROOT / "vaetools/hub_methods.pyi"
BUILT_IN = PluginHost(installed=False).operations


@pytest.mark.parametrize("name", BUILT_IN)
def test_methods_have_the_signature_of_their_options(hub: Hub, name: str) -> None:
    method = getattr(hub, name.replace("-", "_"))
    assert method.__name__ == name.replace("-", "_") and method.__name__ in dir(hub)
    assert inspect.signature(method) == signature(BUILT_IN[name])
    assert method.__doc__ == documentation(BUILT_IN[name])
    assert BUILT_IN[name].Options.__name__ == "Options"
    assert "Args:" in method.__doc__ and ".." not in method.__doc__.replace("...", "")


@pytest.mark.parametrize("name", BUILT_IN)
def test_type_checkers_see_the_same_signatures(name: str) -> None:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    (stub,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    methods = [node for node in stub.body if isinstance(node, ast.FunctionDef)]
    found = [node for node in methods if node.name == name.replace("-", "_")]
    assert len(found) == (2 if BUILT_IN[name].result_depends_on else 1)
    expected = signature(BUILT_IN[name]).parameters
    for method in found:
        arguments = [*method.args.args[1:], *method.args.kwonlyargs]
        assert [argument.arg for argument in arguments] == [*expected]
        defaults = [*method.args.defaults, *filter(None, method.args.kw_defaults)]
        values = [p.default for p in expected.values() if p.default is not p.empty]
        assert [ast.literal_eval(default) for default in defaults] == values


def test_help_and_completion(hub: Hub) -> None:
    assert {"compress", "decompress", "denoise", "inpaint", "mask_dust"} <= {*dir(hub)}
    text = inspect.getdoc(hub.denoise)
    assert text is not None and "strength" in text and "standard deviation" in text
    assert repr(hub.op("denoise", sigma=20)) == (
        f"Step(<denoise: model='{BLUR}', sigma='20'>, bgr)"
    )
    assert repr(hub).startswith("Hub(device='cpu', operations: augment, compress")


def test_misspelt_names_get_a_suggestion(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="no operation 'denoize'; did you mean 'denoise'"):
        _ = hub.denoize  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"'compres'; did you mean 'compress'.*known: augment"):
        hub.op("compres")
    with pytest.raises(OptionError) as raised:
        hub.map("compress", tmp_path, out=tmp_path / "out", jobss=2)
    text = str(raised.value)
    assert "there is no option 'jobss'; did you mean 'jobs'?" in text
    assert "options of compress: quality" in text and "run settings: dry_run" in text
    with pytest.raises(OptionError, match="mask-dust uses no model"):
        hub.op("mask-dust", model=BLUR)


def test_operations_by_class(hub: Hub) -> None:
    class Invert(vaetools.ImageOperation):
        name = "invert"

        def apply(self, image: np.ndarray) -> np.ndarray:
            return 1 - image

    assert np.array_equal(hub.op(Invert)(gradient()), 255 - gradient())
    chain = hub.chain(Invert, Invert)
    assert np.array_equal(chain(gradient()), gradient())


def test_a_run_leaves_the_step_alone(hub: Hub, tmp_path: Path) -> None:
    step = hub.op("denoise", sigma=20)
    before = step.operation.max_pixels
    vaetools.imwrite(tmp_path / "in/a.png", gradient())
    hub.map(step, tmp_path / "in", out=tmp_path / "out", max_pixels=10_000)
    hub.map(hub.chain(step, step), tmp_path / "in", out=tmp_path / "two", max_pixels=10_000)
    assert step.operation.max_pixels == before


def test_old_names_warn(hub: Hub) -> None:
    with pytest.warns(DeprecationWarning, match="Hub.make"):
        assert hub.make("denoise", sigma=20).name == "denoise"
    with pytest.warns(DeprecationWarning, match="Hub.operation"):
        assert hub.operation("denoise") is hub.find("denoise")


TYPOS = """\
import numpy as np
import vaetools

hub = vaetools.open()
image = np.zeros((8, 8, 3), np.uint8)
hub.compres(image)  # no such operation
hub.compress(image, qualty=3)  # no such option
hub.compress(image, quality="best")  # not a number
hub.inpaint(image)  # the mask is missing
hub.augment(image, levels="coarse")  # not one of the words
hub.denoise(image).samples  # an array
"""
RIGHT = """\
import numpy as np
import vaetools

hub = vaetools.open()
image = np.zeros((8, 8, 3), np.uint8)
data: bytes = hub.compress(image, quality=75, roi=image[..., 0])
back: np.ndarray = hub.decompress(data, region=(0, 0, 4, 4))
clean: np.ndarray = hub.denoise(back, sigma=25)
two: tuple[np.ndarray, ...] = hub.denoise("a.png", samples=2).samples
whole: np.ndarray = hub.inpaint(image, lambda frame: frame[..., 0] > 3)
copies: list[np.ndarray] = hub.augment(image, n=2)
step: vaetools.Step[bytes] = vaetools.Step(hub.op("compress").operation)
for packed in hub.stream(step, [image]):
    packed.hex()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "checker", [["-m", "mypy", "--strict"], ["-m", "pyright", "--level", "error"]]
)
def test_type_checkers_find_typos_and_accept_the_rest(
    checker: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(checker[1])
    monkeypatch.setenv("MYPYPATH", f"{ROOT}:{ROOT / 'plugins'}:{ROOT / 'exported_models'}")

    def check(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        (tmp_path / "pyrightconfig.json").write_text(
            f'{{"extraPaths": ["{ROOT}"], "typeCheckingMode": "standard"}}'
        )
        (tmp_path / "mypy.ini").write_text("[mypy]\n[mypy-vaetools.*]\nfollow_imports = silent\n")
        words = [sys.executable, *checker, name]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.stdout

    wrong = check("typos.py", TYPOS)
    for line in range(6, 12):
        assert f"typos.py:{line}" in wrong, wrong
    right = check("right.py", RIGHT)
    assert "error" not in right.replace("0 errors", ""), right


def test_public_names_are_documented() -> None:
    for name in vaetools.__all__:
        value: Any = getattr(vaetools, name)
        if isinstance(value, type) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_what_an_operation_may_be_is_said(hub: Hub, tmp_path: Path) -> None:
    bad: list[Any] = [None, 5, gradient(), int, len, b"denoise", {"denoise"}]
    bad += [[None], ["denoise", 5], vaetools.Operation]
    for op in bad:
        for call in (
            lambda op=op: hub.op(op),
            lambda op=op: hub.chain(op),
            lambda op=op: hub.map(op, tmp_path, out=tmp_path),
            lambda op=op: hub.stream(op, []),
        ):
            with pytest.raises(UsageError, match="is not an operation; pass a name"):
                call()


def test_an_operation_may_be_an_object(hub: Hub) -> None:
    operation = hub.op("denoise", sigma=20).operation
    assert hub.op(operation).operation is operation
    assert hub.chain(operation, "compress")(gradient()) == hub.compress(hub.denoise(gradient(), 20))


def test_inputs_of_a_run_are_files(hub: Hub, tmp_path: Path) -> None:
    for inputs in (gradient(), [gradient()], None, 5):
        with pytest.raises(UsageError, match="inputs are paths of files and folders, not"):
            hub.map("denoise", inputs, out=tmp_path)  # type: ignore[arg-type]
    for name, value in (("jobs", "2"), ("memory", "1G"), ("jobs", 1.5)):
        with pytest.raises(OptionError, match=f"{name}={value!r} is not at least 1"):
            hub.map("denoise", tmp_path, out=tmp_path, **{name: value})
    for name in ("depth", "threads"):
        with pytest.raises(OptionError, match=f"{name}='3' is not at least 1"):
            hub.stream("denoise", [], **{name: "3"})  # type: ignore[call-overload]


def test_a_misspelt_run_setting_of_a_step_gets_a_suggestion(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"jobss: .*did you mean 'jobs'"):
        hub.map(hub.op("denoise"), tmp_path, out=tmp_path / "out", jobss=2)


def test_calls_keep_no_function(hub: Hub) -> None:
    def mask(frame: np.ndarray) -> np.ndarray:
        return frame[..., 0] > 200

    alive = weakref.ref(mask)
    hub.inpaint(gradient(), mask=mask)
    del mask
    gc.collect()
    assert alive() is None


def test_a_cached_call_checks_its_options(hub: Hub) -> None:
    hub.compress(gradient(), quality=1)
    with pytest.raises(OptionError, match="quality=True"):
        hub.compress(gradient(), quality=True)


def test_private_names_are_not_operations(hub: Hub) -> None:
    for name in ("_repr_html_", "__wrapped__", "_ipython_display_"):
        assert not hasattr(hub, name)
        with pytest.raises(AttributeError, match=f"'Hub' object has no attribute '{name}'"):
            getattr(hub, name)
    with pytest.raises(AttributeError):
        _ = Hub.__new__(Hub).denoise


def test_one_folder_is_a_folder(models: Path) -> None:
    hub = vaetools.open("cpu", models_dirs=models, plugins_dirs=str(models))
    assert hub.denoise(gradient(), 20, model=BLUR).shape == (48, 64, 3)
    assert [plugin.name for plugin in hub.host.broken] == []


@pytest.mark.parametrize("threads", [-1, "2", 1.5])
def test_bad_threads_are_one_error(models: Path, threads: Any) -> None:
    hub = vaetools.open("cpu", models_dirs=[models], threads=threads)
    with pytest.raises(OptionError, match=r"threads=.* is not 0 … 1024"):
        hub.denoise(gradient(), 20, model=BLUR)


def test_threads_open_one_runtime(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    ready = threading.Barrier(4)

    class Slow(Runtime):
        def __init__(self, *args: Any, **options: Any) -> None:
            opened.append(1)
            time.sleep(0.05)
            super().__init__(*args, **options)

    monkeypatch.setattr("vaetools.resolver.Runtime", Slow)
    hub = Hub(PluginHost(installed=False), [models], device="cpu", threads=1)

    def first_call(_: int) -> np.ndarray:
        ready.wait()
        found: np.ndarray = hub.denoise(gradient(), 20)
        return found

    with ThreadPoolExecutor(4) as pool:
        assert len([*pool.map(first_call, range(4))]) == 4
    assert len(opened) == 1
