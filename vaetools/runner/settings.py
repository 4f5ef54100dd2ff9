"""Options of a run."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from vaetools.errors import OptionError
from vaetools.image import MAX_PIXELS, TO, Strip
from vaetools.model.limits import MOST_PARALLEL
from vaetools.paths import refuse_other_url, refuse_url
from vaetools.video import VIDEO_QUALITY

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vaetools.runner.inputs import Source

OnExists: TypeAlias = Literal["error", "skip", "replace"]
Times: TypeAlias = Literal["now", "keep"]


@dataclass(frozen=True)
class RunSettings:
    """Where a run writes its outputs, and how it treats inputs.

    `hub.map` takes each of these as a keyword argument, and the command line most as a flag.

    Attributes:
        out: Output folder. If there is exactly one input with one output, a path with a suffix is
            the output file; a path that ends in `/` is always a folder. It may be the URL of a
            folder of objects, such as `s3://bucket/packed`.
        jobs: Number of inputs processed at the same time; None for the number of usable cores.
        workers: Number of worker processes that share the inputs; 0 for none, so that all are processed
            by threads of this process. `auto`: one per core on a GPU, if there are many inputs and the
            operation can be pickled; otherwise none. Videos are not sent to workers.
        include: Glob patterns; only inputs that match at least one are processed. A pattern may
            match the path relative to the input folder, a folder on this path, or the file name.
        exclude: Glob patterns of inputs to leave out, matched as `include` is.
        resume: Skip inputs that the journal lists as completed.
        journal: Folder of the journal, the lock and the list of failures; None for `out`, where they
            are hidden files. Each output folder needs a journal folder of its own.
        force: Process all inputs again and overwrite existing outputs.
        on_exists: What to do with outputs that exist and were not made from the same input by an
            earlier run: refuse the run (`error`), `skip` the input, or `replace` the output.
        times: Modification time of outputs: that of writing (`now`), or that of the input (`keep`).
        dry_run: Report what would be done; write nothing but the report. Inputs are read, but not
            decoded: damage that shows without decoding fails as in a run. A sample of them is
            processed in memory, to estimate time and size.
        prune: After the work, remove the outputs whose inputs are gone from the input folders, if the
            journal proves that a run wrote them and nobody changed them. `dry_run` lists them.
        max_pixels: Largest image in pixels (width × height).
        strict: Refuse damaged images instead of decoding what is there.
        first_frame: Use the first frame of animations and the first page of documents, instead of
            refusing them.
        strip: Metadata to remove from outputs: `none`, `exif`, `gps` or `all`.
        to: Format of the images that are written, such as `png`; `same`: that of the source.
        quality_out: Quality of lossy image files, 0–100. By default a JPEG or WebP file is written
            as its source was, and other files at 95.
        memory: Bytes of decoded images and results held in memory. A single larger image is
            processed alone.
        fourcc: Codec of an output video, four letters; None for the usual codec of its suffix.
        video_quality: Constant rate factor of an output video, 0–51; lower is better and larger.
        shard: (i, N), 1 ≤ i ≤ N: process only part i of N of the inputs. The assignment depends on
            the relative path alone, so it is the same on every machine.
        files_from: A list of the inputs, in their place: a text file with one name a line, or with
            names that each end with a NUL character; `-` for standard input.
        root: The folder that the names in `files_from` are relative to; None for the current folder.
        report: Path of an HTML report to write at the end; only an earlier report is replaced.

    Raises:
        OptionError: A value is out of range. UsageError: A path is a URL.
    """

    out: str | Path
    jobs: int | None = None
    workers: int | Literal["auto"] = "auto"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    resume: bool = True
    journal: str | Path | None = None
    force: bool = False
    on_exists: OnExists = "error"
    times: Times = "now"
    dry_run: bool = False
    prune: bool = False
    max_pixels: int = MAX_PIXELS
    strict: bool = True
    first_frame: bool = False
    strip: Strip = "none"
    to: str = "same"
    quality_out: int | None = None
    memory: int = 512 * 2**20
    fourcc: str | None = None
    video_quality: int = VIDEO_QUALITY
    shard: tuple[int, int] | None = None
    files_from: str | Path | None = None
    root: str | Path | None = None
    report: str | Path | None = None
    image_quality: int | None = None
    """Deprecated: use `quality_out`."""

    def __post_init__(self) -> None:
        refuse_other_url(self.out, "out")
        for name in ("include", "exclude"):
            object.__setattr__(self, name, _patterns(name, getattr(self, name)))
        for name in ("report", "journal", "files_from", "root"):
            if (path := getattr(self, name)) is not None:
                refuse_url(path, name)
        if self.image_quality is not None:
            warnings.warn("image_quality is deprecated: use quality_out", DeprecationWarning, 3)
            object.__setattr__(self, "quality_out", self.image_quality)
        if self.root is not None and self.files_from is None:
            raise OptionError("root has no effect without files_from", remedy="leave it out")
        self._check_numbers()
        if self.shard is not None:
            _check_shard(self.shard)
        if self.on_exists not in ("error", "skip", "replace"):
            raise OptionError(f"on_exists={self.on_exists!r} is not error, skip or replace")
        if self.times not in ("now", "keep"):
            raise OptionError(f"times={self.times!r} is not now or keep")
        if self.to not in TO:
            raise OptionError(f"to={self.to!r} is not one of {', '.join(TO)}")

    def _check_numbers(self) -> None:
        for name, unit in (("jobs", ""), ("memory", " byte")):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise OptionError(f"{name}={value!r} is not at least 1{unit}")
        if self.jobs is not None and self.jobs > MOST_PARALLEL:
            raise OptionError(f"jobs={self.jobs!r} is not 1 … {MOST_PARALLEL}")
        workers = self.workers
        if workers != "auto" and not (isinstance(workers, int) and 0 <= workers <= MOST_PARALLEL):
            raise OptionError(f"workers={workers!r} is not auto or 0 … {MOST_PARALLEL}")
        for name, most in (("quality_out", 100), ("video_quality", 51)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or not 0 <= value <= most):
                raise OptionError(f"{name}={value!r} is not 0 … {most}")


def _patterns(name: str, given: str | Iterable[str]) -> tuple[str, ...]:
    """One pattern or several. Raises `OptionError`."""
    patterns = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise OptionError(f"{name}={patterns!r} is not a pattern, or several")
    return patterns


def _check_shard(shard: tuple[int, int]) -> None:
    if len(shard) != 2 or not all(isinstance(number, int) for number in shard):
        raise OptionError(f"shard={shard!r} is not (i, N)")
    if not 1 <= shard[0] <= shard[1]:
        raise OptionError(f"shard {shard[0]}/{shard[1]} is not i/N with 1 <= i <= N")


def time_of_outputs(source: Source, times: Times) -> int | None:
    """Modification time that the outputs of an input get, in nanoseconds; None for now."""
    return source.mtime_ns if times == "keep" and source.real else None


def work_key(fingerprint: str, settings: RunSettings) -> str:
    """Identifies everything except the input that determines an output.

    Args:
        fingerprint: Of the operation, its options and its model.
        settings: Only those that change the content of outputs count.
    """
    quality = 95 if settings.quality_out is None else settings.quality_out
    relevant = (settings.strip, quality, settings.strict, settings.first_frame)
    # Without the defaults of these: journals from before there were any stay valid.
    to = () if settings.to == "same" else (settings.to,)
    video = (settings.fourcc, settings.video_quality)
    codec = () if video == (None, VIDEO_QUALITY) else video
    return " ".join((fingerprint, *map(str, relevant), *to, *map(str, codec)))
