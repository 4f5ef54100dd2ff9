"""Data augmentation: copies of images that are moved in the latent space of a VAE."""

from vaetools.augmentation.arrays import DictTransform, TensorTransform
from vaetools.augmentation.companions import Companions
from vaetools.augmentation.estimator import JitterTransformer
from vaetools.augmentation.latent import (
    LatentJitter,
    LatentMix,
    LatentStyle,
    Mixed,
    copy_generator,
)
from vaetools.augmentation.provenance import CopyRecord, copy_file, read_records
from vaetools.augmentation.settings import move_settings, open_move
from vaetools.augmentation.space import Code, CodecSpace, LatentSpace, VaeSpace, latent_space

__all__ = [
    "Code",
    "CodecSpace",
    "Companions",
    "CopyRecord",
    "DictTransform",
    "JitterTransformer",
    "LatentJitter",
    "LatentMix",
    "LatentSpace",
    "LatentStyle",
    "Mixed",
    "TensorTransform",
    "VaeSpace",
    "copy_file",
    "copy_generator",
    "latent_space",
    "move_settings",
    "open_move",
    "read_records",
]
