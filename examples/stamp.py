"""Remove the orange date that cameras print into images: OpenCV finds it, `inpaint` fills it.

python examples/stamp.py 1997.png out.png --grow 3
"""

import argparse

import cv2
import numpy as np

import vaetools

ORANGE = (8, 190, 220), (25, 255, 255)
"""Lower and upper bound: hue in half degrees, saturation, value, as in OpenCV."""

LOWEST = 0.3
"""Lowest part of the image where cameras print it: orange pixels above are ignored."""


def stamped(bgr: np.ndarray, grow: int) -> np.ndarray:
    """(H, W) bool: bright orange pixels, and `grow` pixels around them, where the colour bleeds."""
    mask = cv2.inRange(cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV), *ORANGE)
    mask[: round((1 - LOWEST) * len(mask))] = 0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    return cv2.dilate(mask, disc) > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("out")
    parser.add_argument("--grow", type=int, default=2, help="pixels around the orange ones")
    args = parser.parse_args()
    bgr = cv2.imread(args.image)
    if bgr is None:
        parser.error(f"OpenCV cannot read {args.image}")
    hole = stamped(bgr, args.grow)
    if not hole.any():
        parser.error(f"no bright orange in the lower part of {args.image}")
    with vaetools.open() as hub:
        cv2.imwrite(args.out, hub.inpaint(bgr, hole))


if __name__ == "__main__":
    main()
