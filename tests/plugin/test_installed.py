"""Installed plugins are imported only when something of theirs is asked for, and hurt nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT
from vaetools.errors import PluginError
from vaetools.plugin.host import PluginHost
from vaetools.plugin.offers import FILE, OfferCache, installed_points
from vaetools.plugin.probe import probed_offers
from vaetools.testing import write_tiny_vae

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = """
import os, pathlib, click, vaetools
print("imported")
pathlib.Path(os.environ["MARK"]).touch()
class Fine(vaetools.Operation):
    "Works."
    name = "fine"
    def process(self, item): return item
@click.command("greet", help="Say hello.")
def greet(): click.echo("hello")
@vaetools.hookimpl
def register_operations(): return [Fine]
@vaetools.hookimpl
def register_commands(): return [greet]
@vaetools.hookimpl
def register_models(): return [pathlib.Path(__file__).parent / "models"]
"""

BAD = {
    "raises": "raise RuntimeError('no luck')",
    "exits": "import sys; sys.exit(3)",
    "vanishes": "import os; os._exit(0)",
    "crashes": "import os; os.abort()",
    "lacks": "import a_module_that_is_not_there",
    "threads": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n1 / 0",
}


def install(site: Path, name: str, code: str, version: str = "1.2") -> Path:
    """An installed distribution, as pip leaves it: metadata with an entry point, and the module."""
    module = site / f"vaetools_{name}.py"
    module.write_text(code)
    info = site / f"vaetools_{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vaetools-{name}\nVersion: {version}\n"
    )
    (info / "entry_points.txt").write_text(f"[vaetools]\n{name} = vaetools_{name}\n")
    return module


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists once the good plugin was imported."""
    monkeypatch.setenv("MARK", str(tmp_path / "imported"))
    return tmp_path / "imported"


@pytest.fixture
def site(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of packages, and an empty cache; also for processes."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = [str(folder), os.environ.get("PYTHONPATH") or str(ROOT)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    yield folder
    for name, module in list(sys.modules.items()):
        if str(folder) in str(getattr(module, "__file__", None)):
            del sys.modules[name]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vaetools", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_is_imported_when_it_is_asked_for(site: Path, mark: Path, tmp_path: Path) -> None:
    install(site, "far", GOOD)
    write_tiny_vae(site / "models" / "tiny-vae")
    (tmp_path / "photos").mkdir()

    first = run("--help")  # imports it elsewhere, once
    assert first.returncode == 0 and mark.exists() and "imported" not in first.stdout
    assert "fine" in first.stdout and "Works." in first.stdout and "Say hello." in first.stdout
    for words in (
        ["--help"],
        ["--version"],
        ["compress", "--help"],
        ["compress", tmp_path / "photos", "-o", tmp_path / "out"],
        ["models", "list"],
    ):
        mark.unlink(missing_ok=True)
        done = run(*words)
        assert not mark.exists(), words
        assert "E050" not in done.stderr
    assert "tiny-vae" in done.stdout  # a model of a plugin that is not imported
    assert run("--help").stdout == first.stdout

    for words, said in ([["fine", "--help"], "Works."], [["greet"], "hello\n"]):
        mark.unlink(missing_ok=True)
        done = run(*words)
        assert done.returncode == 0 and said in done.stdout and mark.exists()
    mark.unlink()
    (far,) = (line for line in run("plugins").stdout.splitlines() if line.startswith("far "))
    assert far.split(None, 3)[1:] == ["vaetools-far", "1.2", "fine, greet"]
    facts = [json.loads(line) for line in run("plugins", "--json").stdout.splitlines()]
    assert len(facts[-1]["hooks"]) == 3 and not mark.exists()


@pytest.mark.slow
@pytest.mark.parametrize("cached", [True, pytest.param(False, marks=pytest.mark.timing)])
def test_broken_ones_are_named_and_the_rest_works(site: Path, cached: bool) -> None:
    """Without the cache, a command line gives them 10 seconds."""
    for name, code in BAD.items():
        install(site, name, code)
    install(site, "good", GOOD)
    if cached:
        probed_offers(seconds=300)
    for _ in range(2):
        done = run("--help")
        assert done.returncode == 0 and "fine" in done.stdout
        lines = sorted(done.stderr.splitlines())
        assert [line.split(" (")[0] for line in lines] == [f"E050 {name}" for name in sorted(BAD)]
        assert all("(vaetools-" in line and " 1.2): cannot be loaded: " in line for line in lines)
    assert "RuntimeError: no luck; fix it, then run vaetools plugins" in done.stderr
    assert "ended with code -6" in done.stderr
    assert run("--version").stderr == ""
    strict = run("--strict-plugins", "info", ROOT / "docs" / "denoise.png")
    assert strict.returncode == 1 and "6 plugins are broken" in strict.stderr
    shown = run("plugins")  # survives them as well, and tries them again
    assert shown.returncode == 0 and shown.stdout.count("cannot be loaded") == len(BAD)
    missing = run("nonsense")
    assert missing.returncode == 2 and "no command 'nonsense'" in missing.stderr


def test_nobody_waits_twice_for_a_slow_one(
    site: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "late", f"import time; time.sleep(60)\n{GOOD}")
    (point,) = installed_points()
    probed_offers(seconds=1)
    assert not mark.exists()
    offer = OfferCache().get(point)
    assert offer is not None and offer.error == "takes more than 1 s to load"
    monkeypatch.setattr("vaetools.plugin.probe._start", None)  # nothing is started again
    host = PluginHost(builtin=False, cache=probed_offers())
    assert [p.name for p in host.broken] == ["late"] and not host.operations


def test_nothing_is_loaded_from_the_current_folder(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "good", GOOD)
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json", "pluggy", "signal"):
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'loaded')!r}, 'w')\n")
    monkeypatch.chdir(here)
    (point,) = installed_points()
    offer = probed_offers().get(point)
    assert offer is not None and offer.error is None
    assert not (tmp_path / "loaded").exists()


