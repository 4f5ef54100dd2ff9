"""Models at work: a folder of graphs, and the variational autoencoder among them.

The words are those of the literature: an encoder gives the *posterior* of an image, whose *mode* is
its best single code and from which one can *sample*; the decoder turns a *latent* into an image; the
*prior* is where latents come from when there is no image.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
import stat
import threading
import typing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from vaetools.errors import ImageValueError, ModelAlteredError, ModelBrokenError, OptionError
from vaetools.graphcheck import check_graph
from vaetools.model.manifest import read_manifest
from vaetools.model.runtime import Device, Runtime, Session, with_uint8_pixels
from vaetools.tiling import ceil_div, map_tiles, pad_to_multiple

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.model.spec import FileSpec, GraphSpec, Manifest


T = TypeVar("T")

log = logging.getLogger(__name__)

TILE = 1024
"""Side, in pixels, of what one call of a graph sees beside its halo."""

SELF_TEST = 2**24
"""Elements that an input of a self-test may have."""

GREY = 0.02
"""Mean spread of R, G and B up to which an image counts as grey: what JPEG does to a scan."""


class Model:
    """A model folder: its manifest, and its graphs, opened when first used.

    A pickled model is its folder, its fingerprint, the device and the number of threads.

    Attributes:
        manifest: what `model.toml` says.
        folder: where it lies.
    """

    def __init__(self, manifest: Manifest, folder: Path, runtime: Runtime) -> None:
        self.manifest = manifest
        self.folder = folder
        self._runtime = runtime
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def device(self) -> Device:
        """The device that its graphs run on."""
        return self._runtime.device

    @property
    def threads(self) -> int:
        """Threads of ONNX Runtime within one call of a graph."""
        return self._runtime.threads

    def __reduce__(self) -> Any:
        place = str(self.folder.absolute()), self.manifest.fingerprint
        return _reopened, (type(self), *place, str(self.device), self.threads)

    def required(self, table: str, spec: T | None) -> T:
        """A table of the manifest that a task cannot do without, such as `manifest.codec`.

        Raises:
            ModelBrokenError: it is not there.
        """
        if spec is None:
            raise ModelBrokenError(f"model {self.id} has no [{table}]", file=self.folder)
        return spec

    def graph(self, role: str, *, pixels: tuple[str, ...] = ()) -> Session:
        """The session of a role.

        Args:
            role: such as `encode`.
            pixels: inputs or outputs that shall be uint8 BGR (H, W, 3); see `with_uint8_pixels`.

        Raises:
            ModelBrokenError: the model has no such graph, or it does not load or is refused (see
                `graphcheck`).
            ModelAlteredError: the file is not the one that the manifest names.
        """
        spec = self.manifest.graphs.get(role)
        if spec is None:
            raise ModelBrokenError(f"model {self.id} has no graph for {role!r}", file=self.folder)

        name = str(self.folder / spec.file)

        def load() -> bytes:
            data = read_verified(self.folder, spec)
            check_graph(
                data,
                name,
                inputs=spec.inputs,
                outputs=spec.outputs,
                channels=_channels(self.manifest, role),
                sizes=_small_sizes(self.manifest),
            )
            return with_uint8_pixels(data, pixels) if pixels else data

        key = f"{spec.sha256} {' '.join(pixels)}"
        return self._runtime.session(load, key=key, name=name, exact=spec.exact)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of a data file (.npz). Raises as `graph` does."""
        import io

        spec = self.manifest.files.get(name)
        if spec is None:
            raise ModelBrokenError(f"model {self.id} has no file {name!r}", file=self.folder)
        with np.load(io.BytesIO(read_verified(self.folder, spec)), allow_pickle=False) as archive:
            return dict(archive)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once per model and kept: for tables and the like."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            return typing.cast("T", self._made[key])

    def check_files(self) -> None:
        """Check every file's size and sha256. Raises `ModelAlteredError`."""
        for spec in self.manifest.parts.values():
            read_verified(self.folder, spec)

    def verify(self) -> None:
        """Check every file, open every graph, and run the self-test.

        Raises:
            ModelAlteredError, ModelBrokenError
        """
        self.check_files()
        for role in self.manifest.graphs:
            self.graph(role)
        for role, expected in self.manifest.selftest.values.items():
            found = self_test(self, role)
            if not abs(found - expected) <= self.manifest.selftest.relative * (
                abs(expected) + 1e-6
            ):
                raise ModelBrokenError(
                    f"self-test of {role}: {found:.6g} where {expected:.6g} was exported",
                    file=self.folder,
                )


