"""JPEG files as quantised DCT coefficients, so that blocks which did not change stay as they are.

    structure    markers -> frame, tables, scans
    decoding     entropy-coded data -> coefficients: sequential, progressive (scans: both)
    patch        coefficients of the blocks that changed, from new pixels
    splicing     those between the bits of the source, where its tables have codes for them
    encoding     coefficients -> entropy-coded data

In NumPy: the libraries that give access to coefficients work through temporary files, print to
stderr, or exist for some platforms only.

Reference: ITU-T T.81 (JPEG).
"""

from vaetools.image.jpeg.patch import colour_marker, patched
from vaetools.image.jpeg.structure import NotCoveredError, first_image, read_structure

__all__ = ["NotCoveredError", "colour_marker", "first_image", "patched", "read_structure"]
