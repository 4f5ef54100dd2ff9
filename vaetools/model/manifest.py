"""`model.toml`: what a model folder says of itself, read and checked before any ONNX byte.

    format = 1
    id = "photo-codec"
    version = "1"
    license = "Apache-2.0"
    tasks = ["compress"]

    [graphs.analysis]
    file = "analysis.onnx"
    sha256 = "…"
    bytes = 3215422
    inputs = ["image"]
    outputs = ["latents"]

The dataclasses below are the schema: each field is a key, each nested dataclass a table; keys that
they do not know are refused, so that a misspelt one never passes for a default.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import tomllib
import types
import typing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from vaetools.errors import ManifestError

FILE_NAME = "model.toml"
FORMAT = 1
MODEL_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Model ids appear in messages and in files: no control characters, no surprises."""

MAX_TILE = 128
"""Largest side of a codec's tile, in latents: readers take memory for one tile at a time."""

MAX_FILE_BYTES = 2**31
"""Larger graphs need external data, which we refuse."""


@dataclass(frozen=True)
class ImageSpec:
    """`[image]`: what enters and leaves the graphs, NCHW float32."""

    channels: int = 3
    order: str = "RGB"
    range: tuple[float, ...] = (0.0, 1.0)
    transfer: str = "sRGB"


@dataclass(frozen=True)
class SizeSpec:
    """`[size]`, in pixels: sides must be multiples of `multiple_of`, at least `minimum`; `fixed` is
    (height, width) for a model that knows one size only."""

    multiple_of: int = 1
    minimum: int = 1
    fixed: tuple[int, ...] = ()


@dataclass(frozen=True)
class TilingSpec:
    """`[tiling]`: policy `halo` (exact with `halo` more pixels on each side), or `never` and why."""

    policy: str = "never"
    halo: int = 0
    reason: str = ""


@dataclass(frozen=True)
class LatentSpec:
    """`[latent]`: kind `spatial` (N, channels, h, w) with a cell per `downscale` pixels, or `vector`
    (N, channels); distribution `gaussian` (mean and logvar), `uniform` (one quantisation step) or
    `point`; prior `normal`, `hyper` or `none`. Outside the graphs latents are (z − shift) · scale."""

    kind: str = "spatial"
    channels: int = 0
    downscale: int = 1
    distribution: str = "gaussian"
    scale: float = 1.0
    shift: float = 0.0
    prior: str = "normal"


@dataclass(frozen=True)
class LikelihoodSpec:
    """`[likelihood]`, p(image | latent), independent over samples: `bernoulli` (`decode` has a second
    output, `logits`), `gaussian` around the decoded image with one `deviation`, or `none`."""

    kind: str = "none"
    deviation: float = 1.0


@dataclass(frozen=True)
class GraphSpec:
    """`[graphs.<role>]`: one single-file ONNX graph.

    `exact` graphs compute with integers and always run on the CPU provider.
    """

    file: str
    sha256: str
    bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    exact: bool = False


