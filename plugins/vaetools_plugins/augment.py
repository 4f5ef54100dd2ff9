"""`augment`: further pictures for a data set; `replay`: the same ones again, from their manifest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import vaetools
from vaetools import hookimpl, option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

TASKS = ("compress", "reconstruct")
"""The photo codec where it is there, else any VAE."""


class Augment(vaetools.Operation):
    """Make further pictures out of each one, for a data set.

    A copy is the picture itself plus what changes when its latents move: nothing is blurred, and at
    strength 0 nothing changes. Folders stay as they are, so that classes do.

    A copy depends on the seed, on the path of its picture and on its number, and on nothing else.
    """

    name = "augment"
    summary = "Make further pictures out of each one, by moving it in a model's latent space."
    task = TASKS
    result_depends_on = ("manifest",)

    @dataclass(frozen=True)
    class Options:
        n: int = option(8, min=1, max=9999, short="-n", help="copies of each picture")
        strength: float = option(0.5, min=0, max=1, help="how far latents move; 0 not at all")
        levels: Literal["fine", "all"] = option(
            "fine", help="latents that move: the fine ones (grain, texture), or all"
        )
        seed: int = option(0, help="another seed, other copies")
        manifest: bool = option(
            False, help="write beside the copies what each was made of, and how: *_aug.jsonl"
        )
        tag: bool = option(
            False, help="mark copies as made by a model (IPTC Digital Source Type); with --manifest"
        )

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if options.tag and not options.manifest:
            raise vaetools.OptionError("tag goes with manifest only")
        self.wants_encoded = options.manifest  # for its sha256
        self.jitter = vaetools.LatentJitter(model, options.strength, options.levels)

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        """`a.jpg` gives `a_aug0001.png` … and with `manifest` `a_aug.jsonl`."""
        numbers = range(1, self.options.n + 1)
        names = [source.with_name(f"{source.stem}_aug{number:04}.png") for number in numbers]
        if self.options.manifest:
            names.append(source.with_name(f"{source.stem}_aug.jsonl"))
        return names

    def process(self, item: vaetools.Image) -> list[vaetools.Image] | list[bytes]:
        numbers = range(1, self.options.n + 1)
        rngs = (vaetools.copy_generator(self.options.seed, self.key, number) for number in numbers)
        copies = [item.with_rgb(rgb) for rgb in self.jitter.copies(item.to_rgb(), rngs)]
        if not self.options.manifest:
            return copies
        if item.encoded is None:
            raise vaetools.InputError(
                "there is no whole file whose sha256 a manifest could hold",
                remedy="use --manifest on files, without --strip and --lenient",
            )
        records = self._records(hashlib.sha256(item.encoded).hexdigest())
        pairs = [vaetools.copy_file(*both) for both in zip(copies, records, strict=True)]
        lines = "".join(record.line for _, record in pairs)
        return [*(data for data, _ in pairs), lines.encode()]

    def _records(self, source_sha256: str) -> list[vaetools.CopyRecord]:
        """What is known of every copy before it is a file."""
        source, options, manifest = PurePosixPath(self.key), self.options, self.model.manifest
        return [
            vaetools.CopyRecord(
                output=str(output),
                source=str(source),
                source_sha256=source_sha256,
                label=source.parent.name or None,
                operation=self.name,
                strength=options.strength,
                levels=options.levels,
                seed=options.seed,
                copy=number,
                model=manifest.id,
                model_sha256=manifest.fingerprint,
                tagged=options.tag,
            )
            for number, output in enumerate(self.outputs(source)[: options.n], 1)
        ]


class Replay(vaetools.Operation):
    """Make the copies of a manifest again, byte for byte."""

    name = "replay"
    summary = "Make the copies that a manifest of augment lists again, byte for byte."
    task = TASKS
    takes = "nothing"

    @dataclass(frozen=True)
    class Options:
        manifest: Path | None = option(
            None, help="a manifest, or a folder with *_aug.jsonl files", metavar="FILE|DIR"
        )
        source: Path | None = option(
            None, help="the folder of the pictures that copies were made of", metavar="DIR"
        )

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if options.manifest is None or options.source is None:
            raise vaetools.OptionError("replay needs both manifest and source")
        records = dict.fromkeys(vaetools.read_records(options.manifest))
        self.records = {PurePosixPath(record.output): record for record in records}
        if len(self.records) < len(records):
            raise vaetools.OptionError(
                f"manifest {options.manifest}: different copies have one name",
                remedy="replay manifests of different runs into folders of their own",
            )
        self.space = vaetools.latent_space(model)

    def facts(self) -> dict[str, Any]:
        lines = "".join(record.line for record in self.records.values())
        return {"records": hashlib.sha256(lines.encode()).hexdigest()}

    def items(self) -> Sequence[PurePath]:
        return list(self.records)

    def process(self, item: PurePath) -> bytes:
        record = self.records[PurePosixPath(item)]
        manifest = self.model.manifest
        if record.model_sha256 != manifest.fingerprint:
            raise vaetools.InputError(
                f"was made with the model {record.model} ({record.model_sha256[:16]}), not with "
                f"{manifest.id} ({manifest.fingerprint[:16]})",
                remedy="name the right one with --model",
            )
        picture = self._source(record)
        jitter = vaetools.LatentJitter(self.space, record.strength, record.levels)
        rng = vaetools.copy_generator(record.seed, record.source, record.copy)
        copy = picture.with_rgb(jitter(picture.to_rgb(), rng))
        data, found = vaetools.copy_file(copy, record)
        if found != record:
            raise vaetools.InputError(
                "comes out with another sha256 than the manifest says",
                remedy="devices and versions of the libraries may differ in the last bit",
            )
        return data

    def _source(self, record: vaetools.CopyRecord) -> vaetools.Image:
        """The picture of a record. Raises `InputError` if it is another one, or cannot be read."""
        path = self.options.source / record.source
        image = self.read_image(path, keep_encoded=True)
        assert image.encoded is not None  # asked for
        if hashlib.sha256(image.encoded).hexdigest() != record.source_sha256:
            raise vaetools.InputError("is not the picture that the copies were made of", file=path)
        return image


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Augment, Replay]
