"""Run records: what happened to each input, and how numbers are written for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from vaetools.image import install_command, missing_extra

SCHEMA_VERSION = 1
"""Value of the key `v` in JSON records; it changes when the meaning of a key does."""

Status: TypeAlias = Literal["done", "failed", "skipped", "planned", "pruned", "obsolete", "kept"]

_MOST_KINDS = 5


@dataclass(frozen=True, slots=True)
class Record:
    """The outcome of one input.

    Attributes:
        file: Path of the input. For an operation without inputs, the name of the generated item,
            such as `generate/0001.png`.
        out: Paths of the outputs.
        op: Name of the operation; those of a chain are joined by commas.
        status: `done`, `failed` or `skipped`; `pruned` for an input that is gone and whose outputs
            were removed, `kept` if they were changed and stay. In a dry run, `planned` for an input
            that would be processed, and `obsolete` for one whose outputs would be removed.
        code: Code of the error if the input failed, such as `E013`; otherwise empty.
        message: One line that begins with the input. It gives the reason if the input failed or was
            skipped, and the notes of the operation if it is done; otherwise empty.
        bytes_in: Size of the input file in bytes; 0 for a generated item.
        bytes_out: Total size of the outputs in bytes.
        width: Width of the image in pixels, or None if there is no image.
        height: Height of the image in pixels, or None if there is no image.
        ms: Time spent on reading, processing and writing in milliseconds, without waiting.
        device: Device that the model ran on, such as `cpu` or `cuda:0`; `cuda:0, cpu` if it had too
            little memory for some parts; None without a model.
        onnxruntime: Version of ONNX Runtime, if there is a device.
        found: What the operation found out about the input, such as `{"sigma": 7.3}`.
        unchanged: Whether nothing was to be changed, so that the outputs are copies of the input.
        transient: Whether the input failed because of the machine, such as its disk or memory, and not
            because of its content: another attempt may succeed.
        not_kept: Metadata of the input that no output has, such as `IPTC (webp has no place for it)`.
        noted: Whether `message` has a note that a user should see; not part of `as_dict`.
    """

    file: str
    out: tuple[str, ...]
    op: str
    status: Status
    code: str = ""
    message: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    width: int | None = None
    height: int | None = None
    ms: float = 0.0
    device: str | None = None
    onnxruntime: str | None = None
    found: Mapping[str, Any] = field(default_factory=dict)
    unchanged: bool = False
    transient: bool = False
    not_kept: tuple[str, ...] = ()
    noted: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON values, with the schema version as `v`.

        Without `device` and `onnxruntime` if they are None, without `found` and `not_kept` if they
        are empty, and without `unchanged` and `transient` if they are false.

        File names that are not valid Unicode contain surrogates: write ASCII with escapes, which is
        the default of `json.dumps`.
        """
        values = {"v": SCHEMA_VERSION, **asdict(self)}
        del values["noted"]
        for name in ("device", "onnxruntime", "found", "unchanged", "transient", "not_kept"):
            if not values[name]:
                del values[name]
        return values


def json_value(value: Any) -> Any:
    """A value of a plugin as JSON can hold it.

    NumPy's scalars and arrays become numbers and lists, what is not finite None, and other objects
    text.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): json_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value(part) for part in value]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return json_value(value.tolist())
    return str(value)


def kinds_of_files(kinds: Mapping[str, int]) -> str:
    """Files by suffix, the most frequent first, such as `3 HEIC (pip install …), 2 PDF`."""
    named = sorted(kinds.items(), key=lambda item: (not missing_extra(item[0]), -item[1], item[0]))
    parts = []
    for suffix, count in named[:_MOST_KINDS]:
        extra = missing_extra(suffix)
        how = f" ({install_command(extra)})" if extra else ""
        parts.append(f"{count:,} {suffix[1:].upper() or 'without a suffix'}{how}")
    rest = sum(count for _, count in named[_MOST_KINDS:])
    return ", ".join([*parts, *([f"{rest:,} of other kinds"] if rest else [])])


def plural(count: int, noun: str) -> str:
    """`1 input`, `1,200 inputs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_bytes(count: int) -> str:
    """`999 B`, `71 MB`, `1.2 GB`: decimal units, at least two digits."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.1f} {unit}" if size < 9.95 and unit != "B" else f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def format_seconds(seconds: float) -> str:
    """`0.4 s`, `4:22`, `1:04:22`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
