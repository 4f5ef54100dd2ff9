"""A model folder: files checked against the manifest, graphs opened when first used."""

from __future__ import annotations

import functools
import hashlib
import stat
import threading
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from vaetools.errors import ModelAlteredError, ModelBrokenError
from vaetools.model.arrays import read_arrays
from vaetools.model.checked import (
    chained_graph,
    checked_graph,
    is_shipped,
    remembered_if_shipped,
)
from vaetools.model.fused.chains import chain_of
from vaetools.model.isolation import AVAILABLE, Worker
from vaetools.model.manifest import FILE_NAME, read_manifest
from vaetools.model.runtime import Runtime
from vaetools.model.selftest import self_test
from vaetools.model.shared_weights import with_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy as np

    from vaetools.model.devices import Device
    from vaetools.model.session import Session
    from vaetools.model.spec import (
        CodecSpec,
        DenoiseSpec,
        FileSpec,
        GraphSpec,
        InpaintSpec,
        Manifest,
    )

T = TypeVar("T")


class Model:
    """A model folder: its manifest, and its graphs, opened when first used.

    A pickled model is its folder, its fingerprint, and the settings of the runtime.

    Attributes:
        manifest: the content of `model.toml`.
        folder: the folder.
        runtime: opens the graphs.
    """

    def __init__(self, manifest: Manifest, folder: Path, runtime: Runtime) -> None:
        self.manifest = manifest
        self.folder = folder
        self.runtime = runtime
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        tasks = ", ".join(self.manifest.tasks)
        return (
            f"<{type(self).__name__} {self.id} {self.manifest.version} ({tasks}) on {self.device}>"
        )

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def device(self) -> Device:
        """The device that its graphs run on."""
        return self.runtime.device

    @property
    def threads(self) -> int:
        """Threads of ONNX Runtime within one call of a graph."""
        return self.runtime.threads

    def __reduce__(self) -> Any:
        place = str(self.folder.absolute()), self.manifest.fingerprint
        settings = str(self.device), self.runtime.wanted_threads, self.runtime.isolate
        return _unpickled, (type(self), *place, *settings)

    @overload
    def required(self, table: Literal["codec"]) -> CodecSpec: ...
    @overload
    def required(self, table: Literal["denoise"]) -> DenoiseSpec: ...
    @overload
    def required(self, table: Literal["inpaint"]) -> InpaintSpec: ...

    def required(self, table: str) -> Any:
        """A table of the manifest that a task cannot do without.

        Args:
            table: its name.

        Raises:
            ModelBrokenError: the manifest does not have it.
        """
        spec = getattr(self.manifest, table)
        if spec is None:
            raise ModelBrokenError(f"model {self.id} has no [{table}]", file=self.folder)
        return spec

    def graph(self, role: str, *, pixels: tuple[str, ...] = ()) -> Session:
        """The session of a role.

        Args:
            role: such as `encode`, or that of a `Chain` of the codec.
            pixels: inputs or outputs that shall be uint8 BGR (B, H, W, 3) and the like; see
                `vaetools.model.pixels`.

        Raises:
            ModelBrokenError: the model has no such graph, or it does not load or is refused (see
                `graphcheck`).
            ModelAlteredError: the file is not the one that the manifest names.
        """
        chain = chain_of(role)
        spec = None if chain else self._spec(role)
        name = str(self.folder / self._spec(chain.main if chain else role).file)
        if self._worker is not None:
            return self._worker.session(role, pixels, name)
        content = self.manifest.content(role) if spec else f"{self.manifest.fingerprint} {role}"
        return self.runtime.session(
            lambda: self.graph_bytes(role, pixels),
            key=f"{content} {' '.join(pixels)}",
            name=name,
            exact=spec is not None and spec.exact,
        )

    def graph_bytes(self, role: str, pixels: tuple[str, ...] = ()) -> bytes:
        """The checked ONNX bytes of a role. Arguments and exceptions are those of `graph`."""
        # Devices that want fixed shapes want few calls as well: images of one size share them.
        batched = self.device.fixed_shapes
        chain = chain_of(role)
        if chain is not None:
            return chained_graph(chain, self.manifest, self._file_graph, pixels, batched=batched)
        return self._file_graph(role, pixels, batched=batched and not self._spec(role).exact)

    def _file_graph(
        self, role: str, pixels: tuple[str, ...] = (), *, batched: bool = False
    ) -> bytes:
        name = str(self.folder / self._spec(role).file)
        data = self.unchecked_graph(role)
        return checked_graph(data, self.manifest, role, name, pixels, batched=batched)

    def unchecked_graph(self, role: str) -> bytes:
        """The ONNX bytes of a role with its weights, as the files have them; not for use."""
        spec, shared = self._spec(role), self.manifest.weights
        data = read_verified(self.folder, spec)
        if shared is None:
            return data
        weights = read_verified(self.folder, shared)

        def joined() -> bytes:
            try:
                return with_weights(data, weights, shared.file)
            except ModelBrokenError as error:
                raise error.about(self.folder / spec.file) from None

        return remembered_if_shipped(self.manifest, role, joined)

    def _spec(self, role: str) -> GraphSpec:
        spec = self.manifest.graphs.get(role)
        if spec is None:
            raise ModelBrokenError(f"model {self.id} has no graph for {role!r}", file=self.folder)
        return spec

    @functools.cached_property
    def _worker(self) -> Worker | None:
        """The process that opens the graphs; None if this one does."""
        wanted = self.runtime.isolate
        if wanted is None:
            wanted = AVAILABLE and not is_shipped(self.manifest)
        if not wanted:
            return None
        worker = Worker(self.folder, self.manifest.fingerprint, self.device, self.threads)
        self.runtime.adopt(worker)
        return worker

    def arrays(self, name: str, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
        """The arrays of a data file (.npz).

        Args:
            name: of the file in the manifest.
            names: of the arrays that it may hold; None for any.

        Raises:
            ModelBrokenError: there is no such file, or it is damaged or holds other arrays.
            ModelAlteredError: the file is not the one that the manifest names.
        """
        spec = self.manifest.files.get(name)
        if spec is None:
            raise ModelBrokenError(f"model {self.id} has no file {name!r}", file=self.folder)
        try:
            return read_arrays(read_verified(self.folder, spec), names)
        except ModelBrokenError as error:
            raise error.about(self.folder / spec.file) from None

    def once(self, key: str, make: Callable[[], T]) -> T:
        """The result of `make`, made once per model and kept: for tables and the like."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            return typing.cast("T", self._made[key])

    def check_files(self) -> None:
        """Check every file's size and sha256. Raises `ModelAlteredError`."""
        for spec in self.manifest.parts:
            read_verified(self.folder, spec)

    def verify(self) -> None:
        """Check every file, open every graph, and run the self-test.

        Raises:
            ModelAlteredError: a file is not the one that the manifest names.
            ModelBrokenError: a graph or a table is refused, a self-test gives other numbers, or a graph
                has none.
        """
        self.check_files()
        for role in self.manifest.graphs:
            self.graph(role)
        for name in self.manifest.files:
            self.arrays(name)
        untested = sorted(self.manifest.graphs.keys() - self.manifest.selftest.values.keys())
        if untested:
            raise ModelBrokenError(
                f"is not verified: [selftest.values] has nothing for {', '.join(untested)}",
                file=self.folder / FILE_NAME,
                remedy="all files and graphs are as they should be, but no result was compared",
            )
        for role, expected in self.manifest.selftest.values.items():
            found = self_test(self.graph(role), self.manifest)
            if not abs(found - expected) <= self.manifest.selftest.relative * (
                abs(expected) + 1e-6
            ):
                raise ModelBrokenError(
                    f"self-test of {role}: {found:.6g} where {expected:.6g} was exported",
                    file=self.folder,
                )


@functools.lru_cache(maxsize=8)
def _unpickled(
    kind: type[Model],
    folder: str,
    fingerprint: str,
    device: str,
    threads: int | None,
    isolate: bool | None = False,
) -> Model:
    """The model that was pickled; one per process, so that unpickling again opens no new sessions.

    Raises as `reopened` does.
    """
    runtime = Runtime(device, threads=threads, isolate=isolate)
    return reopened(Path(folder), fingerprint, runtime, kind, was="pickled")


def reopened(
    folder: Path,
    fingerprint: str,
    runtime: Runtime,
    kind: type[Model] = Model,
    *,
    was: Literal["pickled", "opened"] = "opened",
) -> Model:
    """The model in a folder, if it is still the one that was there.

    Args:
        was: what was done with that one, for the error.

    Raises:
        ModelAlteredError: the folder holds another model now.
        ManifestError: there is no model in the folder, or its manifest is wrong.
    """
    manifest = read_manifest(folder)
    if manifest.fingerprint != fingerprint:
        raise ModelAlteredError(
            f"holds model {manifest.fingerprint[:16]}, not the {was} one, {fingerprint[:16]}",
            file=folder,
            remedy=f"{'pickle' if was == 'pickled' else 'open'} it again",
        )
    return kind(manifest, folder, runtime)


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
