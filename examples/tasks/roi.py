"""Keep the quality inside a circle only: python roi.py portrait.png mask.png 224 100 60"""

import sys

import cv2
import numpy as np

import vaetools

photo, mask = sys.argv[1:3]
x, y, radius = map(int, sys.argv[3:])
bgr = cv2.imread(photo)
face = np.zeros(bgr.shape[:2], np.uint8)
cv2.circle(face, (x, y), radius, 255, cv2.FILLED)
cv2.imwrite(mask, face)

hub = vaetools.open()
for what, options in [("without", {}), ("with", {"roi": mask})]:
    data = hub.compress(bgr, quality=75, **options)
    inside = cv2.PSNR(bgr[face > 0], hub.decompress(data)[face > 0])
    print(f"{what} a mask: {len(data)} bytes, {inside:.1f} dB inside the circle")
