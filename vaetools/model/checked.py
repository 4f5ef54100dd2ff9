"""Graphs are checked once: what was checked is remembered by content.

A check depends on the bytes of the graph and on what the manifest says of its inputs and outputs.
The SHA-256 of all that is the key, so a model elsewhere profits from an earlier check only if it has
the same bytes and says the same. The keys of the models that come with vaetools are in
`vaetools.model.shipped`; others are remembered in the user's cache, with the version of the checker.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from vaetools import graphcheck
from vaetools.errors import ModelBrokenError
from vaetools.graphcheck.estimate import Estimator
from vaetools.model import batch_axis, shared_weights, simpler
from vaetools.model import pixels as pixel_nodes
from vaetools.model.batch_axis import with_batch_axis
from vaetools.model.fused import chains
from vaetools.model.fused.chains import chain_graph
from vaetools.model.pixels import with_uint8_pixels
from vaetools.model.selftest import small_sizes
from vaetools.model.shipped import CHECKED
from vaetools.user_cache import remembered
from vaetools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.model.fused.chains import Chain
    from vaetools.model.spec import Manifest


RATE_PIXELS = 8
"""Pixels per element of a rate map, along each axis, as synthesis networks take it."""


def checked_graph(
    data: bytes,
    manifest: Manifest,
    role: str,
    name: str,
    pixels: Sequence[str] = (),
    *,
    batched: bool = False,
) -> bytes:
    """The graph of a role, once it is known to be harmless.

    Args:
        data: the graph with its weights; the SHA-256 of the files are those of the manifest.
        manifest: of the model.
        role: of the graph.
        name: for error messages.
        pixels: inputs or outputs to change; see `vaetools.model.pixels`.
        batched: whether to give the graph a batch axis where that is possible; with `pixels`, it has
            one in any case.

    Returns:
        ONNX bytes: `data`, changed as requested.

    Raises:
        ModelBrokenError: the graph is refused.
    """
    key = check_key(manifest, role)
    change = batched or bool(pixels)
    if key in CHECKED and not change:
        return data

    def check_and_change() -> bytes:
        if key not in CHECKED:
            check(data, manifest, role, name)
        if not change:
            return b""
        graph = with_batch_axis(data, example_sizes(manifest)) or data
        return with_uint8_pixels(graph, pixels) if pixels else graph

    stamp = [*_makers(), key, batched, *pixels]
    return remembered("graphs", _digest(stamp), check_and_change) or data


def remembered_if_shipped(manifest: Manifest, role: str, make: Callable[[], bytes]) -> bytes:
    """The result of `make`, the bytes of a graph, remembered if it is known to be harmless.

    The cache takes nothing of other models before it was checked. Reading it is faster than loading
    the library `onnx`, which those need for the check anyway.
    """
    key = check_key(manifest, role)
    if key not in CHECKED:
        return make()
    return remembered("graphs", _digest([shared_weights.VERSION, "with its weights", key]), make)


SINGLE = dict.fromkeys(("gain_height", "gain_width", "rate_height", "rate_width"), 1)
"""Dimensions of a chain that are 1 for an image of one rate."""


def chained_graph(
    chain: Chain,
    manifest: Manifest,
    load: Callable[[str], bytes],
    pixels: Sequence[str] = (),
    *,
    batched: bool = False,
) -> bytes:
    """The graph of a chain, made of graphs that were checked.

    Args:
        chain: which.
        manifest: of the model.
        load: role -> the checked ONNX bytes of a graph.
        pixels: inputs or outputs to change; see `vaetools.model.pixels`.
        batched: whether to give the graph a batch axis where that is possible.

    Raises:
        ModelBrokenError: the model is no codec, or its graphs are refused or do not fit together.
    """
    if manifest.codec is None:
        raise ModelBrokenError(f"model {manifest.id} has no [codec]")
    roles = chain.roles(manifest.codec.context)
    graphs = {role: load(role) for role in roles}

    def make() -> bytes:
        data = chain_graph(chain, manifest, graphs.__getitem__)
        if batched:
            data = with_batch_axis(data, {**example_sizes(manifest), **SINGLE}, SINGLE) or data
        return with_uint8_pixels(data, pixels) if pixels else data

    contents = [manifest.content(role) for role in roles]
    stamp = [*_makers(), *contents, manifest.codec.context, chain.role, batched, *pixels]
    return remembered("graphs", _digest(stamp), make)


def _makers() -> list[str | int]:
    """Versions of all that checks or changes graphs."""
    changers = (chains, pixel_nodes, batch_axis, simpler)
    return [__version__, graphcheck.VERSION, *(changer.VERSION for changer in changers)]


def check(data: bytes, manifest: Manifest, role: str, name: str) -> None:
    """Check a graph against what the manifest says of it. Raises `ModelBrokenError`."""
    spec = manifest.graphs[role]
    graphcheck.check_graph(
        data,
        name,
        inputs=spec.inputs,
        outputs=spec.outputs,
        channels=_channels(manifest, role),
        sizes=example_sizes(manifest),
        size=manifest.size.fixed,
    )


def example_sizes(manifest: Manifest) -> dict[str, int]:
    """Symbolic dimensions of the self-test's image. Its rate is one number, that of others a map."""
    sizes = small_sizes(manifest)
    rate = {f"rate_{side}": sizes[side] // RATE_PIXELS for side in ("height", "width")}
    return {**sizes, **rate}


def estimator_of(data: bytes, manifest: Manifest, role: str) -> Estimator:
    """Estimates the calls of the graph of a role, with the sizes that the manifest says."""
    down = manifest.latent.downscale
    scales = {"": 1, "latent_": down, "hyper_": 4 * down, "rate_": RATE_PIXELS}
    named = {f"{p}{side}": n for p, n in scales.items() for side in ("height", "width")}
    scale = down if role == "decode" else 1
    return Estimator(data, named, scale=scale, size=manifest.size.fixed)


def is_shipped(manifest: Manifest) -> bool:
    """Whether every graph is one that comes with vaetools."""
    return all(check_key(manifest, role) in CHECKED for role in manifest.graphs)


def check_key(manifest: Manifest, role: str) -> str:
    """SHA-256 over everything that the check of a graph depends on, but for the checker."""
    spec = manifest.graphs[role]
    facts = [spec.inputs, spec.outputs, _channels(manifest, role), example_sizes(manifest)]
    return _digest([manifest.content(role), *facts, *manifest.size.fixed])


def _channels(manifest: Manifest, role: str) -> dict[str, int]:
    """Channels of inputs and outputs, for the roles of a VAE; other inputs are the graph's own."""
    spec, image, latent = manifest.graphs[role], manifest.image.channels, manifest.latent.channels
    if role == "encode":
        return {**dict.fromkeys(spec.inputs[:1], image), **dict.fromkeys(spec.outputs, latent)}
    if role == "decode":
        return {**dict.fromkeys(spec.inputs[:1], latent), **dict.fromkeys(spec.outputs, image)}
    return {}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
