"""What a check finds, and what it looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.hub import Hub
    from vaetools.plugin.host import PluginHost

State: TypeAlias = Literal["ok", "note", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        state: `ok`; `note` for what works but could be better; `fail` for what does not work.
        subject: what was checked.
        text: the result.
        cure: a command that mends it, or what to do.
    """

    state: State
    subject: str
    text: str
    cure: str = ""


@dataclass(frozen=True)
class Installation:
    """What the checks look at beyond the environment.

    Attributes:
        host: Loads the plugins.
        hub: Opens the models on a device.
        device: Device for the self-tests of the models; `auto` for the one that commands use.
    """

    host: Callable[[], PluginHost]
    hub: Callable[[str], Hub]
    device: str = "auto"
