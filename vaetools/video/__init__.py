"""Video: streams of frames, video files and raw frames.

stream      frames of a camera, a video or an iterable -> results in order, with bounded memory
files       video files: opened and converted with PyAV, or with OpenCV where it is missing
reading     PyAV: frames with their times, upright and progressive; colour, geometry, container
process     PyAV: a video through an operation; encoding, segments, joining, tracks
opencv      OpenCV: what it keeps of a video; capture
filter      an operation as a function from frame to frame
raw         frames without a container, as FFmpeg pipes them
"""

from vaetools.video.capture import open_capture
from vaetools.video.conversion import Conversion, Converted
from vaetools.video.encoding import QUALITY as VIDEO_QUALITY
from vaetools.video.files import check_output, open_video, writable_name
from vaetools.video.filter import frame_filter
from vaetools.video.names import VIDEO_SUFFIXES, has_pyav, is_video
from vaetools.video.process import convert
from vaetools.video.raw import RawVideo, parse_raw, pipe
from vaetools.video.stream import DEPTH, KeyedStep, Source, stream

__all__ = [
    "DEPTH",
    "VIDEO_QUALITY",
    "VIDEO_SUFFIXES",
    "Conversion",
    "Converted",
    "KeyedStep",
    "RawVideo",
    "Source",
    "check_output",
    "convert",
    "frame_filter",
    "has_pyav",
    "is_video",
    "open_capture",
    "open_video",
    "parse_raw",
    "pipe",
    "stream",
    "writable_name",
]
