"""Whatever a plugin raises, returns or registers costs the plugin or the input, and nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.cli.commands import flags_of
from vaetools import Image, ImageOperation, Operation
from vaetools.cli import main
from vaetools.cli.flags import common_flags
from vaetools.errors import PluginError
from vaetools.image import encode_image
from vaetools.operation import RESERVED_OPTIONS, RESERVED_SHORT_FLAGS, output_names, results_of
from vaetools.operation.options import NoOptions
from vaetools.operation.step import Step
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
import vaetools
class Fine(vaetools.Operation):
    "Works."
    name = "fine"
    def process(self, item): return item
@vaetools.hookimpl
def register_operations(): return [Fine]
"""

RAISED = {
    "GeneratorExit": "raise GeneratorExit",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "SystemExit": "import sys; sys.exit(0)",
    "Own": "class Own(BaseException): pass\nraise Own('x')",
    "Mute": "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
    "Odd": "class Odd(Exception):\n    def __str__(self): return 3\nraise Odd",
    "Ours": (
        "import vaetools.errors\nclass Ours(vaetools.errors.PluginError):\n"
        "    def __str__(self): raise SystemExit\nraise Ours('x')"
    ),
    "RecursionError": "def f(): f()\nf()",
}
"""Code at import, by the class that the error names."""

HOOKS = {
    "more than 1,000 values": "register_operations(): return iter(int, 1)",
    "not an Operation class": "register_operations(): return [3]",
    "not iterable": "register_operations(): return 5",
    "not a click command": "register_commands(): return ['x']",
    "PathLike": "register_models(): return [None]",
    "GeneratorExit": "register_models(): raise GeneratorExit",
}
"""Code of a hook, by what the error says."""

NAMES = ["a b", "", "--help", "-o", "../x", "x\x1b[31m", "_make", "Ä", "for", "a" + chr(0)]


def errors(folder: Path) -> list[str]:
    """The errors of the plugins in a folder, besides which everything works."""
    (folder / "z_good.py").write_text(GOOD)
    host = PluginHost(builtin=False, installed=False, folders=[folder])
    assert list(host.operations) == ["fine"] and not host.commands and not host.model_folders
    return [plugin.error.line for plugin in host.broken if plugin.error is not None]


@pytest.mark.parametrize("name", RAISED)
def test_what_a_plugin_raises_is_its_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "a_bad.py").write_text(RAISED[name])
    (line,) = errors(tmp_path)
    assert line.startswith("E050 a_bad") and name in line and "\n" not in line


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler], ids=["off", "on"])
def test_an_interrupt_of_a_plugin_is_none_of_the_user(handler: Any, tmp_path: Path) -> None:
    """Also where SIGINT is ignored, as in background jobs of a shell."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        test_what_a_plugin_raises_is_its_error("KeyboardInterrupt", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("text", HOOKS)
def test_what_a_hook_returns_is_checked(text: str, tmp_path: Path) -> None:
    code = f"from vaetools import hookimpl\n@hookimpl\ndef {HOOKS[text]}"
    (tmp_path / "a_bad.py").write_text(code)
    (line,) = errors(tmp_path)
    assert line.startswith("E050 a_bad") and text in line


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("kind", ["operation", "command"])
def test_names_that_nobody_could_type_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    code = GOOD.replace('"fine"', repr(name))
    if kind == "command":
        code = (
            "import click\nfrom vaetools import hookimpl\n@hookimpl\n"
            f"def register_commands(): return [click.Command({name!r})]"
        )
    (tmp_path / "a_bad.py").write_text(code)
    (line,) = errors(tmp_path)
    assert f"is not a valid name of a{'n' * (kind == 'operation')} {kind}" in line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ('x: int = option(1, short="-o")', "the flag -o of 'x' is that of every operation"),
        ('x: int = option(1, short="-h")', "the flag -h of 'x' is that of every operation"),
        ('x: int = option(1, short="--out")', "'--out' is not a dash and a letter"),
        ('x: int = option(1, short="-x"); y: int = option(1, short="-x")', "is that of 'x'"),
        ("x: bool = False; no_x: int = 1", "the flag --no-x of 'no_x' is that of 'x'"),
        ("x: int = option(9, max=5)", "the default x=9 is not at most 5"),
        ("x: str = option('c', choices=['a', 'b'])", "the default x='c' is not one of a, b"),
        ("lenient: bool = False", "an option 'lenient' already"),
        ("help: str = 'x'", "an option 'help' already"),
    ],
)
def test_flags_that_are_taken_are_refused(options: str, text: str, tmp_path: Path) -> None:
    fields = "\n        ".join(options.split("; "))
    code = GOOD.replace(
        "    def process",
        "    from dataclasses import dataclass\n    @dataclass(frozen=True)\n"
        f"    class Options:\n        {fields}\n    def process",
    ).replace("import vaetools\n", "import vaetools\nfrom vaetools import option\n")
    (tmp_path / "a_bad.py").write_text(code.replace('"fine"', '"other"'))
    (line,) = errors(tmp_path)
    assert text in line


def test_every_flag_of_all_operations_is_reserved() -> None:
    flags = {flag for option in common_flags().values() for flag in flags_of(option)}
    assert {flag for flag in flags if not flag.startswith("--")} <= RESERVED_SHORT_FLAGS
    long = {flag[2:].replace("-", "_") for flag in flags if flag.startswith("--")}
    assert long - {"to"} <= RESERVED_OPTIONS  # an operation may choose the format itself


def test_the_limit_of_recursion_is_restored(tmp_path: Path) -> None:
    (tmp_path / "a_bad.py").write_text("import sys; sys.setrecursionlimit(150)")
    limit = sys.getrecursionlimit()
    assert "implements no hook" in errors(tmp_path)[0]
    assert sys.getrecursionlimit() == limit


class Gives(Operation):
    name = "gives"

    def process(self, item: Image) -> Image:
        raise NotImplementedError


class Applies(ImageOperation):
    name = "applies"
    result: object = None

    def apply(self, image: np.ndarray) -> np.ndarray:
        return self.result  # type: ignore[return-value]


WRONG = {
    "complex": np.zeros((96, 128, 3), complex),
    "object": np.full((96, 128, 3), None),
    "text": np.full((96, 128, 3), "x"),
    "none": None,
    "string": "image",
    "ragged": [[1.0], [1.0, 2.0]],
    "function": lambda: 0,
}


@pytest.mark.parametrize("name", WRONG)
def test_an_array_that_is_no_image_is_the_plugins_error(name: str) -> None:
    operation = Applies(None, NoOptions())
    operation.result = WRONG[name]
    with pytest.raises(PluginError, match="applies gave") as caught:
        Step(operation)(gradient(96, 128))
    assert caught.value.code == "E050"


@pytest.mark.parametrize("given", [None, 3, "text", {"a": 1}, [3], [None], iter([b"x"])])
def test_a_result_of_another_kind_is_the_plugins_error(given: object) -> None:
    with pytest.raises(PluginError, match="gives gave"):
        results_of(Gives(None, NoOptions()), given)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), complex), np.zeros(4, np.uint8), np.zeros((4, 4, 2), np.uint8), [[1]]],
    ids=["complex", "flat", "two channels", "list"],
)
def test_an_image_that_is_none_is_the_plugins_error(pixels: object) -> None:
    broken = Image(pixels)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="gives gave pixels"):
        results_of(Gives(None, NoOptions()), broken)


@pytest.mark.parametrize("names", [None, 3, "a.png", b"a", [3], [], iter(str, "x")])
def test_outputs_that_are_no_names_are_the_plugins_error(names: object) -> None:
    with pytest.raises(PluginError, match="gives name"):
        output_names(Gives(None, NoOptions()), names)


NAMING = """
import sys, vaetools
from vaetools import hookimpl
class Names(vaetools.ImageOperation):
    "Names outputs."
    name = "names"
    def apply(self, image):
        return image
    def outputs(self, source):
        {code}