@dataclass(frozen=True)
class FileSpec:
    """`[files.<name>]`: a data file beside the graphs."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class CodecReach:
    """`[codec.reach]`: how many cells of 64 pixels around one its graphs see, measured at export."""

    hyper_analysis: int
    hyper_scale_index: int
    hyper_mean: int
    context_mean: int


@dataclass(frozen=True)
class RefineSpec:
    """`[codec.refine]`: what refinement must know beside the graph `synthesis_gradient`.

    The model was trained to minimise bits + λ · squared error (a pixel's mean over its channels, in
    units of 255²), with ln λ linear in the rate from `lambda_min` to `lambda_max`. Moving one latent
    by one changes the samples of the picture, in [0, 1], by `curvature` as a sum of squares.
    """

    lambda_min: float
    lambda_max: float
    curvature: float


@dataclass(frozen=True)
class CodecSpec:
    """`[codec]`: `stream_id` names what a bitstream needs; models that share it read the same files.
    `tile` is the side of entropy-coded tiles in latents. Without `refine` a model cannot refine."""

    stream_id: str
    levels: int
    tile: int
    reach: CodecReach
    refine: RefineSpec | None = None


@dataclass(frozen=True)
class DenoiseSpec:
    """`[denoise]`: noise levels up to `strongest`, as deviations in grey levels of 255, can be told to
    the graphs. At each of `levels`, 90 % of true values lie within `interval` times the predicted
    deviation of the mean; both are empty for a model that predicts none."""

    strongest: float
    levels: tuple[float, ...] = ()
    interval: tuple[float, ...] = ()


@dataclass(frozen=True)
class InpaintSpec:
    """`[inpaint]`: the model fills holes up to `deepest` pixels away from what is known. At each of
    `depths`, distances to the nearest known pixel, 90 % of true values lie within `interval` times the
    predicted deviation of the mean; both are empty for a model that predicts none."""

    deepest: float
    depths: tuple[float, ...] = ()
    interval: tuple[float, ...] = ()


@dataclass(frozen=True)
class SelfTest:
    """`[selftest]`: mean absolute outputs of each graph for seeded inputs, and their tolerance."""

    seed: int = 0
    height: int = 64
    width: int = 64
    relative: float = 1e-3
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A whole `model.toml`."""

    format: int
    id: str
    version: str
    license: str
    tasks: tuple[str, ...]
    graphs: dict[str, GraphSpec]
    summary: str = ""
    source: str = ""
    precision: str = "float32"
    image: ImageSpec = ImageSpec()
    size: SizeSpec = SizeSpec()
    tiling: TilingSpec = TilingSpec()
    latent: LatentSpec = LatentSpec()
    likelihood: LikelihoodSpec = LikelihoodSpec()
    files: dict[str, FileSpec] = field(default_factory=dict)
    codec: CodecSpec | None = None
    denoise: DenoiseSpec | None = None
    inpaint: InpaintSpec | None = None
    selftest: SelfTest = SelfTest()

    @property
    def parts(self) -> dict[str, GraphSpec | FileSpec]:
        """Every file of the model, by role or name."""
        return {**self.graphs, **self.files}

    @property
    def fingerprint(self) -> str:
        """sha256 over all that computes, the files' own among it: results can only change when it does.

        What is only told, such as the summary and the licence, does not count.
        """
        tiling = dataclasses.replace(self.tiling, reason="")
        computing = dataclasses.replace(
            self, license="", summary="", source="", tiling=tiling, selftest=SelfTest()
        )
        table = json.dumps(_unlike_defaults(computing), sort_keys=True)
        return hashlib.sha256(table.encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Size of all files of the model."""
        return sum(spec.bytes for spec in self.parts.values())


def read_manifest(folder: Path) -> Manifest:
    """Read and check `folder/model.toml`.

    Raises:
        ManifestError: missing, not TOML, an unknown or missing key, a wrong type, a newer format,
            or a file name that leaves the folder.
    """
    path = folder / FILE_NAME
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}", file=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"is not TOML: {error}", file=path) from None
    if table.get("format") != FORMAT:
        raise ManifestError(
            f"format {table.get('format')!r} is not {FORMAT}", file=path, remedy="update vaetools"
        )
    try:
        manifest = _build(Manifest, table, "")
    except (TypeError, ValueError) as error:
        raise ManifestError(str(error), file=path) from None
    _check(manifest, path)
    return typing.cast("Manifest", manifest)


def manifest_table(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain tables, ready for a TOML writer; None and empty values are left out."""
    return typing.cast("dict[str, Any]", _plain(dataclasses.asdict(manifest)))


def _unlike_defaults(value: Any) -> Any:
    """As plain tables, without what is as usual: keys that later versions add change nothing."""
    if dataclasses.is_dataclass(value):
        given = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {f.name: _unlike_defaults(v) for f, v in given if v not in (f.default, {}, ())}
    return {k: _unlike_defaults(v) for k, v in value.items()} if isinstance(value, dict) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: _plain(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v is not None and v not in ({}, [], "")}
    return list(value) if isinstance(value, tuple) else value


def _check(manifest: Manifest, path: Path) -> None:
    """Values that a type alone does not forbid. Raises `ManifestError`."""
    if not MODEL_ID.fullmatch(manifest.id):
        raise ManifestError(
            f"id {manifest.id!r} is not a name of lower-case letters, digits, dots and dashes",
            file=path,
        )
    if manifest.size.multiple_of < 1 or manifest.size.minimum < 1:
        raise ManifestError("[size] must be positive", file=path)
    if not (1 <= manifest.selftest.height <= 4096 and 1 <= manifest.selftest.width <= 4096):
        raise ManifestError("[selftest] height and width must be 1 … 4096", file=path)
    _check_words(manifest, path)
    _check_vae(manifest, path)
    for role, spec in manifest.parts.items():
        _check_part(role, spec, path)
    if manifest.codec is not None:
        _check_codec(manifest.codec, path)
    if manifest.denoise is not None:
        _check_denoise(manifest.denoise, path)
    if manifest.inpaint is not None:
        _check_inpaint(manifest.inpaint, path)


def _check_words(manifest: Manifest, path: Path) -> None:
    """Refuse what this version does not carry out, rather than give wrong colours."""
    words = {
        "image.order": (manifest.image.order, ("RGB",)),
        "image.range": (manifest.image.range, ((0.0, 1.0),)),
        "image.transfer": (manifest.image.transfer, ("sRGB",)),
        "image.channels": (manifest.image.channels, (1, 3)),
        "tiling.policy": (manifest.tiling.policy, ("halo", "never")),
        "latent.kind": (manifest.latent.kind, ("spatial", "vector")),
        "latent.distribution": (manifest.latent.distribution, ("gaussian", "uniform", "point")),
        "latent.prior": (manifest.latent.prior, ("normal", "hyper", "none")),
        "likelihood.kind": (manifest.likelihood.kind, ("bernoulli", "gaussian", "none")),
    }
    for key, (value, known) in words.items():
        if value not in known:
            raise ManifestError(f"{key} = {value!r} is none of {known}", file=path)
    for role in manifest.selftest.values:
        if role not in manifest.graphs:
            raise ManifestError(f"selftest.values.{role}: there is no such graph", file=path)


def _check_vae(manifest: Manifest, path: Path) -> None:
    latent, likelihood = manifest.latent, manifest.likelihood
    if latent.channels < 0 or latent.downscale < 1 or not 0 < latent.scale < math.inf:
        raise ManifestError("[latent] channels, downscale or scale is out of range", file=path)
    if not 0 < likelihood.deviation < math.inf:
        raise ManifestError("likelihood.deviation must be positive", file=path)
    if latent.kind == "vector" and len(manifest.size.fixed) != 2:
        raise ManifestError("latent.kind = 'vector' needs size.fixed", file=path)
    decode = manifest.graphs.get("decode")
    if likelihood.kind == "bernoulli" and decode is not None and len(decode.outputs) != 2:
        raise ManifestError("likelihood 'bernoulli' needs decode to give image, logits", file=path)


def _check_part(role: str, spec: GraphSpec | FileSpec, path: Path) -> None:
    if Path(spec.file).name != spec.file or spec.file.startswith("."):
        raise ManifestError(f"{role}: file {spec.file!r} is not a plain name", file=path)
    if not re.fullmatch(r"[0-9a-f]{64}", spec.sha256):
        raise ManifestError(f"{role}: sha256 is not 64 hexadecimal digits", file=path)
    if not 0 < spec.bytes <= MAX_FILE_BYTES:
        raise ManifestError(f"{role}: bytes = {spec.bytes} is not a file size", file=path)


def _check_codec(codec: CodecSpec, path: Path) -> None:
    if not re.fullmatch(r"[0-9a-f]{16}", codec.stream_id):
        raise ManifestError("codec.stream_id is not 16 hexadecimal digits", file=path)
    if not 1 <= codec.levels <= 256:
        raise ManifestError(f"codec.levels = {codec.levels} is not 1 … 256", file=path)
    if not 4 <= codec.tile <= MAX_TILE or codec.tile % 4:
        raise ManifestError(
            f"codec.tile = {codec.tile} is not a multiple of 4 up to {MAX_TILE}", file=path
        )
    refine = codec.refine
    if refine is not None and not (
        0 < refine.lambda_min <= refine.lambda_max < math.inf and 0 < refine.curvature < math.inf
    ):
        raise ManifestError("[codec.refine] lambdas or curvature are out of range", file=path)


def _check_denoise(denoise: DenoiseSpec, path: Path) -> None:
    if not 0 < denoise.strongest <= 255:
        raise ManifestError(f"denoise.strongest = {denoise.strongest} is not 0 … 255", file=path)
    _check_intervals("denoise.levels", denoise.levels, denoise.interval, path)


def _check_inpaint(inpaint: InpaintSpec, path: Path) -> None:
    if not 1 <= inpaint.deepest < math.inf:
        raise ManifestError(f"inpaint.deepest = {inpaint.deepest} is not at least 1", file=path)
    _check_intervals("inpaint.depths", inpaint.depths, inpaint.interval, path)


def _check_intervals(
    key: str, at: tuple[float, ...], interval: tuple[float, ...], path: Path
) -> None:
    if len(at) != len(interval) or any(not a < b for a, b in pairwise(at)):
        raise ManifestError(f"{key} must rise, with an interval for each", file=path)
    if not all(0 < value < math.inf for value in (*at, *interval)):
        raise ManifestError(f"{key} and interval must be positive", file=path)


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value`, as TOML gives it, as an instance of the annotation `kind`."""
    origin = typing.get_origin(kind)
    if origin is types.UnionType:  # only `X | None` occurs, and TOML has no null
        return _build(typing.get_args(kind)[0], value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{where} is not a list")
        return tuple(_build(typing.get_args(kind)[0], v, where) for v in value)
    if origin is dict:
        return {
            k: _build(typing.get_args(kind)[1], v, f"{where}.{k}") for k, v in _dict(value, where)
        }
    if dataclasses.is_dataclass(kind):
        return _build_table(kind, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"{where} = {value!r} is not of type {kind.__name__}")
    return value


def _build_table(kind: Any, value: Any, where: str) -> Any:
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    arguments = {}
    for name, item in _dict(value, where):
        if name not in hints:
            raise ValueError(f"unknown key {prefix}{name}")
        arguments[name] = _build(hints[name], item, f"{prefix}{name}")
    for spec in dataclasses.fields(kind):
        needed = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if needed and spec.name not in arguments:
            raise ValueError(f"key {prefix}{spec.name} is missing")
    return kind(**arguments)


def _dict(value: Any, where: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise TypeError(f"{where} is not a table")
    return list(value.items())
