"""`vaetools demo OUT`: the four operations on the photographs of scikit-image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import hub_of
from vaetools.cli.demo_images import (
    SIGMA,
    copy_photographs,
    jpeg_of_size,
    write_noisy,
    write_scratched,
)
from vaetools.cli.flags import DEBUG, DEVICE
from vaetools.errors import OutputError

if TYPE_CHECKING:
    from vaetools.hub import Hub
    from vaetools.record import Record

MODEL = "photo-codec"

QUALITIES = (25, 50, 75, 100)

REPORTED = 75
"""The quality that the report shows."""

SIZES = "image                    q  vae bytes    bpp   PSNR   JPEG bytes   PSNR"

RESTORED = "image                     noisy  denoised   scratched  inpainted"


@click.command("demo")
@click.argument("out", type=LocalPath(path_type=Path), default=Path("demo"))
@DEVICE
@DEBUG
@click.pass_context
def command(ctx: click.Context, out: Path, device: str) -> None:
    """Try all four operations on sample photographs.

    Writes OUT/photos and what the operations make of them: OUT/packed-qQ (.vae files) and OUT/back-qQ
    (decoded) for several qualities Q, OUT/denoised, OUT/inpainted, OUT/augmented. Prints sizes and
    PSNR, and those of JPEG files of about the same size. OUT/report.html compares all of them.

    \b
    Examples:
      vaetools demo
      vaetools demo demo/ --device cpu
    """
    photos = copy_photographs(out / "photos")
    with hub_of(ctx, device=device) as hub:
        click.echo(f"device: {hub.runtime.device}\n")
        records = [*_compress(hub, photos, out), *_restore(hub, photos, out)]
        records += _do(hub, "augment", photos, out / "augmented", n=2)
        report = out / "report.html"
        _report(hub, records, report)
    click.echo(f"\nOpen {report} in a browser: it compares inputs and outputs with a slider.")


def _do(
    hub: Hub, name: str, inputs: list[Path], out: Path, **options: Any
) -> tuple[Record, ...]:  # fmt: skip
    """One run. Raises `OutputError` if some input failed."""
    result = hub.map(name, inputs, out=out, force=True, **options)
    if result.exit_code:
        failures = "; ".join(r.message for r in result.records if r.status == "failed")
        raise OutputError(f"{name} failed: {failures or result.summary}", file=out)
    return result.records


def _compress(hub: Hub, photos: list[Path], out: Path) -> list[Record]:
    """Compress and decompress at all qualities; print a table."""
    records: list[Record] = []
    lines = []
    for quality in QUALITIES:
        packed, back = out / f"packed-q{quality}", out / f"back-q{quality}"
        done = _do(hub, "compress", photos, packed, model=MODEL, quality=quality)
        _do(hub, "decompress", [packed / f"{photo.name}.vae" for photo in photos], back)
        records += done if quality == REPORTED else ()
        lines += [_size_row(photo, packed, back, quality) for photo in photos]
    click.echo("\n".join([SIZES, *sorted(lines)]))
    return records


def _size_row(photo: Path, packed: Path, back: Path, quality: int) -> str:
    from vaetools.image import read_image
    from vaetools.metrics import bpp, psnr

    original = read_image(photo)
    decoded = read_image(back / photo.with_suffix(".png").name)
    size = (packed / f"{photo.name}.vae").stat().st_size
    jpeg_size, jpeg_psnr = jpeg_of_size(original, size)
    rate = bpp(size, original.width, original.height)
    return (
        f"{photo.name:22} {quality:3d} {size:10d} {rate:6.3f} "
        f"{psnr(original.pixels, decoded.pixels):6.2f}   {jpeg_size:10d} {jpeg_psnr:6.2f}"
    )


def _restore(hub: Hub, photos: list[Path], out: Path) -> list[Record]:
    """Add noise and remove it, draw scratches and fill them; print a table."""
    masks = out / "masks"
    noisy = [write_noisy(photo, out / "noisy", i) for i, photo in enumerate(photos)]
    scratched = [
        write_scratched(photo, out / "scratched", masks, i) for i, photo in enumerate(photos)
    ]
    denoised, inpainted = out / "denoised", out / "inpainted"
    records = [
        *_do(hub, "denoise", noisy, denoised),
        *_do(hub, "inpaint", scratched, inpainted, mask=masks),
    ]
    click.echo(f"\nPSNR in dB, noise of σ {SIGMA:g}; of scratches, within the scratches only")
    click.echo(RESTORED)
    for photo, before, damaged in zip(photos, noisy, scratched, strict=True):
        mask = masks / damaged.name
        values = (
            _psnr(photo, before),
            _psnr(photo, denoised / before.name),
            _psnr(photo, damaged, mask),
            _psnr(photo, inpainted / damaged.name, mask),
        )
        click.echo(
            "{:22} {:8.2f} {:9.2f} {:11.2f} {:10.2f}".format(
                photo.with_suffix(".png").name, *values
            )
        )
    return records


def _psnr(photo: Path, other: Path, mask: Path | None = None) -> float:
    """PSNR in dB, of the pixels of a mask only if there is one."""
    import numpy as np

    from vaetools.image import read_image
    from vaetools.metrics import psnr

    a, b = read_image(photo).pixels, read_image(other).pixels
    if mask is not None:
        hole = np.asarray(read_image(mask).pixels) > 0
        a, b = a[hole][None], b[hole][None]
    return psnr(a, b)


def _report(hub: Hub, records: list[Record], path: Path) -> None:
    from vaetools.runner.result import RunResult

    RunResult(tuple(records), seconds=None).write_report(path, decode=hub.preview)
