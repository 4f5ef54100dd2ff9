"""Pass a video through the codec frame by frame: python stream.py photo.png clip.avi"""

import sys

import cv2

import vaetools

photo, clip = cv2.imread(sys.argv[1]), sys.argv[2]
writer = cv2.VideoWriter(clip, cv2.VideoWriter.fourcc(*"FFV1"), 25, (128, 128))
for x in range(0, 32, 8):  # the camera pans
    writer.write(photo[:128, x : x + 128])
writer.release()

hub = vaetools.open()
codec = hub.chain(hub.op("compress", quality=30), hub.op("decompress"))
capture = cv2.VideoCapture(clip)
for number, frame in enumerate(hub.stream(codec, capture)):
    psnr = cv2.PSNR(frame, photo[:128, 8 * number : 8 * number + 128])
    print(f"frame {number}: {psnr:.1f} dB")
capture.release()
