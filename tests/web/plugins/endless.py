"""An operation that ends only when it is cancelled: no machine is too fast for a test of it."""

import time
from typing import ClassVar

import vaetools
from vaetools import hookimpl


class Endless(vaetools.ImageOperation):
    """Wait until the run is cancelled."""

    name: ClassVar = "endless"

    def apply(self, image):
        while True:
            time.sleep(0.01)  # an interrupt is raised between two calls


@hookimpl
def register_operations():
    return [Endless]
