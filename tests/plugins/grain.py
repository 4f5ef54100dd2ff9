"""The plugin that DESIGN.md promises in forty lines; `tests/plugin/test_grain.py` runs it."""

from dataclasses import dataclass

import vaetools
from vaetools import hookimpl, option


class Grain(vaetools.ImageOperation):
    """Vary an image inside its own posterior."""

    name = "grain"
    task = "reconstruct"

    @dataclass(frozen=True)
    class Options:
        amount: float = option(0.5, min=0, max=2, help="posterior standard deviations")
        seed: int = 0

    def apply(self, image):  # float32 RGB (H, W, 3) in [0, 1]
        posterior = self.model.encode(image)
        return self.model.decode(posterior.sample(self.rng, temperature=self.options.amount))


@hookimpl
def register_operations():
    return [Grain]
