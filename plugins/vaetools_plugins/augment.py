"""`augment`: variants of images for a data set; `replay`: the same variants from their manifest."""

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
"""The photo codec if it is installed, otherwise any VAE."""


class Augment(vaetools.Operation):
    """Make augmented copies of each image.

    A copy is the image plus the change of its reconstruction when the latents are perturbed: nothing
    is blurred, and at strength 0 nothing changes. Folders, and so class labels, are kept.

    A copy depends only on the seed, on the path of the image and on its number.

    Examples:

        vaetools augment photos/ -o more/ -n 4 --seed 1
        vaetools augment photos/ -o more/ --strength 0.5 --manifest
    """

    name = "augment"
    summary = "Make augmented copies of images by perturbing their latents."
    task = TASKS
    result_depends_on = ("manifest", "masks", "labels")

    @dataclass(frozen=True)
    class Options:
        n: int = option(8, min=1, max=9999, short="-n", help="Number of copies of each image")
        strength: float = option(
            0.5, min=0, max=1, help="Size of the perturbation; 0 changes nothing"
        )
        levels: Literal["fine", "all"] = option(
            "fine", help="Latents to perturb: the fine ones (grain, texture), or all"
        )
        seed: int = option(0, help="Random seed")
        manifest: bool = option(False, help="Also write the provenance of each copy, *_aug.jsonl")
        tag: bool = option(
            False, help="Mark copies as generated (IPTC Digital Source Type); needs --manifest"
        )
        masks: Path | None = option(
            None,
            help="Folder with a mask for each image, of the same name: copied to OUT/masks under the "
            "names of the copies",
            metavar="DIR",
        )
        labels: Path | None = option(
            None,
            help="Folder with labels of the same names (.txt, .xml, .json), or a COCO file: written "
            "next to the copies under their names",
            metavar="DIR|FILE",
        )

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if options.tag and not options.manifest:
            raise vaetools.OptionError("tag needs manifest")
        self.wants_encoded = options.manifest  # for its sha256
        self.jitter = vaetools.LatentJitter(model, options.strength, options.levels)
        self.companions = vaetools.Companions(options.masks, options.labels)

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        """`a.jpg` gives `a_aug0001.png` …, with `manifest` `a_aug.jsonl`, with `masks`
        `masks/a_aug0001.png` …, and with `labels` `a_aug0001.txt` …"""
        numbers = range(1, self.options.n + 1)
        copies = [source.with_name(f"{source.stem}_aug{number:04}.png") for number in numbers]
        names = list(copies)
        if self.options.manifest:
            names.append(source.with_name(f"{source.stem}_aug.jsonl"))
        return [*names, *self.companions.names(source, copies)]

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        for name in ("masks", "labels"):  # each image has files of its own
            if facts.pop(name) is not None:
                facts[name] = True
        return facts

    def files_of(self, key: str, source: Path | None = None) -> Sequence[Path]:  # noqa: ARG002
        """Its mask and its labels."""
        return self.companions.files(key)

    @property
    def apart(self) -> Sequence[Path]:
        """A folder of masks inside the folder of images."""
        return [*super().apart, *([self.options.masks] if self.options.masks else [])]

    @property
    def fixed_formats(self) -> Sequence[str]:
        """Masks are copied. Copies with a manifest are PNG files that can be recreated exactly."""
        return ("masks/*", "*.png") if self.options.manifest else ("masks/*",)

    def process(
        self, item: vaetools.Image
    ) -> list[vaetools.Image] | list[bytes] | list[vaetools.Image | bytes]:
        copies = self._copies(item)
        if not (self.options.masks or self.options.labels):
            return copies
        if not self.key:
            raise vaetools.OptionError("masks and labels are found by the name of a file")
        if not self.companions.has_labels(self.key):
            self.note(f"there are no labels for it in {self.options.labels}")
        return [*copies, *self.companions.made(self.key, item, self.output_names[: self.options.n])]

    def _copies(self, item: vaetools.Image) -> list[vaetools.Image] | list[bytes]:
        """The copies, and the manifest if it is wanted."""
        numbers = range(1, self.options.n + 1)
        rngs = (vaetools.copy_generator(self.options.seed, self.key, number) for number in numbers)
        copies = [*self.jitter.copies_of(item, rngs)]
        if not self.options.manifest:
            return copies
        if item.encoded is None:
            raise vaetools.InputError(
                "a manifest needs the SHA-256 of a whole file",
                remedy="use --manifest on files, without --strip and --lenient",
            )
        self.lose(*item.metadata.notes)
        records = self._records(hashlib.sha256(item.encoded).hexdigest())
        pairs = [vaetools.copy_file(*both) for both in zip(copies, records, strict=True)]
        lines = "".join(record.line for _, record in pairs)
        return [*(data for data, _ in pairs), lines.encode()]

    def _records(self, source_sha256: str) -> list[vaetools.CopyRecord]:
        """The record of each copy, without the SHA-256 of its file."""
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
    """Recreate the copies listed in a manifest, byte for byte.

    Examples:

        vaetools replay --manifest more/ --source photos/ -o again/
    """

    name = "replay"
    summary = "Recreate the copies listed in a manifest of augment, byte for byte."
    task = TASKS
    takes = "nothing"

    @dataclass(frozen=True)
    class Options:
        manifest: Path | None = option(
            None, help="A manifest, or a folder with *_aug.jsonl files", metavar="FILE|DIR"
        )
        source: Path | None = option(None, help="Folder of the original images", metavar="DIR")

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if options.manifest is None or options.source is None:
            raise vaetools.OptionError("replay needs both manifest and source")
        records = dict.fromkeys(vaetools.read_records(options.manifest))
        self.records = {PurePosixPath(record.output): record for record in records}
        if len(self.records) < len(records):
            raise vaetools.OptionError(
                f"manifest {options.manifest}: different copies have the same name",
                remedy="replay manifests of different runs into separate folders",
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
                remedy="choose that one with --model",
            )
        source = self._source(record)
        jitter = vaetools.LatentJitter(self.space, record.strength, record.levels)
        rng = vaetools.copy_generator(record.seed, record.source, record.copy)
        copy = next(jitter.copies_of(source, [rng]))
        data, found = vaetools.copy_file(copy, record)
        if found != record:
            raise vaetools.InputError(
                "has another SHA-256 than the manifest says",
                remedy="devices and versions of the libraries may differ in the last bit",
            )
        return data

    def _source(self, record: vaetools.CopyRecord) -> vaetools.Image:
        """The original image of a record. Raises `InputError` if it is another one or cannot be read."""
        path = self.options.source / record.source
        # Of a file with several frames, copies were made of the first one: no others can be made.
        image = self.read_image(path, keep_encoded=True, first_frame=True)
        assert image.encoded is not None  # requested
        if hashlib.sha256(image.encoded).hexdigest() != record.source_sha256:
            raise vaetools.InputError("is not the image that the copies were made of", file=path)
        return image


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Augment, Replay]
