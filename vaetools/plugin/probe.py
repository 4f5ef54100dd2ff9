"""Finds out what installed plugins offer, in processes of their own.

Importing a plugin may take long, exit or crash. Here that costs one process, which can be stopped,
once for each installation: `OfferCache` remembers the result.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from vaetools.model.child import child_command, own_stdout
from vaetools.plugin.host import TRACE, PluginHost
from vaetools.plugin.offers import Offer, OfferCache, installed_points, origin_of

if TYPE_CHECKING:
    import subprocess
    from importlib.metadata import EntryPoint

SECONDS = 30.0
"""Time limit for all plugins together; they are loaded in parallel."""


def probed_offers(seconds: float = SECONDS, *, retry: bool = False) -> OfferCache:
    """The cache of offers, completed for all installed plugins.

    Args:
        retry: try those again that did not work.
    """
    cache = OfferCache()
    if not sys.executable or getattr(sys, "frozen", False):
        return cache  # no interpreter to start: the host loads plugins when they are needed
    unknown = [
        point
        for point in cache.points
        if (offer := cache.get(point)) is None or (retry and offer.error is not None)
    ]
    started = [(point, _start(point)) for point in unknown]
    deadline = time.monotonic() + seconds
    for point, process in started:
        cache.put(point, _offer(process, max(0.0, deadline - time.monotonic()), seconds))
    return cache


def _start(point: EntryPoint) -> subprocess.Popen[str]:
    import subprocess  # needed for new plugins only

    return subprocess.Popen(  # noqa: S603 - our own module
        child_command("vaetools.plugin.probe", point.name, point.value),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, TRACE: "0", "PYTHONIOENCODING": "utf-8"},
    )


def _offer(process: subprocess.Popen[str], left: float, limit: float) -> Offer:
    import subprocess

    with process:
        try:
            out, _ = process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            process.kill()
            return Offer(error=f"takes more than {limit:g} s to load")
        except BaseException:
            process.kill()
            raise
    try:
        return Offer(**json.loads(out))
    except (ValueError, TypeError):
        return Offer(error=f"cannot be loaded: its process ended with code {process.returncode}")


def main() -> None:
    """What the process does: load one plugin and print its offer."""
    out = own_stdout()
    name, value = sys.argv[1:]
    points = [point for point in installed_points() if (point.name, point.value) == (name, value)]
    host = PluginHost(installed=False)  # with the built-in plugins, whose names are taken
    plugin = host.load(name, origin_of(points[0]), points[0].load)
    out.write(json.dumps(asdict(host.offer_of(plugin))))
    out.flush()
    os._exit(0)  # threads that the plugin started must not keep the process alive
