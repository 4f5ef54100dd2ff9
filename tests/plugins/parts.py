"""Small operations without models, for tests of chains, streams and videos."""

import time
import zlib
from dataclasses import dataclass

import numpy as np

import vaetools
from vaetools import hookimpl, option


class Negative(vaetools.ImageOperation):
    """Turn white into black."""

    name = "negative"

    def apply(self, image):
        return 1 - image


class Dust(vaetools.ImageOperation):
    """Add noise that depends on the seed and on the picture's name."""

    name = "dust"

    @dataclass(frozen=True)
    class Options:
        amount: float = option(0.1, min=0, max=1, help="how much", short="-a")
        seed: int = 0

    def apply(self, image):
        return image + self.options.amount * self.rng.standard_normal(image.shape, np.float32)


class Slow(vaetools.ImageOperation):
    """Take a while; fail at one frame."""

    name = "slow"

    @dataclass(frozen=True)
    class Options:
        seconds: float = 0.01
        bad: str = ""

    def apply(self, image):
        time.sleep(self.options.seconds)
        if self.options.bad and self.options.bad == self.key:
            raise vaetools.InputError("a bad frame")
        return image


class Pair(vaetools.Operation):
    """Give a picture and its mirror image."""

    name = "pair"

    def outputs(self, source):
        return [source.with_name(f"{source.stem}-{side}.png") for side in ("left", "right")]

    def process(self, item):
        pixels = np.ascontiguousarray(item.pixels[:, ::-1])
        return [item, vaetools.Image(pixels)]


class Halve(vaetools.Operation):
    """Leave out every second pixel."""

    name = "halve"

    def process(self, item):
        return vaetools.Image(np.ascontiguousarray(item.pixels[::2, ::2]))


class Pack(vaetools.Operation):
    """Deflate the pixels of a colour picture."""

    name = "pack"

    @dataclass(frozen=True)
    class Options:
        level: int = option(6, min=0, max=9, help="0 … 9")

    def outputs(self, source):
        return (source.with_name(source.name + ".pak"),)

    def process(self, item):
        head = np.array(item.pixels.shape, "<u4").tobytes()
        return head + zlib.compress(item.pixels.tobytes(), self.options.level)


class Unpack(vaetools.Operation):
    """Inflate what `pack` wrote."""

    name = "unpack"
    takes = "file"
    suffixes = (".pak",)

    def outputs(self, source):
        return (source.with_suffix("").with_suffix(".png"),)

    def process(self, item):
        shape = np.frombuffer(item[:12], "<u4")
        pixels = np.frombuffer(zlib.decompress(item[12:]), np.uint8)
        return vaetools.Image(pixels.reshape(shape).copy())


@hookimpl
def register_operations():
    return [Negative, Dust, Slow, Pair, Halve, Pack, Unpack]
