"""The photo codec's networks and objective."""

from vaetools.training.networks.codec.config import CodecConfig
from vaetools.training.networks.codec.photo_codec import PhotoCodec

__all__ = ["CodecConfig", "PhotoCodec"]
