"""vaetools: variational autoencoders as everyday image tools.

    import vaetools

    hub = vaetools.open()
    data = hub.compress(bgr, quality=75)       # numpy array, as OpenCV has it -> bytes
    bgr = hub.decompress(data)

Importing this package is cheap: names are loaded on first use. The list of public names is
`__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
