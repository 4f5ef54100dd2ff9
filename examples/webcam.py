"""Show a camera or a video through an operation; press q to quit.

python examples/webcam.py                    first camera, denoised
python examples/webcam.py clip.mp4 --op reconstruct --model small-photos
"""

import argparse

import cv2

import vaetools


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "source", nargs="?", default="0", help="number of a camera, or a video file"
    )
    parser.add_argument("--op", default="denoise", help="an operation, or a chain: a,b")
    parser.add_argument("--model", help="its model, if several fit")
    args = parser.parse_args()
    source = int(args.source) if args.source.isdigit() else args.source
    options = {"model": args.model} if args.model else {}
    with vaetools.open() as hub:
        for frame in hub.stream(args.op, source, depth=2, **options):  # at most two frames late
            cv2.imshow("press q to quit", frame)
            if cv2.waitKey(1) == ord("q"):
                break


if __name__ == "__main__":
    main()
