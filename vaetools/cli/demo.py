"""`vaetools demo OUT`: compresses the photographs of scikit-image, from start to finish."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import hub_of
from vaetools.cli.flags import DEBUG, DEVICE
from vaetools.errors import OutputError, UsageError

if TYPE_CHECKING:
    from vaetools.hub import Hub

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg")
"""Colour images that scikit-image installs (public domain or CC0)."""

MODEL = "photo-codec"

QUALITIES = (25, 50, 75, 100)

HEADER = "image                    q  vae bytes    bpp   PSNR   JPEG bytes   PSNR"


@click.command("demo")
@click.argument("out", type=LocalPath(path_type=Path), default=Path("demo"))
@DEVICE
@DEBUG
@click.pass_context
def command(ctx: click.Context, out: Path, device: str) -> None:
    """Compress sample photographs and show the result.

    Writes OUT/photos, OUT/packed-qQ (.vae files) and OUT/back-qQ (decoded PNG files) for several
    qualities Q. Prints sizes and PSNR, and those of JPEG files of about the same size.

    \b
    Examples:
      vaetools demo
      vaetools demo demo/ --device cpu
    """
    photos = copy_photographs(out / "photos")
    with hub_of(ctx, device=device) as hub:
        click.echo(f"device: {hub.runtime.device}")
        lines = []
        for quality in QUALITIES:
            packed, back = out / f"packed-q{quality}", out / f"back-q{quality}"
            _do(hub, "compress", photos, packed, model=MODEL, quality=quality)
            files = [packed / f"{photo.name}.vae" for photo in photos]
            _do(hub, "decompress", files, back)
            lines += _rows(photos, packed, back, quality)
    click.echo("\n".join([HEADER, *sorted(lines)]))
    click.echo(f"\nCompare {out}/photos with {out}/back-q75.")


def _do(hub: Hub, name: str, inputs: list[Path], out: Path, **options: Any) -> None:
    """One run. Raises `OutputError` if some input failed."""
    result = hub.map(name, inputs, out=out, on_exists="replace", **options)
    if result.exit_code:
        failures = "; ".join(r.message for r in result.records if r.status == "failed")
        raise OutputError(f"{name} failed: {failures or result.summary}", file=out)


def copy_photographs(folder: Path) -> list[Path]:
    """Copy the photographs of scikit-image to `folder`. Raises `UsageError` if there are none."""
    from skimage import data

    source = Path(data.__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    found = [source / name for name in PHOTOGRAPHS if (source / name).exists()]
    if not found:
        raise UsageError("the installed scikit-image has no photographs", file=source)
    return [Path(shutil.copyfile(path, folder / path.name)) for path in found]


def _rows(photos: list[Path], packed: Path, back: Path, quality: int) -> list[str]:
    from vaetools.image import read_image
    from vaetools.metrics import bpp, psnr

    rows = []
    for photo in photos:
        original = read_image(photo)
        decoded = read_image(back / photo.with_suffix(".png").name)
        size = (packed / f"{photo.name}.vae").stat().st_size
        jpeg_size, jpeg_psnr = _jpeg_of_size(photo, size)
        rate = bpp(size, original.width, original.height)
        rows.append(
            f"{photo.name:22} {quality:3d} {size:10d} {rate:6.3f} "
            f"{psnr(original.pixels, decoded.pixels):6.2f}   {jpeg_size:10d} {jpeg_psnr:6.2f}"
        )
    return rows


def _jpeg_of_size(photo: Path, size: int) -> tuple[int, float]:
    """(bytes, PSNR) of the best optimised 4:2:0 JPEG of at most `size` bytes, or of the smallest."""
    import io

    from PIL import Image as PillowImage

    from vaetools.image import decode_image, read_image
    from vaetools.metrics import psnr

    original = read_image(photo)
    rgb = PillowImage.fromarray(original.pixels[:, :, ::-1].copy())
    low, high, best = 1, 95, b""
    while low <= high:
        middle = (low + high) // 2
        buffer = io.BytesIO()
        rgb.save(buffer, "JPEG", quality=middle, subsampling="4:2:0", optimize=True)
        if len(buffer.getvalue()) <= size or not best:
            best = buffer.getvalue()
        low, high = (middle + 1, high) if len(buffer.getvalue()) <= size else (low, middle - 1)
    return len(best), psnr(original.pixels, decode_image(best).pixels)
