"""The miniature codec in tests/codec/golden: all that the real one has, and small; see `make_golden`.

For tests that need a codec and no quality.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np

from vaetools.codec import Codec
from vaetools.codec.container import unpack
from vaetools.model.folder import Model
from vaetools.model.manifest import read_manifest
from vaetools.model.runtime import Runtime

GOLDEN = Path(__file__).parent / "golden"
MODEL = GOLDEN / "model"
STREAMS = GOLDEN / "streams"
SHIPPED = GOLDEN / "shipped"
"""A folder for each stream id that has been released, with files of that codec."""

DECODED = [path.stem for path in sorted(STREAMS.glob("*.vae")) if path.stem != "spikes"]
"""Names of the streams, without the one that is noise at the highest quality."""


def open_codec(folder=MODEL, threads=1):
    """The codec of a model folder, on a runtime of its own, with the options of the environment."""
    return Codec(Model(read_manifest(folder), folder, Runtime("cpu", threads=threads)))


def integers(codec, written):
    """Everything of a file that must be exact: z (N, rows, columns), the number of the table of every
    latent and r (both M, 4 rows, 4 columns)."""
    container = unpack(written)
    levels = codec.levels_of(container)
    networks, z = codec.networks(levels), codec.hyper(container, levels)
    whole = slice(0, levels.shape[0]), slice(0, levels.shape[1])
    return {
        "z": z[0],
        "index": networks.index(z, whole),
        "r": codec.symbols(container, networks, z),
    }


def digests(codec, written):
    """SHA-256 of each of `integers`, as little-endian numbers of 64 bits in raster order; of a stored
    file, which has none, nothing."""
    if unpack(written).stored:
        return {}
    return {
        name: sha256(np.ascontiguousarray(array, "<i8").tobytes()).hexdigest()
        for name, array in integers(codec, written).items()
    }


def metadata_digests(image):
    """SHA-256 of ICC, EXIF, XMP and IPTC, as far as there are any."""
    parts = {name: getattr(image.metadata, name) for name in ("icc", "exif", "xmp", "iptc")}
    return {name: sha256(data).hexdigest() for name, data in parts.items() if data is not None}
