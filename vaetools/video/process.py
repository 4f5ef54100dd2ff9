"""One video through an operation, into a complete file that is not yet under its final name."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING, Any

from vaetools.errors import DamagedImageError, OutputError
from vaetools.video.colour import Converter
from vaetools.video.container import damaged, scan
from vaetools.video.conversion import Conversion, Converted
from vaetools.video.encoding import choose
from vaetools.video.joining import check_tracks, join
from vaetools.video.names import has_pyav
from vaetools.video.opencv import SOUND_NOTE, OpenCVReader, OpenCVWriter, has_sound
from vaetools.video.reading import VideoReader
from vaetools.video.segments import SegmentEncoder, SegmentFolder
from vaetools.video.stream import depth_for, stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np

    from vaetools.video.conversion import Position
    from vaetools.video.encoding import Encoding


def convert(task: Conversion, position: Position) -> Converted:
    """Process all frames and write the file. Segments of an earlier, interrupted run are used.

    Args:
        task: What to do.
        position: Is informed of frames.

    Raises:
        InputError: The video cannot be read; `OutputError`: it cannot be written, or not like this.
        Exception: Whatever the operation raises for a frame.
    """
    return _with_pyav(task, position) if has_pyav() else _with_opencv(task, position)


def _with_opencv(task: Conversion, position: Position) -> Converted:
    """Without segments, from the first frame on."""
    part = _part(task)
    with OpenCVReader(
        task.source, max_pixels=task.max_pixels, strict=task.strict, to_file=True
    ) as reader:
        size = (reader.width, reader.height)
        with OpenCVWriter(part, task.fourcc, fps=reader.fps, size=size) as writer:
            position.start(reader.frames)
            depth = depth_for(task.threads)
            for frame in stream(task.step, reader, depth=depth, threads=task.threads):
                writer.write(frame)
                position.advance()
            position.end()
            writer.finish()
    notes = (SOUND_NOTE,) if has_sound(task.source) else ()
    return Converted(part, *size, notes)


def _part(task: Conversion) -> Path:
    """A new, empty file for the output. Raises `OSError`."""
    part = task.folder / f"out{task.out.suffix.lower()}"
    part.unlink(missing_ok=True)
    part.touch(exist_ok=False)
    return part


def _with_pyav(task: Conversion, position: Position) -> Converted:
    import av

    total, damage = scan(task.source, strict=task.strict)
    with VideoReader(task.source, max_pixels=task.max_pixels, strict=task.strict) as reader:
        info = reader.info
        encoding = choose(task.out.suffix, task.fourcc, task.quality, info)
        check_tracks(task.source, encoding, strip=task.strip)
        store = SegmentFolder(task.folder, _work(task))
        position.start(total)
        for _ in range(store.frames):
            position.advance()
        try:
            encoder = SegmentEncoder(store, encoding, info)
            converter = Converter(encoding.colours)
            frames = _write_frames(task, reader, encoder, converter, store, position)
            position.end()
            missing = _missing(task, reader.packets, total)
            if frames == 0:
                raise DamagedImageError("the video has no frames", file=task.source)
            part = _part(task)
            notes = join(
                store,
                part,
                encoding,
                info,
                source=task.source,
                strip=task.strip,
                strict=task.strict,
            )
        except (av.FFmpegError, OSError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            raise OutputError(f"cannot be written: {problem}", file=task.out) from error
    lost = _side_data_not_kept(reader, encoding)
    lines = _without_repeats(damage, missing, (*reader.notes, *lost, *encoding.notes, *notes))
    return Converted(part, info.width, info.height, lines)


def _without_repeats(damage: str, missing: str, notes: Sequence[str]) -> tuple[str, ...]:
    """All notes, damage first. What the first pass found is seen again by the others."""
    found = [f"damaged: {problem}" for problem in (damage, missing) if problem][:1]
    others = [note for note in notes if not (damage and note.startswith("damaged: "))]
    return tuple(dict.fromkeys([*found, *others]))


def _side_data_not_kept(reader: VideoReader, encoding: Encoding) -> list[str]:
    """At most one line. Matroska keeps how two images are arranged as metadata of the stream."""
    is_kept = encoding.muxer in ("matroska", "webm") and "stereo_mode" in reader.stream.metadata
    lost = [name for name in reader.side_data if not (is_kept and name == "stereo 3D")]
    return [f"not kept: {', '.join(lost)}"] if lost else []


def _missing(task: Conversion, found: int, total: int) -> str:
    """What is missing of the packets that were counted before. Raises `DamagedImageError`."""
    if found >= total:
        return ""
    problem = f"only {found} of {total} frames could be read again"
    if task.strict:
        raise damaged(problem, task.source)
    return problem


def _write_frames(
    task: Conversion,
    reader: VideoReader,
    encoder: SegmentEncoder,
    converter: Converter,
    store: SegmentFolder,
    position: Position,
) -> int:
    """Encode the results of all frames that are not in segments yet; return the number of frames."""
    times: deque[tuple[int, int]] = deque()
    first = store.frames

    def pixels() -> Iterator[np.ndarray]:
        for frame in reader.read(skip=first):
            times.append((frame.pts, frame.duration))
            yield frame.pixels

    results = stream(
        task.step, pixels(), depth=depth_for(task.threads), threads=task.threads, first=first
    )
    count = first
    try:
        for result in results:
            frame: Any = converter.to_frame(result, encoder.pix_fmt)
            encoder.write(frame, *times.popleft())
            count += 1
            position.advance()
    except BaseException:
        results.close()
        encoder.interrupt()
        raise
    encoder.finish()
    return count


def _work(task: Conversion) -> str:
    """Identifies everything that determines the segments: libraries and options included."""
    import av

    facts = (task.work, task.out.suffix, task.fourcc, task.quality, task.strict, av.__version__)
    return hashlib.sha256(repr(facts).encode()).hexdigest()