@functools.lru_cache(maxsize=8)
def _reopened(kind: type[Model], folder: str, fingerprint: str, device: str, threads: int) -> Model:
    """The model that was pickled; one per process, so that unpickling again opens no new sessions.

    Raises:
        ModelAlteredError: the folder holds another model now.
        ManifestError: there is no model in the folder, or its manifest is wrong.
        DeviceError: the device does not work in this process.
    """
    manifest = read_manifest(Path(folder))
    if manifest.fingerprint != fingerprint:
        raise ModelAlteredError(
            f"holds model {manifest.fingerprint[:16]}, not the pickled one, {fingerprint[:16]}",
            file=folder,
            remedy="pickle again",
        )
    return kind(manifest, Path(folder), Runtime(device, threads=threads))


def read_verified(folder: Path, spec: GraphSpec | FileSpec) -> bytes:
    """The bytes of a model's file, once size and sha256 are those of the manifest.

    Raises:
        ModelAlteredError: missing, not a plain file, linked from elsewhere, or other content.
    """
    path = folder / spec.file
    remedy = "get the model anew, or export it again"
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode):
            raise ModelAlteredError("is not a regular file", file=path, remedy=remedy)
        if info.st_size != spec.bytes:
            raise ModelAlteredError(
                f"has {info.st_size} bytes where the manifest says {spec.bytes}",
                file=path,
                remedy=remedy,
            )
        data = path.read_bytes()
    except OSError as error:
        raise ModelAlteredError(f"cannot be read: {error.strerror}", file=path) from None
    if hashlib.sha256(data).hexdigest() != spec.sha256:
        raise ModelAlteredError(
            "its sha256 is not the one in the manifest", file=path, remedy=remedy
        )
    return data


def _channels(manifest: Manifest, role: str) -> dict[str, int]:
    """Channels of inputs and outputs, for the roles of a VAE; other inputs are the graph's own."""
    spec, image, latent = manifest.graphs[role], manifest.image.channels, manifest.latent.channels
    if role == "encode":
        return {**dict.fromkeys(spec.inputs[:1], image), **dict.fromkeys(spec.outputs, latent)}
    if role == "decode":
        return {**dict.fromkeys(spec.inputs[:1], latent), **dict.fromkeys(spec.outputs, image)}
    return {}


def self_test(model: Model, role: str) -> float:
    """Mean absolute value of the role's outputs for inputs drawn from the manifest's seed.

    Raises:
        ModelAlteredError, ModelBrokenError
    """
    session = model.graph(role)
    rng = np.random.default_rng(model.manifest.selftest.seed)
    sizes = _small_sizes(model.manifest)
    shapes = [
        tuple(side if isinstance(side, int) else sizes.get(side or "", 1) for side in shape)
        for shape in session.input_shapes
    ]
    inputs = zip(session.inputs, shapes, strict=True)
    outputs = session(*(_seeded(name, shape, rng) for name, shape in inputs))
    return float(np.mean([np.abs(o.astype(np.float64)).mean() for o in outputs]))


def _small_sizes(manifest: Manifest) -> dict[str, int]:
    """The self-test's picture, by the symbolic names that the exporter gives to sides."""
    height, width = manifest.selftest.height, manifest.selftest.width
    down = manifest.latent.downscale
    return {
        "height": height,
        "width": width,
        "latent_height": height // down,
        "latent_width": width // down,
        "hyper_height": height // (4 * down),
        "hyper_width": width // (4 * down),
    }


