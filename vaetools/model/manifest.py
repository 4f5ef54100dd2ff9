"""`model.toml`: read and checked before any ONNX byte. `vaetools.model.spec` has the schema."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from vaetools.errors import ManifestError
from vaetools.model.spec import MAX_FILE_BYTES, MAX_FIXED_PIXELS, MAX_GRAPHS, Manifest
from vaetools.model.tasks import missing
from vaetools.tomlfile import from_table, read_toml, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vaetools.model.spec import CodecSpec, DenoiseSpec, InpaintSpec

FILE_NAME = "model.toml"
FORMAT = 1


def read_manifest(folder: Path) -> Manifest:
    """Read and check `folder/model.toml`.

    Raises:
        ManifestError: missing, not TOML, an unknown or missing key, a wrong type, a newer format,
            or a file name that leaves the folder.
    """
    path = folder / FILE_NAME
    table = read_toml(path, ManifestError, follow=False)
    if "format" not in table:
        raise ManifestError(f"key format is missing; it is {FORMAT}", file=path)
    if table["format"] != FORMAT or type(table["format"]) is not int:
        raise ManifestError(
            f"format {shown(table['format'])} is not {FORMAT}",
            file=path,
            remedy="update vaetools" if type(table["format"]) is int else None,
        )
    manifest = from_table(Manifest, table, ManifestError, file=path)
    for problem in _problems(manifest):
        raise ManifestError(problem, file=path)
    return manifest


def manifest_table(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain tables, ready for a TOML writer; None and empty values are left out."""
    table: dict[str, Any] = _plain(dataclasses.asdict(manifest))
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: _plain(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v is not None and v not in ({}, [], "")}
    return list(value) if isinstance(value, tuple) else value


def _problems(manifest: Manifest) -> Iterator[str]:
    """What is wrong between values that are each right by themselves."""
    if manifest.image.range != (0.0, 1.0):
        yield f"image.range = {list(manifest.image.range)} is not [0, 1]"
    if len(manifest.size.fixed) not in {0, 2}:
        yield f"size.fixed = {list(manifest.size.fixed)} is not [height, width]"
    if math.prod(manifest.size.fixed) > MAX_FIXED_PIXELS:
        yield f"size.fixed = {list(manifest.size.fixed)} has more than {MAX_FIXED_PIXELS} pixels"
    yield from _too_much(manifest)
    yield from missing(manifest)
    for role in manifest.selftest.values:
        if role not in manifest.graphs:
            yield f"selftest.values.{role}: there is no such graph"
    if manifest.latent.kind == "vector" and not manifest.size.fixed:
        yield "latent.kind = 'vector' needs size.fixed"
    decode = manifest.graphs.get("decode")
    if manifest.likelihood.kind == "bernoulli" and decode and len(decode.outputs) != 2:
        yield "likelihood.kind = 'bernoulli' needs decode to have the outputs image and logits"
    yield from _task_problems(manifest.codec, manifest.denoise, manifest.inpaint)


def _too_much(manifest: Manifest) -> Iterator[str]:
    if len(manifest.graphs) > MAX_GRAPHS:
        yield f"there are {len(manifest.graphs)} graphs, the limit is {MAX_GRAPHS}"
    for role in manifest.graphs:
        if manifest.graph_size(role) > MAX_FILE_BYTES:
            yield f"graphs.{role} and its weights have more than {MAX_FILE_BYTES} bytes"


def _task_problems(
    codec: CodecSpec | None, denoise: DenoiseSpec | None, inpaint: InpaintSpec | None
) -> Iterator[str]:
    if codec is not None and codec.tile % 4:
        yield f"codec.tile = {codec.tile} is not a multiple of 4"
    if codec is not None and codec.refine and codec.refine.lambda_min > codec.refine.lambda_max:
        yield "codec.refine.lambda_min is above lambda_max"
    if denoise is not None and not _calibrated(denoise.levels, denoise.interval):
        yield "denoise.levels must rise, with one denoise.interval for each"
    if inpaint is not None and not _calibrated(inpaint.depths, inpaint.interval):
        yield "inpaint.depths must rise, with one inpaint.interval for each"


def _calibrated(at: tuple[float, ...], interval: tuple[float, ...]) -> bool:
    return len(at) == len(interval) and all(a < b for a, b in pairwise(at))
