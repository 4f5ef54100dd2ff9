"""Models at work: a folder of graphs, and the variational autoencoder among them.

The words are those of the literature: an encoder gives the *posterior* of an image, whose *mode* is
its best single code and from which one can *sample*; the decoder turns a *latent* into an image; the
*prior* is where latents come from when there is no image.
"""

from __future__ import annotations

import hashlib
import stat
import threading
import typing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from vaetools.errors import ImageValueError, ModelAlteredError, ModelBrokenError
from vaetools.runtime import Device, Runtime, Session, with_uint8_pixels
from vaetools.tiling import pad_to_multiple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vaetools.manifest import FileSpec, GraphSpec, Manifest


T = TypeVar("T")


class Model:
    """A model folder: its manifest, and its graphs, opened when first used.

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

    def graph(self, role: str, *, pixels: tuple[str, ...] = ()) -> Session:
        """The session of a role.

        Args:
            role: such as `encode`.
            pixels: inputs or outputs that shall be uint8 BGR (H, W, 3); see `with_uint8_pixels`.

        Raises:
            ModelBrokenError: the model has no such graph, or it does not load.
            ModelAlteredError: the file is not the one that the manifest names.
        """
        spec = self.manifest.graphs.get(role)
        if spec is None:
            raise ModelBrokenError(f"model {self.id} has no graph for {role!r}", file=self.folder)

        def load() -> bytes:
            data = read_verified(self.folder, spec)
            return with_uint8_pixels(data, pixels) if pixels else data

        return self._runtime.session(
            load,
            key=f"{spec.sha256} {' '.join(pixels)}",
            name=str(self.folder / spec.file),
            exact=spec.exact,
        )

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
        """Check every file, and run the self-test.

        Raises:
            ModelAlteredError, ModelBrokenError
        """
        self.check_files()
        for role, expected in self.manifest.selftest.values.items():
            found = self_test(self, role)
            if not abs(found - expected) <= self.manifest.selftest.relative * (
                abs(expected) + 1e-6
            ):
                raise ModelBrokenError(
                    f"self-test of {role}: {found:.6g} where {expected:.6g} was exported",
                    file=self.folder,
                )


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


def self_test(model: Model, role: str) -> float:
    """Mean absolute value of the role's outputs for inputs drawn from the manifest's seed."""
    import onnx

    test = model.manifest.selftest
    graph = onnx.load_from_string(read_verified(model.folder, model.manifest.graphs[role])).graph
    rng = np.random.default_rng(test.seed)
    down = model.manifest.latent.downscale
    inputs = [_seeded(value, rng, test.height, test.width, down) for value in graph.input]
    outputs = model.graph(role)(*inputs)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return float(np.mean([np.abs(o.astype(np.float64)).mean() for o in outputs]))


def _seeded(value: Any, rng: np.random.Generator, height: int, width: int, down: int) -> np.ndarray:
    """Input for a self-test: images are uniform, everything else integers, sized by the symbolic
    names `height`, `width`, `latent_height` … that the exporter gives."""
    sizes = {
        "height": height,
        "width": width,
        "latent_height": height // down,
        "latent_width": width // down,
        "hyper_height": height // (4 * down),
        "hyper_width": width // (4 * down),
    }
    shape = [d.dim_value or sizes.get(d.dim_param, 1) for d in value.type.tensor_type.shape.dim]
    if value.name == "image":
        return rng.random(shape, dtype=np.float32)
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
        """KL(q || N(0, 1)) per element in nats; zeros for a point.

        Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.
        """
        if self.logvar is None:
            return np.zeros_like(self.mean)
        kl: np.ndarray = 0.5 * (self.mean**2 + np.exp(self.logvar) - 1.0 - self.logvar)
        return kl


class Vae(Model):
    """A model with the roles `encode` and `decode`."""

    @cached_property
    def _latent(self) -> tuple[np.float32, np.float32]:
        spec = self.manifest.latent
        return np.float32(spec.scale), np.float32(spec.shift)

    def encode(self, image: np.ndarray) -> Posterior:
        """Posterior of an image, float32 RGB (H, W, 3) in [0, 1]; any size, padded at the edges.

        Raises:
            ImageValueError: wrong shape, or another size than the model's only one.
        """
        if image.ndim != 3 or image.shape[2] != 3:
            raise ImageValueError(f"shape {image.shape} is not (H, W, 3)")
        size = self.manifest.size
        if size.fixed and image.shape[:2] != size.fixed:
            raise ImageValueError(
                f"model {self.id} takes {size.fixed[0]} x {size.fixed[1]} pixels only, "
                f"not {image.shape[0]} x {image.shape[1]}"
            )
        padded, (height, width) = pad_to_multiple(image, size.multiple_of, minimum=size.minimum)
        if self.manifest.image.channels == 1:
            padded = padded.mean(axis=2, keepdims=True)
        tensor = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32)
        out = self.graph("encode")(tensor)
        mean, logvar = out if isinstance(out, list) else (out, None)
        scale, shift = self._latent
        if logvar is not None:
            logvar = logvar + 2 * np.log(scale)
        return Posterior((mean - shift) * scale, logvar, height, width)

    def decode(self, latent: Latent) -> np.ndarray:
        """Image of a latent: float32 RGB (H, W, 3), not clipped, in the latent's own size."""
        scale, shift = self._latent
        out = self.graph("decode")(latent.values / scale + shift)
        image = out[0].transpose(1, 2, 0)[: latent.height, : latent.width]
        return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else np.ascontiguousarray(image)
