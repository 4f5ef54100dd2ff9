"""`vaetools doctor`: checks of the installation. Each finding says how to mend what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.diagnosis.content import models, plugins
from vaetools.diagnosis.devices import cpu, cuda, others
from vaetools.diagnosis.finding import Finding, Installation, State
from vaetools.diagnosis.packages import codecs, libraries, opencv, pip_versions, python, runtime
from vaetools.diagnosis.storage import cache, space
from vaetools.errors import VaetoolsError
from vaetools.libraries import library_error
from vaetools.text import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKS: dict[str, Callable[[Installation], Iterator[Finding]]] = {
    "python": python,
    "packages": pip_versions,
    "libraries": libraries,
    "opencv": opencv,
    "pillow": codecs,
    "onnxruntime": runtime,
    "cpu": cpu,
    "cuda": cuda,
    "devices": others,
    "cache": cache,
    "space": space,
    "plugins": plugins,
    "models": models,
}
"""All checks, in the order in which their findings are shown."""

__all__ = ["CHECKS", "Finding", "Installation", "State", "diagnose"]


def diagnose(installation: Installation) -> Iterator[Finding]:
    """The findings of all checks. A check that fails itself is a finding as well."""
    for name, check in CHECKS.items():
        try:
            yield from check(installation)
        except VaetoolsError as error:
            yield Finding("fail", name, error.problem, error.remedy or "")
        except Exception as error:  # noqa: BLE001 - the other checks are still worth making
            broken = library_error(error)
            text = f"cannot be checked: {describe(error)}" if broken is None else broken.problem
            yield Finding("fail", name, text, (broken and broken.remedy) or "")
