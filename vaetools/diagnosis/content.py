"""Checks of plugins and models."""

from __future__ import annotations

import importlib.metadata
import queue
import threading
import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from vaetools.diagnosis.finding import Finding, Installation
from vaetools.errors import DeviceError, LibraryError, ModelBrokenError, VaetoolsError
from vaetools.libraries import reinstall
from vaetools.model.folder import read_verified
from vaetools.model.proof import working_device
from vaetools.model.registry import shipped_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vaetools.plugin.registered import Plugin

SECONDS = 120.0
"""Time for the self-test of a model; the first one on a GPU loads its libraries."""


def plugins(installation: Installation) -> Iterator[Finding]:
    """Plugins that cannot be loaded."""
    host = installation.host()
    for plugin in host.broken:
        text = plugin.error.problem if plugin.error else ""
        yield Finding("fail", f"plugin {plugin.name}", text, _plugin_cure(plugin))
    yield Finding("ok", "plugins", f"{len(host.plugins) - len(host.broken)} work")


def _plugin_cure(plugin: Plugin) -> str:
    place = Path(plugin.origin)
    if place.is_absolute() or place.exists():
        return f"vaetools plugins check {quote(str(place))}, or rm -r {quote(str(place))}"
    distribution = plugin.origin.split(" ")[0]
    if distribution in {d.metadata["Name"] for d in importlib.metadata.distributions()}:
        return f"pip install --upgrade {distribution}, or pip uninstall -y {distribution}"
    return f"fix or remove it ({plugin.origin})"


def models(installation: Installation) -> Iterator[Finding]:
    """Each model: its files, their SHA-256, and its self-test on the device that commands use."""
    device = installation.device
    if device == "auto":
        device = str(working_device()[0])
    registry = installation.hub(device).registry
    runs = True
    for folder, manifest, broken in ((e.folder, e.manifest, e.error) for e in registry.entries):
        subject = f"model {folder.name if manifest is None else manifest.id}"
        if manifest is None:
            text = "" if broken is None else broken.line
            yield Finding("fail", subject, text, _model_cure(folder))
            continue
        try:
            for part in manifest.parts:
                read_verified(folder, part)
            if runs:
                seconds = _timed(registry.open(manifest.id).verify)
                text = f"valid, self-test passed on {device} in {seconds:.1f} s"
                yield Finding("ok", subject, text)
        except TimeoutError:
            runs = False  # others would wait for the same device
            text = f"self-test takes longer than {SECONDS:.0f} s on {device}"
            yield Finding("fail", subject, text, _device_cure(device))
        except (DeviceError, LibraryError) as error:
            runs = False
            text = f"self-tests cannot run: {error.problem}"
            yield Finding("fail", "models", text, error.remedy or "")
        except VaetoolsError as error:
            wrong_there = isinstance(error, ModelBrokenError) and device != "cpu"
            cure = _device_cure(device) if wrong_there else _model_cure(folder)
            yield Finding("fail", subject, error.line, cure)


def _timed(work: Callable[[], None]) -> float:
    """Seconds that `work` takes. Raises `TimeoutError`, and what it raises."""
    results: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def call() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - raised again below
            results.put(error)
        else:
            results.put(None)

    start = time.monotonic()
    threading.Thread(target=call, name="self-test", daemon=True).start()
    try:
        error = results.get(timeout=SECONDS)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return time.monotonic() - start


def _device_cure(device: str) -> str:
    """What to do about a device that fails with files that are as they should be."""
    if device == "cpu":
        return "vaetools doctor  # again, when the machine is less busy"
    return f"vaetools doctor --device cpu  # if that works, update the driver of {device}"


def _model_cure(folder: Path) -> str:
    """The models that vaetools comes with are restored by pip, others by those who made them."""
    shipped = shipped_folder()
    if shipped is not None and folder.is_relative_to(shipped):
        return reinstall("vaetools")
    return f"copy or export the model again, or rm -r {quote(str(folder))}"
