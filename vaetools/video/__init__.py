"""Video: streams of frames, video files and raw frames.

stream    frames of a camera, a video or an iterable -> results in order, with bounded memory
files     video files: VideoReader gives frames, VideoWriter takes frames
filter    an operation as a function from frame to frame
raw       frames without a container, as FFmpeg pipes them
"""

from vaetools.video.files import VideoReader, VideoWriter, fourcc_of, note_on_sound, video_among
from vaetools.video.filter import frame_filter
from vaetools.video.raw import RawVideo, parse_raw, pipe
from vaetools.video.stream import DEPTH, KeyedStep, Source, open_capture, stream

__all__ = [
    "DEPTH",
    "KeyedStep",
    "RawVideo",
    "Source",
    "VideoReader",
    "VideoWriter",
    "fourcc_of",
    "frame_filter",
    "note_on_sound",
    "open_capture",
    "parse_raw",
    "pipe",
    "stream",
    "video_among",
]
