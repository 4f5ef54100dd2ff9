"""The photo codec's networks and objective."""

from vaetools.training.codec.config import CodecConfig
from vaetools.training.codec.photo_codec import PhotoCodec

__all__ = ["CodecConfig", "PhotoCodec"]
