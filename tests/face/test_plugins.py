"""Options that are arrays, in plugins: the operation of docs/plugins.md."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vaetools
from tests.paths import DOCS
from vaetools.errors import OptionError, PluginError
from vaetools.hub import Hub
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (code,) = (block for block in blocks if "read_mask" in block)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/dim.py").write_text(code, encoding="utf-8")
    host = PluginHost(builtin=False, installed=False, folders=[tmp_path / "plugins"])
    assert not host.broken
    return Hub(host, [], device="cpu")


def test_a_mask_of_a_plugin(hub: Hub, tmp_path: Path) -> None:
    image, mask = gradient(), np.zeros((48, 64), np.uint8)
    mask[:, :20] = 255
    dimmed = hub.op("dim", amount=1)(image, mask)
    assert np.array_equal(dimmed[:, :20], image[:, :20]) and not dimmed[:, 20:].any()
    vaetools.imwrite(tmp_path / "mask.png", mask)
    vaetools.imwrite(tmp_path / "in/a.png", image)
    place = tmp_path / "mask.png"

    def run(**options: object) -> str:
        result = hub.map("dim", tmp_path / "in", out=tmp_path / "out", amount=1, **options)
        return result.records[0].status

    assert run(mask=place) == "done"
    assert np.array_equal(vaetools.imread(tmp_path / "out/a.png"), dimmed)
    assert run(mask=place) == "skipped"
    vaetools.imwrite(place, 255 - mask)
    assert run(mask=place) == "done"  # the content of the file counts
    assert run(mask=mask) == "done"
    found = hub.stream("dim", [(image, mask), (image, 255 - mask)], amount=1)
    assert [frame[0, 0].any() for frame in found] == [True, False]
    with pytest.raises(OptionError, match="mask is not given"):
        run()


def plugin(operation_name: str, *options: str) -> object:
    fields = [(name, int, vaetools.option(1)) for name in options]

    class Same(vaetools.ImageOperation):
        """Change nothing."""

        name = operation_name
        Options = dataclasses.make_dataclass("Options", fields, frozen=True)

        def apply(self, image: np.ndarray) -> np.ndarray:
            return image

    class Plugin:
        @vaetools.hookimpl
        def register_operations(self) -> list[type[vaetools.Operation]]:
            return [Same]

    return Plugin()


@pytest.mark.parametrize(
    "name", ["import", "lambda", "a_b", "A", "1a", "a b", "a.b", "_x", "-x", "a--b", "é", "", "x\n"]
)
def test_a_name_that_no_method_can_have_is_refused(hub: Hub, name: str) -> None:
    with pytest.raises(PluginError, match="is not a valid name of an operation"):
        hub.register(plugin(name))
    assert not hub.host.broken


def test_names_with_dashes_are_methods_with_underscores(hub: Hub) -> None:
    hub.register(plugin("far-away", "lambda_", "name", "options", "items"))
    found = hub.far_away(gradient(), lambda_=3, name=1, options=2, items=4)  # type: ignore[attr-defined]
    assert np.array_equal(found, gradient())


@pytest.mark.parametrize("option", ["image", "data", "self", "key", "model"])
def test_options_cannot_have_the_names_of_arguments(hub: Hub, option: str) -> None:
    with pytest.raises(PluginError, match=f"every operation has an option '{option}' already"):
        hub.register(plugin("fine", option))
