"""Files of the shipped codec, with the integers and pixels that they decode to, for web/test.

    python -m tests.codec.for_browsers DIR
    python -m tests.codec.for_browsers DIR KODAK --count 50

With a folder of images, in place of the photographs of scikit-image. DIR/shared-weights is the miniature
model of the golden files with its weights in one file, and DIR/other-weights has another synthesis.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from skimage import data

import vaetools
from tests.codec.miniature import GOLDEN, digests
from vaetools.codec import Codec
from vaetools.image import encode_image, read_image
from vaetools.image.array import Image
from vaetools.model.manifest import read_manifest
from vaetools.training.export.folder import save_manifest, write_file
from vaetools.training.export.shared_weights import FILE, SMALLEST, shared_weights

QUALITIES = (0, 20, 40, 60, 75, 90, 100)


def images(folder: Path | None) -> dict[str, Image]:
    if folder is not None:
        return {path.stem: read_image(path) for path in sorted(folder.glob("*.png"))}
    return {
        name: Image(np.ascontiguousarray(getattr(data, name)()[:300, :450, ::-1]))
        for name in ("astronaut", "coffee", "chelsea", "rocket")
    }


def share_weights(source: Path, folder: Path, *, darker: float = 1.0) -> None:
    """Copy a model; all large weights are moved into the file of shared weights.

    Args:
        darker: factor on the weights of the synthesis.
    """
    manifest = read_manifest(shutil.copytree(source, folder, dirs_exist_ok=True))
    graphs = {role: (folder / spec.file).read_bytes() for role, spec in manifest.graphs.items()}
    synthesis = onnx.load_from_string(graphs["synthesis"])
    for tensor in synthesis.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.raw_data) >= SMALLEST:
            tensor.raw_data = (
                np.frombuffer(tensor.raw_data, np.float32) * np.float32(darker)
            ).tobytes()
    graphs["synthesis"] = synthesis.SerializeToString()
    twice = graphs | {f"{role} again": data for role, data in graphs.items()}
    moved, weights = shared_weights(twice)
    assert weights
    specs = {
        role: replace(spec, **vars(write_file(folder, spec.file, moved[role])))
        for role, spec in manifest.graphs.items()
    }
    shared = write_file(folder, FILE, weights)
    save_manifest(folder, replace(manifest, graphs=specs, weights=shared))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=4)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    share_weights(GOLDEN / "model", options.out / "shared-weights")
    share_weights(GOLDEN / "model", options.out / "other-weights", darker=0.5)
    hub = vaetools.open("cpu")
    codec = Codec(hub.registry.for_task("compress"))
    pairs = zip(itertools.cycle(images(options.folder).items()), itertools.cycle(QUALITIES))
    for (name, image), quality in itertools.islice(pairs, options.count):
        written = codec.encode(image, quality)
        path = options.out / f"{name}-{quality}"
        path.with_suffix(".vae").write_bytes(written)
        path.with_suffix(".json").write_text(json.dumps(digests(codec, written)))
        path.with_suffix(".png").write_bytes(encode_image(codec.decode(written), "png"))


if __name__ == "__main__":
    main()
