"""Apply an operation only to the dark parts of an image, where cameras are noisy.

python examples/masked.py night.png out.png --below 80
"""

import argparse

import cv2
import numpy as np

import vaetools


def dark_parts(bgr: np.ndarray, below: int) -> np.ndarray:
    """(H, W, 1) float32: 1 in dark parts, 0 in bright ones, with soft edges."""
    grey = cv2.GaussianBlur(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), (0, 0), 3)
    _, mask = cv2.threshold(grey, below, 1, cv2.THRESH_BINARY_INV)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    return cv2.GaussianBlur(closed.astype(np.float32), (0, 0), 2)[:, :, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("out")
    parser.add_argument("--op", default="denoise")
    parser.add_argument(
        "--below", type=int, default=80, help="grey value from which a pixel is bright"
    )
    args = parser.parse_args()
    bgr = cv2.imread(args.image)
    if bgr is None:
        parser.error(f"OpenCV cannot read {args.image}")
    with vaetools.open() as hub:
        processed = hub.op(args.op)(bgr)
    mask = dark_parts(bgr, args.below)
    cv2.imwrite(args.out, np.round(mask * processed + (1 - mask) * bgr).astype(np.uint8))


if __name__ == "__main__":
    main()
