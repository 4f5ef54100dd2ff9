"""vaetools: variational autoencoders as everyday image tools.

    import vaetools

    hub = vaetools.open()
    data = hub.compress(bgr, quality=75)       # numpy array, as OpenCV has it -> bytes
    bgr = hub.decompress(data)

Importing this package is cheap: names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vaetools.version import __version__

if TYPE_CHECKING:
    from vaetools.augmentation import (
        CodecSpace,
        CopyRecord,
        DictTransform,
        JitterTransformer,
        LatentJitter,
        LatentMix,
        LatentSpace,
        LatentStyle,
        TensorTransform,
        copy_file,
        copy_generator,
        latent_space,
        move_settings,
        open_move,
        read_records,
    )
    from vaetools.codec import Codec, Region, lower_outside, roi_level_drop
    from vaetools.errors import (
        BitstreamError,
        DeviceError,
        InputError,
        ModelError,
        OptionError,
        PluginError,
        UsageError,
        VaetoolsError,
    )
    from vaetools.hub import Hub
    from vaetools.hub import open_hub as open  # noqa: A004 - vaetools.open() is meant
    from vaetools.image import Image
    from vaetools.model.folder import Model
    from vaetools.model.latent import Latent, Posterior
    from vaetools.model.registry import ModelRegistry
    from vaetools.model.vae import Vae
    from vaetools.operation import ImageOperation, Operation, option
    from vaetools.operation.masks import Masks
    from vaetools.plugin.hookspecs import PLUGIN_API, hookimpl
    from vaetools.restoration import Denoiser, Inpainter, Restored

_HOME = {
    "BitstreamError": "errors",
    "Codec": "codec",
    "CodecSpace": "augmentation",
    "CopyRecord": "augmentation",
    "Denoiser": "restoration",
    "DeviceError": "errors",
    "DictTransform": "augmentation",
    "Hub": "hub",
    "Image": "image",
    "ImageOperation": "operation",
    "Inpainter": "restoration",
    "InputError": "errors",
    "JitterTransformer": "augmentation",
    "Latent": "model.latent",
    "LatentJitter": "augmentation",
    "LatentMix": "augmentation",
    "LatentSpace": "augmentation",
    "LatentStyle": "augmentation",
    "Masks": "operation.masks",
    "Model": "model.folder",
    "ModelError": "errors",
    "ModelRegistry": "model.registry",
    "Operation": "operation",
    "OptionError": "errors",
    "PLUGIN_API": "plugin.hookspecs",
    "PluginError": "errors",
    "Posterior": "model.latent",
    "Region": "codec",
    "Restored": "restoration",
    "TensorTransform": "augmentation",
    "UsageError": "errors",
    "Vae": "model.vae",
    "VaetoolsError": "errors",
    "copy_file": "augmentation",
    "copy_generator": "augmentation",
    "hookimpl": "plugin.hookspecs",
    "latent_space": "augmentation",
    "lower_outside": "codec",
    "move_settings": "augmentation",
    "open": "hub",
    "open_move": "augmentation",
    "option": "operation",
    "read_records": "augmentation",
    "roi_level_drop": "codec",
}

__all__ = [
    "PLUGIN_API",
    "BitstreamError",
    "Codec",
    "CodecSpace",
    "CopyRecord",
    "Denoiser",
    "DeviceError",
    "DictTransform",
    "Hub",
    "Image",
    "ImageOperation",
    "Inpainter",
    "InputError",
    "JitterTransformer",
    "Latent",
    "LatentJitter",
    "LatentMix",
    "LatentSpace",
    "LatentStyle",
    "Masks",
    "Model",
    "ModelError",
    "ModelRegistry",
    "Operation",
    "OptionError",
    "PluginError",
    "Posterior",
    "Region",
    "Restored",
    "TensorTransform",
    "UsageError",
    "Vae",
    "VaetoolsError",
    "__version__",
    "copy_file",
    "copy_generator",
    "hookimpl",
    "latent_space",
    "lower_outside",
    "move_settings",
    "open",
    "open_move",
    "option",
    "read_records",
    "roi_level_drop",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vaetools' has no attribute {name!r}")
    module = importlib.import_module(f"vaetools.{_HOME[name]}")
    value = getattr(module, "open_hub" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
