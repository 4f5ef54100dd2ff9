"""`vaetools doctor`: checks the installation. Each line says ok, note or fail, and how to fix it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from vaetools.cli.context import host_of, hub_of
from vaetools.cli.flags import DEBUG, JSON
from vaetools.errors import EXIT_ENVIRONMENT, DeviceError, VaetoolsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGES = (
    "vaetools",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "pillow",
    "scikit-image",
    "constriction",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "pluggy",
    "click",
    "rich",
)


@dataclass(frozen=True)
class Finding:
    """One line of the report; `state` is ok, note or fail."""

    state: str
    subject: str
    text: str
    cure: str = ""


@click.command("doctor")
@JSON
@DEBUG
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check the installation.

    Checks packages, devices, plugins and models, each with a remedy if something is wrong.
    """
    failed = False
    for finding in _findings(ctx):
        failed |= finding.state == "fail"
        if as_json:
            click.echo(json.dumps(asdict(finding)))
        else:
            cure = f"\n      -> {finding.cure}" if finding.cure else ""
            click.echo(f"{finding.state:4}  {finding.subject}: {finding.text}{cure}")
    if failed:
        ctx.exit(EXIT_ENVIRONMENT)


def _findings(ctx: click.Context) -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.platform()}")
    versions = _versions()
    yield Finding("ok", "packages", ", ".join(f"{n} {v}" for n, v in versions.items()))
    if {"opencv-python", "opencv-python-headless"} <= versions.keys():
        yield Finding(
            "note",
            "opencv",
            "opencv-python and opencv-python-headless share one folder",
            "pip uninstall -y opencv-python-headless, then reinstall opencv-python",
        )
    yield from _devices()
    yield from _plugins(ctx)
    yield from _models(ctx)
    free = shutil.disk_usage(".").free
    yield Finding(
        "ok" if free > 2**30 else "note", "disk", f"{free / 1e9:.1f} GB free in this folder"
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _devices() -> Iterator[Finding]:
    from vaetools.model.runtime import Runtime, check_packages, driver_present, usable_cores

    yield _checked("onnxruntime", check_packages, "one package is installed")
    yield Finding("ok", "cpu", f"{usable_cores()} cores")
    if not driver_present():
        yield Finding("ok", "cuda", "no NVIDIA driver found; the CPU is used")
        return
    yield _checked("cuda", lambda: Runtime("cuda"), "a session runs on the GPU")


def _plugins(ctx: click.Context) -> Iterator[Finding]:
    host = host_of(ctx, retry=True)
    for plugin in host.broken:
        text = plugin.error.problem if plugin.error else ""
        yield Finding("fail", f"plugin {plugin.name}", text, f"fix or remove it ({plugin.origin})")
    yield Finding("ok", "plugins", f"{len(host.plugins) - len(host.broken)} work")


def _models(ctx: click.Context) -> Iterator[Finding]:
    try:
        registry = hub_of(ctx, device="cpu").registry
    except VaetoolsError as error:
        yield Finding("fail", "models", error.line)
        return
    for entry in registry.entries:
        if entry.error is not None:
            yield Finding("fail", f"model {entry.folder.name}", entry.error.line)
    for model_id in registry.ids():
        yield _checked(
            f"model {model_id}", registry.open(model_id).verify, "valid, self-test passed"
        )


def _checked(subject: str, check: Callable[[], object], text: str) -> Finding:
    try:
        check()
    except DeviceError as error:
        return Finding("fail", subject, error.problem, error.remedy or "")
    except VaetoolsError as error:
        return Finding("fail", subject, error.line)
    return Finding("ok", subject, text)
