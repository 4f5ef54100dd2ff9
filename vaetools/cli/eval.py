"""`vaetools eval A B`: how close are the images of B to those of A?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import hub_of, warn
from vaetools.cli.flags import DEBUG, DEVICE, JSON, MODELS_DIR
from vaetools.codec.container import SUFFIX as VAE
from vaetools.errors import (
    EXIT_SOME_FAILED,
    LibraryError,
    NothingMatchedError,
    UsageError,
    VaetoolsError,
    printable,
)
from vaetools.image import SUFFIXES, Image, most_bytes, read_file, read_image

if TYPE_CHECKING:
    from vaetools.hub import Hub


MOST_NAMES = 20
"""Files without a partner that are named."""


@dataclass(frozen=True)
class Row:
    """Metrics of one pair; `bytes` and `bpp` are those of the second file."""

    file: str
    bytes: int
    bpp: float
    psnr: float
    ssim: float | None
    ms_ssim: float | None


@click.command("eval")
@click.argument("reference", type=LocalPath(path_type=Path))
@click.argument("candidate", type=LocalPath(path_type=Path))
@JSON
@MODELS_DIR
@DEVICE
@DEBUG
@click.pass_context
def command(
    ctx: click.Context,
    reference: Path,
    candidate: Path,
    as_json: bool,
    models_dir: tuple[str, ...],
    device: str,
) -> None:
    """Compare images: PSNR, SSIM, MS-SSIM, bits per pixel.

    REFERENCE and CANDIDATE are two files or two folders. Files of folders are paired if their
    names are equal (a.png.vae counts as a.png, unless that is there too), or differ only in the
    suffix.

    \b
    Examples:
      vaetools eval photo.jpg packed/photo.jpg.vae
      vaetools eval photos/ back/ --json
    """
    hub = hub_of(ctx, models_dir=models_dir, device=device)
    found, alone = pairs(reference, candidate)
    rows, failed = [], False
    for original, other in found:
        try:
            rows.append(compare(original, other, hub))
        except LibraryError:
            raise  # no other file would fare better
        except VaetoolsError as error:
            failed = True
            warn(error.about(other))
            continue
        if as_json:
            click.echo(json.dumps(asdict(rows[-1])))
    if not as_json and rows:
        click.echo(table(rows))
    if alone:
        click.echo(f"without a partner: {_listed(alone)}", err=True)
    if failed:
        ctx.exit(EXIT_SOME_FAILED)


def pairs(reference: Path, candidate: Path) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """(pairs of files, files without a partner).

    Raises:
        UsageError: a file and a folder, or several candidates for one reference.
        NothingMatchedError: there is no pair.
    """
    for path in (reference, candidate):
        if not path.exists():
            raise UsageError("no such file or folder", file=path)
    if reference.is_file() and candidate.is_file():
        return [(reference, candidate)], []
    if reference.is_file() or candidate.is_file():
        raise UsageError("compare two files or two folders", file=candidate)
    originals, others = _images(reference), _images(candidate)
    partners = {name: _partner(name, originals, others) for name in originals}
    both = [(path, others[p]) for name, path in originals.items() if (p := partners[name])]
    if not both:
        raise NothingMatchedError(f"no image in {reference} has a partner in {candidate}")
    alone = [path for name, path in originals.items() if partners[name] is None]
    alone += [path for name, path in others.items() if name not in partners.values()]
    return both, alone


def _listed(files: list[Path]) -> str:
    """The names of some files, and the number of the rest."""
    names = ", ".join(printable(str(file)) for file in files[:MOST_NAMES])
    rest = len(files) - MOST_NAMES
    return f"{names} and {rest:,} more" if rest > 0 else names


def _images(folder: Path) -> dict[PurePath, Path]:
    """Relative name, without `.vae` -> file; hidden files and folders are left out."""
    found: dict[PurePath, Path] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        name = relative.with_suffix("") if path.suffix.lower() == VAE else relative
        hidden = any(part.startswith(".") for part in relative.parts)
        if not hidden and path.is_file() and name.suffix.lower() in SUFFIXES:
            # Next to its original, a .vae file is another version of it, and never takes its place.
            found[relative if name in found else name] = path
    return found


def _partner(
    name: PurePath, originals: dict[PurePath, Path], others: dict[PurePath, Path]
) -> PurePath | None:
    """The same name, or the only one that differs only in its suffix."""
    if name in others:
        return name
    stem = name.with_suffix("")
    fitting = [other for other in others if other.with_suffix("") == stem]
    rivals = [other for other in originals if other.with_suffix("") == stem]
    if len(fitting) == 1 and len(rivals) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(f"{name} has several possible partners", remedy="keep the suffixes equal")
    return None


def compare(original: Path, other: Path, hub: Hub) -> Row:
    """Metrics of one pair, at the bit depth of the files."""
    from vaetools.metrics import MS_SSIM_SMALLEST, SSIM_SMALLEST, bpp, ms_ssim, psnr, ssim

    a, b = _load(original, hub), _load(other, hub)
    size = other.stat().st_size
    pixels = (a.pixels, b.pixels)
    side = min(a.height, a.width)
    return Row(
        str(other),
        size,
        round(bpp(size, a.width, a.height), 4),
        round(psnr(*pixels), 3),
        round(ssim(*pixels), 5) if side >= SSIM_SMALLEST else None,
        round(ms_ssim(*pixels), 5) if side >= MS_SSIM_SMALLEST else None,
    )


def _load(path: Path, hub: Hub) -> Image:
    if path.suffix.lower() != VAE:
        return read_image(path)
    operation = hub.op("decompress").operation
    most = most_bytes(operation.max_pixels)
    result = operation.process(read_file(path, check_head=operation.check_head, most=most))
    if not isinstance(result, Image):
        raise UsageError("decompress did not return an image", file=path)
    return result


def table(rows: list[Row]) -> str:
    """The rows and their mean, as text."""
    names = [printable(row.file) for row in rows]
    width = max(map(len, names))
    lines = [f"{'file':{width}} {'bytes':>10} {'bpp':>8} {'PSNR':>7} {'SSIM':>8} {'MS-SSIM':>8}"]
    for name, row in zip(names, rows, strict=True):
        similar = " ".join(_optional(value) for value in (row.ssim, row.ms_ssim))
        lines.append(f"{name:{width}} {row.bytes:10d} {row.bpp:8.4f} {row.psnr:7.2f} {similar}")
    if len(rows) > 1:
        count = len(rows)
        size, rate, decibels = (
            sum(getattr(row, name) for row in rows) / count for name in ("bytes", "bpp", "psnr")
        )
        similar = " ".join(
            _optional(_mean(values))
            for values in ([row.ssim for row in rows], [row.ms_ssim for row in rows])
        )
        lines.append(f"{'mean':{width}} {size:10.0f} {rate:8.4f} {decibels:7.2f} {similar}")
    return "\n".join(lines)


def _mean(values: list[float | None]) -> float | None:
    """The mean, or None if a value is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _optional(value: float | None) -> str:
    return "       -" if value is None else f"{value:8.5f}"
