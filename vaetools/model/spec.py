"""What a model folder declares in `model.toml`, as dataclasses.

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

The dataclasses are the schema: each field is a key, each nested dataclass a table, each annotation
the type and the bounds of a value. `vaetools.model.manifest` reads and writes them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from vaetools.tomlfile import Bounds, Pattern

MODEL_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Model ids appear in messages and in files: no control characters, no surprises."""

MAX_TILE = 128
"""Largest side of a codec's tile, in latents: readers take memory for one tile at a time."""

MAX_FILE_BYTES = 2**31
"""What one ONNX file can hold."""

MAX_GRAPHS = 32
"""Most graphs of a model: each may take all of the shared weights into memory."""

MAX_FIXED_PIXELS = 2**22
"""Largest image of a model that accepts one size only."""

Seed: TypeAlias = Annotated[int, Bounds(ge=0, le=2**63 - 1)]
Channels: TypeAlias = Annotated[int, Bounds(ge=0, le=2**14)]
Halo: TypeAlias = Annotated[int, Bounds(ge=0, le=4096)]
Reach: TypeAlias = Annotated[int, Bounds(ge=0, le=64)]
Step: TypeAlias = Annotated[int, Bounds(ge=1, le=512)]
SmallSide: TypeAlias = Annotated[int, Bounds(ge=1, le=4096)]
Number: TypeAlias = Annotated[float, Bounds(ge=-1e9, le=1e9)]
Positive: TypeAlias = Annotated[float, Bounds(ge=1e-9, le=1e9)]
Sha256: TypeAlias = Annotated[str, Pattern(r"[0-9a-f]{64}", "64 hexadecimal digits")]
FileName: TypeAlias = Annotated[str, Pattern(r"[^./\\\0][^/\\\0]*", "a plain file name")]
Name: TypeAlias = Annotated[
    str, Pattern(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", "a name of letters, digits, _ and -")
]
FileBytes: TypeAlias = Annotated[int, Bounds(ge=1, le=MAX_FILE_BYTES)]


@dataclass(frozen=True)
class ImageSpec:
    """`[image]`: what enters and leaves the graphs, NCHW float32."""

    channels: Literal[1, 3] = 3
    order: Literal["RGB"] = "RGB"
    range: tuple[float, ...] = (0.0, 1.0)
    transfer: Literal["sRGB"] = "sRGB"


@dataclass(frozen=True)
class SizeSpec:
    """`[size]`, in pixels.

    Attributes:
        multiple_of: sides must be multiples of it.
        minimum: shortest side.
        fixed: (height, width) of a model that accepts one size only.
    """

    multiple_of: Step = 1
    minimum: Step = 1
    fixed: tuple[SmallSide, ...] = ()


@dataclass(frozen=True)
class TilingSpec:
    """`[tiling]`: policy `halo` is exact with `halo` more pixels on each side; `never` has a reason."""

    policy: Literal["halo", "never"] = "never"
    halo: Halo = 0
    reason: str = ""


@dataclass(frozen=True)
class LatentSpec:
    """`[latent]`: outside the graphs, latents are (z − shift) · scale.

    Attributes:
        kind: `spatial` is (N, channels, h, w) with a cell per `downscale` pixels; `vector` is
            (N, channels).
        distribution: of the posterior: `gaussian` (mean and logvar), `uniform` (one quantisation
            step) or `point` (deterministic).
        prior: `normal`, `hyper` or `none`.
    """

    kind: Literal["spatial", "vector"] = "spatial"
    channels: Channels = 0
    downscale: Step = 1
    distribution: Literal["gaussian", "uniform", "point"] = "gaussian"
    scale: Positive = 1.0
    shift: Number = 0.0
    prior: Literal["normal", "hyper", "none"] = "normal"


@dataclass(frozen=True)
class LikelihoodSpec:
    """`[likelihood]`: p(image | latent), independent over samples.

    Attributes:
        kind: `bernoulli` (`decode` has a second output, `logits`), `gaussian` around the decoded
            image, or `none`.
        deviation: standard deviation of a Gaussian.
    """

    kind: Literal["bernoulli", "gaussian", "none"] = "none"
    deviation: Positive = 1.0


@dataclass(frozen=True)
class GraphSpec:
    """`[graphs.<role>]`: an ONNX graph. Those that are `exact` compute with integers, on the CPU."""

    file: FileName
    sha256: Sha256
    bytes: FileBytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    exact: bool = False


@dataclass(frozen=True)
class FileSpec:
    """`[files.<name>]`, a data file next to the graphs, or `[weights]`."""

    file: FileName
    sha256: Sha256
    bytes: FileBytes


@dataclass(frozen=True)
class CodecReach:
    """`[codec.reach]`: receptive radius of each graph in cells of 64 pixels, measured at export."""

    hyper_analysis: Reach
    hyper_scale_index: Reach
    hyper_mean: Reach
    context_mean: Reach


@dataclass(frozen=True)
class RefineSpec:
    """`[codec.refine]`: what refinement needs besides the graph `synthesis_gradient`.

    Attributes:
        lambda_min, lambda_max: the model was trained to minimise bits + λ · squared error (mean over
            the channels of a pixel, in units of 255²), with ln λ linear in the rate index.
        curvature: moving one latent by one changes the image, in [0, 1], by this sum of squares; earlier
            versions needed it.
    """

    lambda_min: Positive
    lambda_max: Positive
    curvature: Positive


@dataclass(frozen=True)
class CodecSpec:
    """`[codec]`: a codec for `.vae` files.

    Attributes:
        stream_id: names what a bitstream needs; models that share it read the same files.
        levels: number of rate indices.
        tile: side of entropy-coded tiles in latents.
        context: pattern in which the latents become known. `interleaved`: one graph, `context_mean`, and
            the channels of a place take turns. `grid`: `context_1` to `context_3`, one for each place of
            a 2x2 square but the first.
        refine: without it a model cannot refine.
    """

    stream_id: Annotated[str, Pattern(r"[0-9a-f]{16}", "16 hexadecimal digits")]
    levels: Annotated[int, Bounds(ge=1, le=256)]
    tile: Annotated[int, Bounds(ge=4, le=MAX_TILE)]
    reach: CodecReach
    context: Literal["interleaved", "grid"] = "interleaved"
    refine: RefineSpec | None = None


@dataclass(frozen=True)
class DenoiseSpec:
    """`[denoise]`: a denoiser that is conditioned on the noise level.

    Attributes:
        strongest: largest standard deviation of the noise that the graphs accept, 0–255 scale.
        levels: standard deviations at which the uncertainty was calibrated; rising.
        interval: at each of `levels`, 90 % of true values lie within this many predicted standard
            deviations of the mean. Both are empty for a model that predicts no uncertainty.
    """

    strongest: Annotated[float, Bounds(gt=0, le=255)]
    levels: tuple[Positive, ...] = ()
    interval: tuple[Positive, ...] = ()


@dataclass(frozen=True)
class InpaintSpec:
    """`[inpaint]`: a model that fills holes.

    Attributes:
        deepest: largest distance, in pixels, from a hole's pixel to the nearest known pixel.
        depths: distances at which the uncertainty was calibrated; rising.
        interval: as in `DenoiseSpec`, at each of `depths`.
    """

    deepest: Annotated[float, Bounds(ge=1)]
    depths: tuple[Positive, ...] = ()
    interval: tuple[Positive, ...] = ()


@dataclass(frozen=True)
class SelfTest:
    """`[selftest]`: mean absolute output of each graph for seeded inputs.

    Attributes:
        seed: of the inputs.
        height, width: of the image, in pixels.
        relative: tolerance.
        values: by role.
    """

    seed: Seed = 0
    height: SmallSide = 64
    width: SmallSide = 64
    relative: Annotated[float, Bounds(gt=0, le=0.1)] = 1e-3
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A whole `model.toml`.

    `weights` is the file of what several graphs share; see `vaetools.model.shared_weights`.
    """

    format: int
    id: Annotated[
        str, Pattern(MODEL_ID.pattern, "a name of lower-case letters, digits, dots and dashes")
    ]
    version: str
    license: str
    tasks: tuple[str, ...]
    graphs: dict[Name, GraphSpec]
    summary: str = ""
    source: str = ""
    precision: str = "float32"
    image: ImageSpec = ImageSpec()
    size: SizeSpec = SizeSpec()
    tiling: TilingSpec = TilingSpec()
    latent: LatentSpec = LatentSpec()
    likelihood: LikelihoodSpec = LikelihoodSpec()
    weights: FileSpec | None = None
    files: dict[Name, FileSpec] = field(default_factory=dict)
    codec: CodecSpec | None = None
    denoise: DenoiseSpec | None = None
    inpaint: InpaintSpec | None = None
    selftest: SelfTest = SelfTest()

    @property
    def parts(self) -> tuple[GraphSpec | FileSpec, ...]:
        """Every file of the model."""
        weights = () if self.weights is None else (self.weights,)
        return *self.graphs.values(), *weights, *self.files.values()

    def content(self, role: str) -> str:
        """Identifies the bytes of a graph, including those of the weights that it may share."""
        spec, weights = self.graphs[role], self.weights
        if weights is None:
            return spec.sha256
        return json.dumps([spec.sha256, weights.sha256, weights.file])

    def graph_size(self, role: str) -> int:
        """Bytes of a graph, at most, with the weights that it may share."""
        return self.graphs[role].bytes + (self.weights.bytes if self.weights else 0)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that affects results, including the hashes of the files.

        What only informs a reader, such as the summary and the licence, does not count.
        """
        tiling = dataclasses.replace(self.tiling, reason="")
        computing = dataclasses.replace(
            self, license="", summary="", source="", tiling=tiling, selftest=SelfTest()
        )
        table = json.dumps(_without_defaults(computing), sort_keys=True)
        return hashlib.sha256(table.encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Size of all files of the model."""
        return sum(spec.bytes for spec in self.parts)


def _without_defaults(value: Any) -> Any:
    """As plain tables, without default values: keys that later versions add change no fingerprint."""
    if dataclasses.is_dataclass(value):
        given = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {f.name: _without_defaults(v) for f, v in given if v not in (f.default, {}, ())}
    if isinstance(value, dict):
        return {key: _without_defaults(v) for key, v in value.items()}
    return value
