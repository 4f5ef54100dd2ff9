"""Frames in, frames out: streams, video files and raw frames, on OpenCV's own readers and writers.

stream    frames of a camera, a video or an iterable -> results in order, a few on their way
video     files that can be read and written, and operations that fit between
raw       frames without a container, as FFmpeg pipes them
"""

from vaetools.video.files import VideoFile, fourcc_of, frame_filter, video_among
from vaetools.video.raw import RawVideo, parse_raw, pipe
from vaetools.video.stream import DEPTH, Source, open_capture, stream

__all__ = [
    "DEPTH",
    "RawVideo",
    "Source",
    "VideoFile",
    "fourcc_of",
    "frame_filter",
    "open_capture",
    "parse_raw",
    "pipe",
    "stream",
    "video_among",
]
