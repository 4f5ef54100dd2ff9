"""`vaetools info FILE…`: format, size and contents of a file, from its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import warn
from vaetools.cli.flags import DEBUG, JSON
from vaetools.errors import EXIT_SOME_FAILED, LibraryError, VaetoolsError, printable
from vaetools.image import MAX_PIXELS, most_bytes, read_file

if TYPE_CHECKING:
    from vaetools.image import Metadata


@click.command("info")
@click.argument("files", nargs=-1, required=True, type=LocalPath(path_type=Path))
@JSON
@DEBUG
@click.pass_context
def command(ctx: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Show file information without decoding pixels.

    \b
    Examples:
      vaetools info photo.jpg
      vaetools info packed/photo.jpg.vae --json
    """
    failed = False
    for path in files:
        try:
            facts = describe(path)
        except LibraryError:
            raise  # no other file would fare better
        except VaetoolsError as error:
            failed = True
            warn(error.about(path))
            continue
        if as_json:
            click.echo(json.dumps({"file": str(path), **facts}))
        else:
            click.echo(printable(str(path)))
            for name, value in facts.items():
                click.echo(f"  {name.replace('_', ' '):12} {value}")
    if failed:
        ctx.exit(EXIT_SOME_FAILED)


def describe(path: Path) -> dict[str, Any]:
    """Facts about a `.vae` file or an image. Raises `VaetoolsError`."""
    from vaetools.codec.container import MAGIC

    data = read_file(path, check_head=_check_head, most=most_bytes(MAX_PIXELS))
    return _describe_vae(data) if data.startswith(MAGIC) else _describe_image(data, path)


def _check_head(head: bytes) -> None:
    """Raise `NotAnImageError` unless it is a `.vae` file or an image."""
    from vaetools.codec.container import MAGIC
    from vaetools.image.containers import sniff

    if head and not head.startswith(MAGIC):
        sniff(head)


def _describe_vae(data: bytes) -> dict[str, Any]:
    from vaetools.codec.container import SectionKind, unpack

    container = unpack(data, max_pixels=2**62)  # every checksum is verified, nothing is decoded
    sizes: dict[str, int] = {}
    for section in container.sections:
        name = section.kind.name.lower()
        sizes[name] = sizes.get(name, 0) + len(section.data)
    pixels = container.width * container.height
    return {
        "format": f"vae {data[4]}, a stored file" if container.stored else f"vae {data[4]}",
        "size": f"{container.width} x {container.height}",
        "channels": "grey" if container.grey else "colour",
        "depth": container.depth,
        "model": f"{container.model_id} ({container.stream_id})",
        "rate_index": container.level,
        "tiles": len(container.all(SectionKind.COARSE)),
        "bytes": len(data),
        "bpp": round(len(data) * 8 / pixels, 4),
        "sections": ", ".join(f"{name} {size}" for name, size in sizes.items()),
    }


def _describe_image(data: bytes, path: Path) -> dict[str, Any]:
    from vaetools.image import inspect_image

    head = inspect_image(data, file=path)
    return {
        "format": head.format,
        "size": f"{head.width} x {head.height}",
        "mode": head.mode,
        "frames": head.frames,
        "bytes": len(data),
        "bpp": round(len(data) * 8 / (head.width * head.height), 4),
        **_describe_metadata(head.metadata),
    }


def _describe_metadata(metadata: Metadata) -> dict[str, Any]:
    """What there is beside the pixels; what is rarely there is only named where it is."""
    sizes = {name: getattr(metadata, name) for name in ("icc", "exif", "xmp", "iptc")}
    facts = {name: f"{len(block)} bytes" if block else "none" for name, block in sizes.items()}
    if metadata.cicp is not None:
        facts["cicp"] = "/".join(str(int(value)) for value in metadata.cicp)
    if metadata.density is not None and metadata.density.absolute:
        facts["dpi"] = f"{metadata.density.x:g} x {metadata.density.y:g}"
    if metadata.notes:
        facts["also"] = ", ".join(metadata.notes)
    return facts
