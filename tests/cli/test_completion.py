"""Completion: what is offered where, how light it is, and that real shells show it."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.paths import ROOT
from tests.test_docs import STAND_INS
from vaetools.cli import main
from vaetools.cli.completion import SCRIPTS, tree_of
from vaetools.cli.tab import completions
from vaetools.plugin.host import PluginHost

if TYPE_CHECKING:
    from collections.abc import Mapping

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def tree() -> Tree:
    found: Tree = json.loads(json.dumps(tree_of()))
    return found


def offered(tree: Mapping[str, Any], line: str) -> list[str]:
    """Words for a line, whose last word is not complete; `<file>` and `<dir>` stand for paths."""
    items = completions(tree, line.split(" "))
    return [value if kind == "word" else f"<{kind}>" for kind, value, _ in items]


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("", ["compress", "decompress", "run", "models", "completion"]),
        ("dec", ["decompress"]),
        ("--pl", ["--plugins-dir"]),
        ("models ", ["list", "show", "verify"]),
        ("compress --qual", ["--quality", "--quality-out"]),
        ("compress --to ", ["png", "same"]),
        ("compress --to=p", ["--to=png"]),
        ("compress a.png -o out --to w", ["webp"]),
        ("compress ", ["<file>"]),
        ("compress --journal ", ["<dir>"]),
        ("compress -o ", ["<file>"]),
        ("compress --model ", ["photo-codec"]),
        ("denoise --device cu", ["cuda"]),
        ("models show photo-c", ["photo-codec"]),
        ("models verify mnist-mlp p", ["photo-codec", "photo-denoise"]),
        ("inspect mnist-c", ["mnist-conv"]),
        ("train small", ["small-photos", "<file>"]),
        ("explain E08", ["E080", "E081"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("run d", ["denoise", "decompress", "<file>"]),
        ("run denoise,com", ["denoise,compress"]),
        ("run denoise,compress a.png --si", ["--sigma"]),
        ("run denoise,compress a.png --qu", ["--quality", "--quality-out"]),
    ],
)
def test_what_is_offered(tree: Tree, line: str, some: list[str]) -> None:
    found = offered(tree, line)
    assert [value for value in some if value not in found] == []
    typed = line.rpartition(" ")[2]
    assert all(value.startswith(typed) or value in ("<file>", "<dir>") for value in found)


@pytest.mark.parametrize(
    ("line", "absent"),
    [
        ("compress --quiet --qu", "--quiet"),
        ("compress --no-resume --re", "--resume"),
        ("compress --model ", "photo-denoise"),
        ("explain E010 ", "E011"),
        ("compress -- --qu", "--quality"),
        ("nonsense ", "<file>"),
    ],
)
def test_what_is_not_offered(tree: Tree, line: str, absent: str) -> None:
    assert absent not in offered(tree, line)


def test_repeatable_flags_are_offered_again(tree: Tree) -> None:
    assert "--include" in offered(tree, "compress --include a --incl")


def test_every_operation_and_option_is_offered(tree: Tree) -> None:
    for name in PluginHost(installed=False).operations:
        assert name in offered(tree, "")
        assert {"--out", "--help"} <= set(offered(tree, f"{name} --"))


def test_operations_of_plugins_are_offered(tmp_path: Path) -> None:
    text = STAND_INS.replace('"denoise"', '"tidy"').replace('"compress"', '"pack"')
    (tmp_path / "mine.py").write_text(text)
    found = tree_of([str(tmp_path)])
    assert offered(found, "ti") == ["tidy"]
    assert offered(found, "tidy --stren") == ["--strength"]
    assert "tidy,pack" in offered(found, "run tidy,p")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_say_how_to_install_them(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["completion", shell])
    assert not caught.value.code
    text = capsys.readouterr().out
    assert text == SCRIPTS[shell] and f"vaetools completion {shell}" in text


# In processes of their own.


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a program `vaetools` and a file, and a cache of its own."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "vaetools"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vaetools "$@"\n')
    program.chmod(0o755)
    (tmp_path / "my holiday.png").touch()
    (tmp_path / "home").mkdir()
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    paths = [str(ROOT), *(p for p in sys.path if p)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(place / "home"),
        "XDG_CACHE_HOME": str(place / "cache"),
        "XDG_CONFIG_HOME": str(place / "home"),
        "TERM": "dumb",
    }


@pytest.mark.slow
def test_the_second_tab_is_light(place: Path) -> None:
    """No click, and so nothing heavier; what changes is seen all the same."""
    code = (
        "import sys\nfrom vaetools.cli import main\nmain(sys.argv[1:])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    plugins = place / "plugins"
    plugins.mkdir()
    env = environment(place) | {"VAETOOLS_COMPLETE": "fish"}
    env["VAETOOLS_PLUGINS_DIR"] = str(plugins)

    def press(line: str) -> tuple[str, set[str]]:
        words = [sys.executable, "-c", code, *line.split(" ")]
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
        return done.stdout, {name.partition(".")[0] for name in done.stderr.split()}

    first, _ = press("compress --bp")
    second, modules = press("compress --bp")
    assert first == second == "word\t--bpp\tTarget bits per pixel\n"
    assert not modules & {"click", "numpy", "pluggy", "importlib.metadata", "cv2", "onnxruntime"}
    text = STAND_INS.replace('"denoise"', '"tidy"').replace('"compress"', '"pack"')
    (plugins / "mine.py").write_text(text)
    assert press("tid")[0].startswith("word\ttidy\t")
    (cache,) = (place / "cache").rglob("completion-*.json")
    cache.write_text("{}")
    assert press("compress --bp")[0] == first


CASES = [
    ("vaetools decomp", "decompress "),
    ("vaetools compress --targ", "--target-size "),
    ("vaetools compress --model photo-c", "photo-codec "),
    ("vaetools run denoise,com", "denoise,compress "),
    ("vaetools compress my", "my\\ holiday.png "),
    ("vaetools explain E08", "E08"),
]


def need(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"there is no {shell}")
    return found


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, words: list[str], place: Path) -> None:
        self.master, slave = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            words,
            cwd=place,
            env=environment(place),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def send(self, text: str) -> None:
        self.text = ""
        os.write(self.master, text.encode())

    def until(self, wanted: str, seconds: float = 60) -> str:
        deadline = time.monotonic() + seconds
        while wanted not in self.text and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace").replace("\a", "")
        assert wanted in self.text, repr(self.text)
        return self.text

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


STARTS = {
    "bash": (["--norc", "-i"], 'PS1="ready> "; eval "$(vaetools completion bash)"; echo to go\n'),
    "zsh": (
        ["-f", "-i"],
        'autoload -U compinit; compinit -u; eval "$(vaetools completion zsh)"; echo to go\n',
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("shell", STARTS)
def test_real_shells(shell: str, place: Path) -> None:
    """A line and TAB; Ctrl-U clears it again."""
    words, setup = STARTS[shell]
    terminal = Terminal([need(shell), *words], place)
    try:
        terminal.send(setup)
        terminal.until("\nto go" if shell == "zsh" else "to go\r\n")
        for line, wanted in CASES:
            terminal.send(f"{line}\t")
            terminal.until(wanted.rstrip())
            terminal.send("\x15")
        terminal.send("vaetools models s\t")
        terminal.until("show")
        terminal.send("\x15vaetools compress --mo\t\t\t")
        terminal.until("--models-dir")
    finally:
        terminal.close()


@pytest.mark.slow
def test_real_fish(place: Path) -> None:
    fish = need("fish")
    for line, wanted in CASES:
        code = f"vaetools completion fish | source; complete -C {json.dumps(line)}"
        done = subprocess.run(
            [fish, "--no-config", "-c", code],
            cwd=place,
            env=environment(place),
            capture_output=True,
            text=True,
            check=True,
        )
        assert wanted.replace("\\", "").strip() in done.stdout, (line, done.stdout, done.stderr)
