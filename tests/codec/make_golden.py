"""Writes tests/codec/golden: a miniature codec and files of it, which must be readable for ever, and
files of the shipped codecs.

    python -m tests.codec.make_golden model       # once per format: random networks, small tables
    python -m tests.codec.make_golden streams     # adds the files that are not there yet
    python -m tests.codec.make_golden shipped     # the same for the codec that ships now

The model needs torch; the files do not. Neither is there to make a failing test pass: what has once
been written stays as it is, and a reader that no longer reads it is wrong.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TypeAlias

import numpy as np
from skimage import data

from tests.torture import exif_block, saved
from vaetools.codec import Codec, roi_level_drop
from vaetools.image import Cicp, Density, Image, Metadata, decode_image, encode_image
from vaetools.model.registry import shipped_folder

from .miniature import GOLDEN, MODEL, SHIPPED, STREAMS, digests, metadata_digests, open_codec

COARSE = (0, 1, 5, 9)
"""Coarse channels of the model: neither the first ones nor the last ones alone."""

TILE = 12
"""Three cells: a picture of 200 x 150 pixels has two tiles."""

Pictures: TypeAlias = "dict[str, tuple[Image, int, np.ndarray | None]]"
"""name -> picture, level, and what `Codec.analyse` takes as `lower`."""


# --- the model ------------------------------------------------------------------------------------


def write_miniature(folder: Path) -> None:
    """A codec of all parts, so small that it can be committed: the principal components of patches of
    one photograph, and around them networks of random weights."""
    import torch

    from vaetools.model.spec import (
        CodecSpec,
        ImageSpec,
        LatentSpec,
        Manifest,
        SelfTest,
        SizeSpec,
        TilingSpec,
    )
    from vaetools.training.data.image_pack import ImagePack
    from vaetools.training.export.codec import LEVELS, halo, plans, small_reach, stream_id, tables
    from vaetools.training.export.folder import npz, write_model
    from vaetools.training.networks.codec import CodecConfig, PhotoCodec

    torch.manual_seed(0)
    torch.set_num_threads(1)
    photo = torch.from_numpy(data.astronaut())
    height, width = photo.shape[:2]
    pack = ImagePack(
        photo.reshape(-1, 3), torch.tensor([0]), torch.tensor([height]), torch.tensor([width])
    )
    codec = PhotoCodec(
        CodecConfig(
            channels=8,
            middle=8,
            latents=12,
            hyper=4,
            hyper_hidden=8,
            analysis_blocks=1,
            synthesis_blocks=1,
            middle_blocks=0,
            rates=3,
            tables=24,
            scale_max=16.0,
            hyper_limit=15,
        )
    )
    patches = pack.crops(20_000, 16, torch.Generator().manual_seed(1))
    codec.start_from_patches(patches.flatten(1))
    make_lively(codec)
    codec.eval()
    coarse = np.isin(np.arange(codec.config.latents), COARSE)
    arrays = {**tables(codec, pack, 128), "coarse": coarse}
    manifest = Manifest(
        format=1,
        id="miniature-codec",
        version="1",
        license="Apache-2.0",
        summary="For tests: every part of the photo codec, and nothing that it has learned",
        tasks=("compress",),
        graphs={},
        image=ImageSpec(),
        size=SizeSpec(multiple_of=64, minimum=64),
        tiling=TilingSpec("halo", halo(codec)),
        latent=LatentSpec("spatial", codec.config.latents, 16, "uniform", prior="hyper"),
        codec=CodecSpec(stream_id(codec, arrays), LEVELS, TILE, small_reach(codec)),
        selftest=SelfTest(height=192, width=128),
    )
    write_model(folder, manifest, plans(codec), files={"tables": npz(arrays)})


def make_lively(codec) -> None:
    """Hyper-latents that vary, tables that follow them, and means that follow both and the rate."""
    import torch

    with torch.no_grad():
        codec.hyper_analysis.net[-1].weight.mul_(8)
        *hidden, last = codec.hyper_scale_index.layers
        last.weight.mul_(20)
        for layer in hidden:
            layer.bias.normal_(0, 0.5)
        for gate in codec.synthesis.gates:
            gate.net[2].weight.normal_(0, 0.3)


# --- the files ------------------------------------------------------------------------------------


def crop(height: int, width: int, *, grey: bool = False) -> np.ndarray:
    """Part of a photograph that the model has not seen, uint8 BGR or grey."""
    bgr = data.chelsea()[60 : 60 + height, 100 : 100 + width, ::-1]
    return np.ascontiguousarray(bgr[..., 1] if grey else bgr)


def ramp(height: int, width: int, dtype: type) -> np.ndarray:
    """All values from the smallest to the largest."""
    values = np.linspace(0, np.iinfo(dtype).max, height * width)
    return values.reshape(height, width).astype(dtype)


def level_map(height: int, width: int) -> np.ndarray:
    """Levels that cells lose: all sets of hyper tables occur, and some cells end at level 0."""
    mask = np.zeros((height, width), np.float32)
    mask[:64, 64:] = 1
    mask[64:128, 100:] = 0.5
    return roi_level_drop(mask, 90)


def pictures() -> Pictures:
    """Pictures of every kind that a file can hold."""
    deep = crop(40, 50).astype(np.uint16) * 257
    soft = (crop(60, 80) / 255).astype(np.float32)
    noise = np.random.default_rng(5).integers(0, 256, (100, 120, 3), np.uint8)
    tiff = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
    return {
        "one-pixel": (Image(crop(1, 1)), 75, None),
        "odd-size": (Image(crop(63, 65)), 50, None),
        "two-tiles": (Image(crop(150, 200)), 80, None),
        "grey": (Image(crop(70, 40, grey=True)), 60, None),
        "alpha": (Image(crop(50, 70), ramp(50, 70, np.uint8)), 40, None),
        "deep": (Image(deep, ramp(40, 50, np.uint16)), 70, None),
        "float": (Image(soft), 90, None),
        "grey-deep": (Image(np.ascontiguousarray(deep[..., 1])), 100, None),
        "metadata": (Image(crop(40, 70), icc=b"a profile" * 40, exif=tiff), 30, None),
        "described": (Image(crop(70, 40), metadata=described()), 50, None),
        "lowest": (Image(crop(100, 100)), 0, None),
        "spikes": (Image(noise), 100, None),
        "levels": (Image(crop(150, 200)), 90, level_map(150, 200)),
    }


def described() -> Metadata:
    """Every kind of metadata that has an ancillary section."""
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    iptc = b"\x1c\x02\x5a\0\x04Bern"
    return Metadata(xmp=xmp, iptc=iptc, cicp=Cicp(12, 13), density=Density(600, 300))


def stored() -> tuple[Image, bytes]:
    """A picture with alpha that lies on its side, and its file."""
    bgra = np.dstack([crop(9, 14), ramp(9, 14, np.uint8)])
    encoded = saved(bgra, "PNG", exif=exif_block(6))
    return decode_image(encoded), encoded


def shipped_pictures() -> Pictures:
    """Those of `pictures` that depend on the model, and one that has two tiles of the shipped codec."""
    names = "one-pixel", "odd-size", "grey", "deep", "float", "lowest", "spikes", "levels"
    made = pictures()
    wide = np.ascontiguousarray(np.tile(crop(20, 300), (1, 4, 1)))
    return {**{name: made[name] for name in names}, "wide": (Image(wide), 80, None)}


def write_shipped() -> None:
    """Files of the codec that ships now, in a folder with the name of its stream id."""
    codec = open_codec(Path(str(shipped_folder())) / "photo-codec")
    write_files(SHIPPED / codec.spec.stream_id, codec, coded(codec, shipped_pictures()))


def write_streams() -> None:
    """Files of the miniature codec."""
    codec = open_codec(MODEL)
    files = {"stored": codec.store(*stored()), **coded(codec, pictures())}
    write_files(STREAMS, codec, files)


def coded(codec: Codec, chosen: Pictures) -> dict[str, bytes]:
    """The files of pictures, by their names."""
    return {
        name: codec.code(codec.analyse(picture, lower), level).container.pack()
        for name, (picture, level, lower) in chosen.items()
    }


def write_files(folder: Path, codec: Codec, files: dict[str, bytes]) -> None:
    """The files, what they decode to (16 bit PNG where they are floats), and the digests of their
    integers; those that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, written in files.items():
        path = folder / f"{name}.vae"
        if path.exists():
            continue
        path.write_bytes(written)
        found = codec.decode(written)
        known = {**digests(codec, written), **metadata_digests(found)}
        path.with_suffix(".json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".png").write_bytes(encode_image(as_png_holds(found), "png"))


def as_png_holds(image: Image) -> Image:
    """The picture without metadata, and with 16 bit in place of floats."""
    pixels = image.pixels
    if image.depth == 32:
        pixels = np.rint(pixels * 65535).astype(np.uint16)
    return Image(pixels, image.alpha)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("what", choices=["model", "streams", "shipped"])
    what = parser.parse_args().what
    if what == "streams":
        write_streams()
    elif what == "shipped":
        write_shipped()
    elif MODEL.exists():
        parser.error(f"{MODEL} is there; its files must stay readable")
    else:
        GOLDEN.mkdir(exist_ok=True)
        write_miniature(MODEL)


if __name__ == "__main__":
    main()
