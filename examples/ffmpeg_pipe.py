"""Apply an operation to a video that FFmpeg reads and writes: any codec, and the sound.

python examples/ffmpeg_pipe.py clip.mov clean.mp4 -c:v libx264 -crf 18
"""

import argparse
import subprocess

import cv2

import vaetools


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--op", default="denoise")
    args, codec = parser.parse_known_args()  # further options go to the FFmpeg that writes
    clip = cv2.VideoCapture(args.source)
    size = f"{clip.get(cv2.CAP_PROP_FRAME_WIDTH):.0f}x{clip.get(cv2.CAP_PROP_FRAME_HEIGHT):.0f}"
    raw = ["-f", "rawvideo", "-pix_fmt", "bgr24"]
    read = ["-i", args.source, *raw, "-"]
    write = [*raw, "-s", size, "-r", str(clip.get(cv2.CAP_PROP_FPS)), "-i", "-"]
    sound = ["-i", args.source, "-map", "0:v", "-map", "1:a?", "-c:a", "copy"]
    quiet = ["ffmpeg", "-v", "error", "-y"]
    with (
        vaetools.open() as hub,
        subprocess.Popen([*quiet, *read], stdout=subprocess.PIPE) as decoder,
        subprocess.Popen(
            [*quiet, *write, *sound, *codec, args.out], stdin=subprocess.PIPE
        ) as encoder,
    ):
        count = hub.pipe(args.op, decoder.stdout, encoder.stdin, raw=f"{size}:bgr24")
    if decoder.returncode or encoder.returncode:
        parser.exit(1, "ffmpeg failed\n")
    print(f"{count} frames")


if __name__ == "__main__":
    main()
