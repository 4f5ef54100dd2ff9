"""Checks of plugins and models."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from vaetools.diagnosis.finding import Finding, Installation
from vaetools.errors import DeviceError, LibraryError, VaetoolsError
from vaetools.libraries import reinstall
from vaetools.model.folder import read_verified
from vaetools.model.registry import shipped_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.plugin.registered import Plugin


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
    """Each model: its files, their SHA-256, and its self-test where ONNX Runtime works."""
    registry = installation.hub().registry
    runs = True
    for folder, manifest, broken in ((e.folder, e.manifest, e.error) for e in registry.entries):
        subject = f"model {folder.name if manifest is None else manifest.id}"
        if manifest is None:
            text = "" if broken is None else broken.line
            yield Finding("fail", subject, text, _model_cure(folder))
            continue
        try:
            for part in manifest.parts.values():
                read_verified(folder, part)
            if runs:
                registry.open(manifest.id).verify()
                yield Finding("ok", subject, "valid, self-test passed")
        except (DeviceError, LibraryError) as error:
            runs = False
            text = f"self-tests cannot run: {error.problem}"
            yield Finding("fail", "models", text, error.remedy or "")
        except VaetoolsError as error:
            yield Finding("fail", subject, error.line, _model_cure(folder))


def _model_cure(folder: Path) -> str:
    """The models that vaetools comes with are restored by pip, others by those who made them."""
    shipped = shipped_folder()
    if shipped is not None and folder.is_relative_to(shipped):
        return reinstall("vaetools")
    return f"copy or export the model again, or rm -r {quote(str(folder))}"