@hookimpl
def register_operations(): return [Names]
"""


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("return ['b' + source.name]", 0),
        ("return None", 1),
        ("return source.name", 1),
        ("raise ValueError('x')", 1),
        ("sys.exit(0)", 1),
        ("return iter(lambda: source, None)", 1),
    ],
)
def test_operations_that_cannot_name_outputs_fail_for_each_input(
    code: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encode_image(Image(gradient()), "png"))
    (tmp_path / "names.py").write_text(NAMING.format(code=code))
    for words in (["names"], ["run", "names"]):
        folder = str(tmp_path)
        with pytest.raises(SystemExit) as caught:
            main(["--plugins-dir", folder, *words, f"{folder}/in", "-o", f"{folder}/{len(words)}"])
        captured = capsys.readouterr()
        assert caught.value.code == status, captured.err
        assert ("1 done" in captured.err) == (status == 0)
        assert status == 0 or ("1 failed" in captured.err and "a.png" in captured.err)


ENDS = """
import os, vaetools
from vaetools import hookimpl
{start}
class Ends(vaetools.ImageOperation):
    "Ends the process."
    name = "ends"
    def apply(self, image):
        print("NOISE"); os.write(1, b"RAW NOISE")
        {end}
        return image
@hookimpl
def register_operations(): return [Ends]
"""


@pytest.mark.parametrize(
    ("start", "end", "code", "text"),
    [
        ("os.write(1, b'AT IMPORT'); import sys; sys.stdout.close()", "pass", 0, "1 done"),
        ("pass", "os._exit(0)", 1, "E050 in/a.png: the operation tried to exit (os._exit(0))"),
        (
            "os._exit(0)",
            "pass",
            2,
            "E050 ends (plugins/ends.py): cannot be loaded: SystemExit: os._",
        ),
    ],
    ids=["writes", "ends in apply", "ends at import"],
)
def test_stdout_has_records_only_and_an_exit_is_no_success(
    start: str, end: str, code: int, text: str, tmp_path: Path
) -> None:
    for name in ("in", "plugins"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encode_image(Image(gradient()), "png"))
    (tmp_path / "plugins" / "ends.py").write_text(ENDS.format(start=start, end=end))
    words = ["--plugins-dir", "plugins", "ends", "in", "-o", "out", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "vaetools", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code and text in done.stderr
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == ["in/a.png"] * (
        code < 2
    )
    assert ("AT IMPORT" in done.stderr) == start.startswith("os.write")


def test_an_operation_that_lacks_a_method_costs_its_plugin(tmp_path: Path) -> None:
    (tmp_path / "grey.py").write_text(
        "import vaetools\n"
        "class Grey(vaetools.Operation):\n"
        "    name = 'grey'\n"
        "@vaetools.hookimpl\n"
        "def register_operations():\n"
        "    return [Grey]\n"
    )
    (line,) = errors(tmp_path)
    assert line.startswith("E050 grey") and "grey does not define process" in line
