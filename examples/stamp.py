"""The orange date that cameras stamped into pictures: OpenCV finds it, `inpaint` fills it.

python examples/stamp.py 1997.png out.png --grow 3
"""

import argparse

import cv2
import numpy as np

import vaetools

ORANGE = (8, 190, 220), (25, 255, 255)
"""From and to: hue in half degrees, saturation and value, as OpenCV has them."""

LOWEST = 0.3
"""Share of the height where cameras put it: what is orange above is left alone."""


def stamped(bgr: np.ndarray, grow: int) -> np.ndarray:
    """(H, W) bool: what is bright orange, and `grow` pixels around it, where the colour bleeds."""
    mask = cv2.inRange(cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV), *ORANGE)
    mask[: round((1 - LOWEST) * len(mask))] = 0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    return cv2.dilate(mask, disc) > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture")
    parser.add_argument("out")
    parser.add_argument("--grow", type=int, default=2, help="pixels around what is orange")
    args = parser.parse_args()
    bgr = cv2.imread(args.picture)
    if bgr is None:
        parser.error(f"{args.picture} is no picture that OpenCV can read")
    hole = stamped(bgr, args.grow)
    if not hole.any():
        parser.error(f"nothing low in {args.picture} is bright orange")
    alpha = np.where(hole, 0, 255).astype(np.uint8)
    with vaetools.open() as hub:
        filled = hub.inpaint(np.dstack([bgr, alpha]), mask="alpha")
    cv2.imwrite(args.out, filled[:, :, :3])


if __name__ == "__main__":
    main()
