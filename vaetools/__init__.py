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

if TYPE_CHECKING:
    from vaetools.codec import Codec, Region, lower_outside
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
    from vaetools.hookspecs import PLUGIN_API, hookimpl
    from vaetools.hub import Hub
    from vaetools.hub import open_hub as open  # noqa: A004 - vaetools.open() is meant
    from vaetools.image import Image
    from vaetools.masks import Masks
    from vaetools.operation import ImageOperation, Operation, option
    from vaetools.registry import ModelRegistry
    from vaetools.restoration import Denoised, Denoiser
    from vaetools.vae import Latent, Model, Posterior, Vae

__version__ = "0.1.0"

_HOME = {
    "BitstreamError": "errors",
    "Codec": "codec",
    "Denoised": "restoration",
    "Denoiser": "restoration",
    "DeviceError": "errors",
    "Hub": "hub",
    "Image": "image",
    "ImageOperation": "operation",
    "InputError": "errors",
    "Latent": "vae",
    "Masks": "masks",
    "Model": "vae",
    "ModelError": "errors",
    "ModelRegistry": "registry",
    "Operation": "operation",
    "OptionError": "errors",
    "PLUGIN_API": "hookspecs",
    "PluginError": "errors",
    "Posterior": "vae",
    "Region": "codec",
    "UsageError": "errors",
    "Vae": "vae",
    "VaetoolsError": "errors",
    "hookimpl": "hookspecs",
    "lower_outside": "codec",
    "open": "hub",
    "option": "operation",
}

__all__ = [
    "PLUGIN_API",
    "BitstreamError",
    "Codec",
    "Denoised",
    "Denoiser",
    "DeviceError",
    "Hub",
    "Image",
    "ImageOperation",
    "InputError",
    "Latent",
    "Masks",
    "Model",
    "ModelError",
    "ModelRegistry",
    "Operation",
    "OptionError",
    "PluginError",
    "Posterior",
    "Region",
    "UsageError",
    "Vae",
    "VaetoolsError",
    "__version__",
    "hookimpl",
    "lower_outside",
    "open",
    "option",
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