def test_a_change_is_noticed(site: Path) -> None:
    module = install(site, "far", GOOD)
    assert list(PluginHost(builtin=False, cache=probed_offers()).operations) == ["fine"]
    module.write_text(GOOD.replace('"fine"', '"finer"'))
    os.utime(module, ns=(1, 1))
    assert list(PluginHost(builtin=False, cache=probed_offers()).operations) == ["finer"]


def test_a_missing_dependency_that_is_installed_is_noticed(site: Path) -> None:
    install(site, "far", f"import needed_here\n{GOOD}")
    assert PluginHost(builtin=False, cache=probed_offers()).broken
    (site / "needed_here.py").write_text("")
    os.utime(site, ns=(1, 1))  # in case it happens within the resolution of the clock
    host = PluginHost(builtin=False, cache=probed_offers())
    assert not host.broken and "fine" in host.operations


@pytest.mark.parametrize("content", ["", "[]", "{", '{"KEY": 3}', '{"KEY": {"operations": ["x"]}}'])
def test_a_broken_cache_is_only_slower(site: Path, tmp_path: Path, content: str) -> None:
    install(site, "far", GOOD)
    probed_offers()
    file = tmp_path / "cache" / "vaetools" / FILE
    (key,) = json.loads(file.read_text())
    file.write_text(content.replace("KEY", key))
    assert list(PluginHost(builtin=False, cache=probed_offers()).operations) == ["fine"]
    if content:
        assert list(json.loads(file.read_text())) == [key]


def test_a_cache_that_cannot_be_written_is_only_slower(site: Path, tmp_path: Path) -> None:
    install(site, "far", GOOD)
    (tmp_path / "cache").write_text("a file where the folder should be")
    host = PluginHost(builtin=False, cache=probed_offers())
    assert list(host.operations) == ["fine"]
    assert host.operations["fine"].name == "fine"


def test_without_a_probe_the_host_imports_what_it_does_not_know(site: Path, mark: Path) -> None:
    """As in Python: `vaetools.open()` starts no processes."""
    install(site, "far", GOOD)
    host = PluginHost(builtin=False)
    assert not mark.exists()
    assert "fine" in host.operations and mark.exists()
    assert host.model_folders == [site / "models"]
    del sys.modules["vaetools_far"]
    mark.unlink()
    again = PluginHost(builtin=False)  # knows it from the cache now
    assert list(again.operations) == ["fine"] and list(again.commands) == ["greet"]
    assert again.model_folders == [site / "models"] and not mark.exists()
    assert again.operations["fine"].name == "fine" and mark.exists()


def test_one_that_broke_after_all_says_so(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "moody", f"import os\nif os.environ.get('MOOD'): 1 / 0\n{GOOD}")
    cache = probed_offers()
    monkeypatch.setenv("MOOD", "bad")
    host = PluginHost(builtin=False, cache=cache)
    with pytest.raises(PluginError, match=r"moody \(vaetools-moody 1\.2\): .*ZeroDivisionError"):
        host.operations["fine"]
    assert list(host.operations) == [] and [p.name for p in host.broken] == ["moody"]
    assert run("fine").stderr.count("ZeroDivisionError") == 1


def test_names_that_clash_are_refused(site: Path) -> None:
    install(site, "eins", GOOD)
    install(site, "zwei", GOOD)
    install(site, "own", GOOD.replace('"fine"', '"compress"').replace('"greet"', '"greet2"'))
    for _ in range(2):
        host = PluginHost(cache=probed_offers())
        errors = {p.name: p.error.line for p in host.broken if p.error}
        assert errors.keys() in ({"own", "eins"}, {"own", "zwei"})  # the first one found wins
        assert "is registered by" in errors["own"]


def test_plugins_can_be_chosen(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "far", GOOD)
    host = PluginHost(builtin=False)
    (plugin,) = host.plugins
    assert plugin.origin == "vaetools-far 1.2" and plugin.error is None
    monkeypatch.setenv("VAETOOLS_PLUGINS", "")
    assert PluginHost(builtin=False).plugins == []
    monkeypatch.setenv("VAETOOLS_PLUGINS", "other, far")
    assert [p.name for p in PluginHost(builtin=False).plugins] == ["far"]
