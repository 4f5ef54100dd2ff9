"""What a run may be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from vaetools.errors import OptionError
from vaetools.image import MAX_PIXELS, Strip

if TYPE_CHECKING:
    from pathlib import Path

OnExists: TypeAlias = Literal["error", "skip", "replace"]


@dataclass(frozen=True)
class RunSettings:
    """Where outputs go and how inputs are treated.

    Attributes:
        out: a folder; or a file, if exactly one file is the input, it gives one output and `out`
            has a suffix. `name/` is always a folder.
        jobs: inputs worked on at once; None is the number of usable cores.
        include, exclude: globs on the relative path, on a folder in it or on the name.
        resume: skip what the journal in `out` proves done.
        force: do everything again and overwrite what is there.
        on_exists: what to do about outputs that are there and that no run made from that input.
        dry_run: say what would be done; write nothing but the report.
        max_pixels: the largest picture, pixels.
        strict: refuse damaged pictures instead of decoding what is there.
        first_frame: take the first frame of an animation or of many pages instead of refusing.
        strip: which metadata to leave out: `none`, `exif`, `gps` or `all`.
        image_quality: of lossy picture files, 1 … 100.
        memory: bytes of decoded pictures and of results that wait; one larger picture passes alone.
        fingerprint: of the operation, its options and its model; another one means other work.
        fourcc: codec of a video file, four letters; None is the usual one of its suffix.
        shard: (i, N), from 1: only the i-th of N parts of the inputs, the same part everywhere.
        report: an HTML page to write about the run at its end; it replaces only an earlier page.

    Raises:
        OptionError: a number out of bounds.
    """

    out: str | Path
    jobs: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    resume: bool = True
    force: bool = False
    on_exists: OnExists = "error"
    dry_run: bool = False
    max_pixels: int = MAX_PIXELS
    strict: bool = True
    first_frame: bool = False
    strip: Strip = "none"
    image_quality: int = 95
    memory: int = 512 * 2**20
    fingerprint: str = ""
    fourcc: str | None = None
    shard: tuple[int, int] | None = None
    report: str | Path | None = None

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise OptionError(f"jobs={self.jobs} is not at least 1")
        if self.memory < 1:
            raise OptionError(f"memory={self.memory} is not at least 1 byte")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise OptionError(f"shard {self.shard[0]}/{self.shard[1]} is not i/N with 1 <= i <= N")
        if self.on_exists not in ("error", "skip", "replace"):
            raise OptionError(f"on_exists={self.on_exists!r} is not error, skip or replace")

    @property
    def work(self) -> str:
        """The fingerprint, with all that changes outputs here: other work is done again."""
        facts = (self.strip, self.image_quality, self.strict, self.first_frame)
        return " ".join((self.fingerprint, *(str(fact) for fact in facts)))