def _seeded(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Input for a self-test: images and noise levels are uniform, masks hide a quarter, everything else
    is integers."""
    if min(shape, default=1) < 1 or math.prod(shape) > SELF_TEST:
        raise ModelBrokenError(f"self-test: {name!r} would have the shape {shape}")
    if name in {"image", "sigma"}:
        return rng.random(shape, dtype=np.float32)
    if name == "mask":
        return (rng.random(shape) < 0.25).astype(np.float32)
    return rng.integers(-3, 4, shape).astype(np.float32)


@dataclass(frozen=True)
class Latent:
    """A code, and the size of the image that it belongs to.

    Attributes:
        values: (1, C, h, w), or (1, C) for models without space, float32.
        height, width: of the image in pixels, before padding.
    """

    values: np.ndarray
    height: int
    width: int

    def with_values(self, values: np.ndarray) -> Latent:
        """Other values for the same image size."""
        return replace(self, values=values.astype(np.float32, copy=False))


@dataclass(frozen=True)
class Posterior:
    """q(z | image), a diagonal Gaussian; with `logvar` None it is a point.

    Attributes:
        mean, logvar: as `Latent.values`; logvar is ln(variance).
    """

    mean: np.ndarray
    logvar: np.ndarray | None
    height: int
    width: int

    def mode(self) -> Latent:
        """The most probable latent."""
        return Latent(self.mean, self.height, self.width)

    def sample(self, rng: np.random.Generator, *, temperature: float = 1.0) -> Latent:
        """mean + temperature · deviation · noise; temperature 0 is the mode."""
        if self.logvar is None:
            return self.mode()
        noise = rng.standard_normal(self.mean.shape, dtype=np.float32)
        values = self.mean + temperature * np.exp(0.5 * self.logvar) * noise
        return self.mode().with_values(values)

    def kl(self) -> np.ndarray:
        """KL(q || N(0, 1)) per element in nats; zeros for a point."""
        if self.logvar is None:
            return np.zeros_like(self.mean)
        return gaussian_kl(self.mean, self.logvar)


def gaussian_kl(mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """KL(N(mean, exp(logvar)) || N(0, 1)) per element in nats.

    Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.
    """
    kl: np.ndarray = 0.5 * (mean**2 + np.exp(logvar) - 1.0 - logvar)
    return kl


class Vae(Model):
    """A model with the roles `encode` and `decode`.

    `encode` and `decode` are for one image as the rest of vaetools has it; the `_batch` methods are
    for arrays as the graphs have them. Images larger than `TILE` are computed in tiles where the
    manifest says that this is exact; other models see them whole, and take the memory for it.
    """

    def encode(self, image: np.ndarray) -> Posterior:
        """Posterior of an image, float32 RGB (H, W, 3) in [0, 1]; any size, padded at the edges.

        Raises:
            ImageValueError: wrong shape or values, another size than the model's only one, or
                colours for a model of grey images.
        """
        tensor = self.tensor(image)
        mean, logvar = self.encode_batch(tensor)
        return Posterior(mean, logvar, *image.shape[:2])

    def decode(self, latent: Latent) -> np.ndarray:
        """Image of a latent: float32 RGB (H, W, 3), not clipped, in the latent's own size."""
        images, _ = self.decode_batch(latent.values)
        image = images[0].transpose(1, 2, 0)[: latent.height, : latent.width]
        return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else np.ascontiguousarray(image)

    def prior(
        self,
        rng: np.random.Generator,
        *,
        height: int | None = None,
        width: int | None = None,
        temperature: float = 1.0,
    ) -> Latent:
        """A latent from the prior N(0, temperature²), for an image of that size.

        Args:
            height, width: in pixels; a model of one size needs none.

        Raises:
            OptionError: no size, or another than the model's only one.
            ModelBrokenError: the model has no prior to sample from, as a plain autoencoder.
        """
        latent, size = self.manifest.latent, self.manifest.size
        if latent.prior != "normal":
            raise ModelBrokenError(f"model {self.id} has no prior to sample from", file=self.folder)
        wanted = (height, width) if height and width else size.fixed
        if len(wanted) != 2 or (size.fixed and tuple(wanted) != size.fixed):
            known = f"{size.fixed[0]} x {size.fixed[1]} pixels only" if size.fixed else "any size"
            raise OptionError(f"model {self.id} needs a height and a width; it knows {known}")
        shape: tuple[int, ...] = (1, latent.channels)
        if latent.kind == "spatial":
            cells = (ceil_div(side, size.multiple_of) * size.multiple_of for side in wanted)
            shape += tuple(max(cell, size.minimum) // latent.downscale for cell in cells)
        values = temperature * rng.standard_normal(shape, dtype=np.float32)
        return Latent(values.astype(np.float32, copy=False), *wanted)

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """An image (H, W, 3) as the graphs take it: (1, C, H', W'), padded. Raises as `encode`."""
        if image.ndim != 3 or image.shape[2] != 3:
            raise ImageValueError(f"shape {image.shape} is not (H, W, 3)")
        if not (image.min() >= 0 and image.max() <= 1):  # true for NaN as well
            raise ImageValueError(
                "values are not all in [0, 1]", remedy="divide 8-bit values by 255"
            )
        size = self.manifest.size
        if size.fixed and image.shape[:2] != size.fixed:
            raise ImageValueError(
                f"model {self.id} takes {size.fixed[0]} x {size.fixed[1]} pixels only, "
                f"not {image.shape[0]} x {image.shape[1]}"
            )
        padded, _ = pad_to_multiple(image, size.multiple_of, minimum=size.minimum)
        if self.manifest.image.channels == 1:
            if np.ptp(padded, axis=2).mean() > GREY:
                raise ImageValueError(
                    f"model {self.id} knows grey images only, and this has colours"
                )
            padded = padded.mean(axis=2, keepdims=True)
        return np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32)

    def encode_batch(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(mean, logvar) of images (N, C, H, W) in [0, 1] whose sizes the model takes as they are.

        Both (N, channels, h, w), or (N, channels) for vectors; logvar is None for a point.

        Raises:
            ModelBrokenError: the graph fails, or gives values that are not finite.
        """
        count = len(self.manifest.graphs["encode"].outputs)

        def encode(tile: np.ndarray) -> np.ndarray:
            return _joined(self.graph("encode")(tile))

        cell, down = self._cell
        out = self._tiled(encode, images, cell, cell // down)
        mean, logvar = np.split(out, 2, axis=1) if count > 1 else (out, None)
        scale, shift = self._scaling
        self._check_finite("encode", out)
        return (mean - shift) * scale, None if logvar is None else logvar + 2 * np.log(scale)

    def decode_batch(self, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(images, logits) of latents (N, channels, h, w) or (N, channels).

        Images are (N, C, H, W), not clipped; logits are those of a Bernoulli likelihood, otherwise
        None. Raises as `encode_batch` does.
        """
        scale, shift = self._scaling
        count = len(self.manifest.graphs["decode"].outputs)

        def decode(tile: np.ndarray) -> np.ndarray:
            return _joined(self.graph("decode")(tile))

        cell, down = self._cell
        values = (latents / scale + shift).astype(np.float32, copy=False)
        out = self._tiled(decode, values, cell // down, cell)
        images, logits = np.split(out, 2, axis=1) if count > 1 else (out, None)
        self._check_finite("decode", out)
        return images, logits

    def _tiled(
        self, function: Callable[[np.ndarray], np.ndarray], array: np.ndarray, into: int, out: int
    ) -> np.ndarray:
        """`function(array)`, in tiles where that is exact and saves memory.

        Args:
            into, out: elements per side of a grid cell, in the array and in the result.
        """
        cell, _ = self._cell
        tiling = self.manifest.tiling
        fits = array.ndim != 4 or max(array.shape[2:]) * cell <= TILE * into
        if fits or tiling.policy != "halo":
            if not fits:
                log.warning(
                    "model %s sees the whole picture at once, which takes memory: %s",
                    self.id,
                    tiling.reason or "it cannot be tiled",
                )
            result = function(array)
            self._check_sides(array, result, into, out)
            return result
        halo = ceil_div(tiling.halo, cell)
        return map_tiles(
            function, [array], scale_in=[into], scale_out=out, size=max(1, TILE // cell), halo=halo
        )

    def _check_sides(self, array: np.ndarray, result: np.ndarray, into: int, out: int) -> None:
        """Refuse a result whose size is not what the manifest says; `map_tiles` does it for tiles."""
        if result.ndim == 2:  # vectors have no sides
            fits = self.manifest.latent.kind == "vector"
        elif result.ndim == array.ndim == 4:
            sides = zip(array.shape[2:], result.shape[2:], strict=True)
            # Less than a cell may be missing where the image is no multiple of one.
            fits = all(abs(after * into - before * out) < into for before, after in sides)
        else:
            size = self.manifest.size
            fixed = (max(side, size.minimum) for side in size.fixed)
            padded = tuple(ceil_div(side, size.multiple_of) * size.multiple_of for side in fixed)
            fits = result.shape[2:] == padded
        if not fits or len(result) != len(array):
            raise ModelBrokenError(
                f"model {self.id} made shape {result.shape} of {array.shape}, which is not what its "
                "manifest says",
                file=self.folder,
            )

    @property
    def _cell(self) -> tuple[int, int]:
        """Pixels per side of a grid cell, and of a latent."""
        down = self.manifest.latent.downscale
        return math.lcm(self.manifest.size.multiple_of, down), down

    @property
    def _scaling(self) -> tuple[np.float32, np.float32]:
        spec = self.manifest.latent
        return np.float32(spec.scale), np.float32(spec.shift)

    def _check_finite(self, role: str, values: np.ndarray) -> None:
        if not np.isfinite(values).all():
            raise ModelBrokenError(
                f"{role} of model {self.id} gave values that are not finite", file=self.folder
            )


def _joined(outputs: tuple[np.ndarray, ...]) -> np.ndarray:
    """The outputs of a graph as one array, one after the other along the channels."""
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)
