"""`vaetools eval A B`: how near are the pictures of B to those of A?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaetools.cli.app import host_of, warn
from vaetools.errors import (
    EXIT_SOME_FAILED,
    NothingMatchedError,
    UnreadableError,
    UsageError,
    VaetoolsError,
)
from vaetools.image import SUFFIXES, Image, decode_image

if TYPE_CHECKING:
    from vaetools.hub import Hub

VAE = ".vae"


@dataclass(frozen=True)
class Row:
    """Figures of one pair; `bytes` and `bpp` are those of the second file."""

    file: str
    bytes: int
    bpp: float
    psnr: float
    ssim: float
    ms_ssim: float | None


@click.command("eval")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per pair.")
@click.option("--models-dir", multiple=True, metavar="DIR", help="Further folder of models.")
@click.option("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N [auto].")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
@click.pass_context
def command(
    ctx: click.Context,
    reference: Path,
    candidate: Path,
    as_json: bool,
    models_dir: tuple[str, ...],
    device: str,
) -> None:
    """Compare pictures: PSNR, SSIM, MS-SSIM, bits per pixel.

    REFERENCE and CANDIDATE are files or folders; in folders, files belong together whose names
    are the same but for the suffix (a.png, a.jpg, a.png.vae). CANDIDATE may hold .vae files.
    """
    from vaetools.hub import Hub
    from vaetools.registry import default_folders

    host = host_of(ctx)
    hub = Hub(host, [*default_folders(models_dir), *host.model_folders], device=device)
    rows, failed = [], False
    for original, other in pairs(reference, candidate):
        try:
            rows.append(compare(original, other, hub))
        except VaetoolsError as error:
            failed = True
            warn(error.about(other))
            continue
        if as_json:
            click.echo(json.dumps(asdict(rows[-1])))
    if not as_json and rows:
        click.echo(table(rows))
    if failed:
        ctx.exit(EXIT_SOME_FAILED)


def pairs(reference: Path, candidate: Path) -> list[tuple[Path, Path]]:
    """Files that belong together.

    Raises:
        UsageError: one is a file and the other a folder, or two candidates fit one reference.
        NothingMatchedError: no name occurs on both sides.
    """
    for path in (reference, candidate):
        if not path.exists():
            raise UsageError("there is no such file or folder", file=path)
    if reference.is_file() and candidate.is_file():
        return [(reference, candidate)]
    if reference.is_file() or candidate.is_file():
        raise UsageError("compare two files or two folders", file=candidate)
    originals, others = _by_name(reference), _by_name(candidate)
    both = [(originals[name], others[name]) for name in originals if name in others]
    if not both:
        raise NothingMatchedError(f"no picture in {reference} has a partner in {candidate}")
    return both


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if relative.parts[0].startswith(".") or not path.is_file():
            continue
        name = relative.with_suffix("") if path.suffix.lower() == VAE else relative
        if name.suffix.lower() not in SUFFIXES:
            continue
        name_text = name.with_suffix("").as_posix()
        if name_text in found:
            raise UsageError(f"{found[name_text].name} and {path.name} both fit", file=folder)
        found[name_text] = path
    return found


def compare(original: Path, other: Path, hub: Hub) -> Row:
    """Figures of one pair, at the depth of the files."""
    from vaetools.metrics import bpp, ms_ssim, psnr, ssim

    a, b = _load(original, hub), _load(other, hub)
    size = other.stat().st_size
    pixels = (a.pixels, b.pixels)
    enough = min(a.height, a.width) >= 176
    return Row(
        str(other),
        size,
        round(bpp(size, a.width, a.height), 4),
        round(psnr(*pixels), 3),
        round(ssim(*pixels), 5),
        round(ms_ssim(*pixels), 5) if enough else None,
    )


def _load(path: Path, hub: Hub) -> Image:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}", file=path) from None
    if path.suffix.lower() != VAE:
        return decode_image(data, file=path)
    result = hub.make("decompress").process(data)
    if not isinstance(result, Image):
        raise UsageError("decompress did not give a picture", file=path)
    return result


def table(rows: list[Row]) -> str:
    """The rows and their mean, as text."""
    width = max(len(row.file) for row in rows)
    lines = [f"{'file':{width}} {'bytes':>10} {'bpp':>8} {'PSNR':>7} {'SSIM':>8} {'MS-SSIM':>8}"]
    for row in rows:
        third = "       -" if row.ms_ssim is None else f"{row.ms_ssim:8.5f}"
        lines.append(
            f"{row.file:{width}} {row.bytes:10d} {row.bpp:8.4f} {row.psnr:7.2f} {row.ssim:8.5f} {third}"
        )
    if len(rows) > 1:
        count = len(rows)
        means = [sum(getattr(r, n) for r in rows) / count for n in ("bytes", "bpp", "psnr", "ssim")]
        lines.append(
            f"{'mean':{width}} {means[0]:10.0f} {means[1]:8.4f} {means[2]:7.2f} {means[3]:8.5f}"
        )
    return "\n".join(lines)
