"""Keep the quality inside a circle only: python roi.py portrait.png 224 100 60"""

import sys

import cv2
import numpy as np

import vaetools

bgr = cv2.imread(sys.argv[1])
x, y, radius = map(int, sys.argv[2:])
face = np.zeros(bgr.shape[:2], np.uint8)
cv2.circle(face, (x, y), radius, 255, cv2.FILLED)

hub = vaetools.open()
for what, roi in [("without", None), ("with", face)]:
    data = hub.compress(bgr, quality=75, roi=roi)
    inside = vaetools.psnr(bgr[face > 0], hub.decompress(data)[face > 0])
    print(f"{what} a mask: {len(data)} bytes, {inside:.1f} dB inside the circle")
