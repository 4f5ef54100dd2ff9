"""What a run over an object store costs when all of it is done already.

    python benchmarks/object_resume.py                    # 1,000 objects; some minutes
    python benchmarks/object_resume.py --objects 200

Starts an S3 server (moto, of the extra `test`) on this machine, compresses small images from one prefix
to another, and runs the same command again. Printed are wall time and CPU time of the whole command,
start-up of Python included, and next to it those of `vaetools --version`. The server has the other
core, if there is one.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import time
import urllib.request
from typing import Any

import numpy as np
from common import circumstances

from vaetools.image import Image, encode_image

KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

SIDE = 64
"""Pixels."""


def timed(*words: str) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds and last line of a command of vaetools."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "vaetools", *words], check=True, capture_output=True, text=True
    )
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, (done.stderr or done.stdout).strip().splitlines()[-1]


def fill(client: Any, count: int) -> None:
    """A bucket with images."""
    rng = np.random.default_rng(0)
    client.create_bucket(Bucket="photos")
    for number in range(count):
        pixels = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
        data = encode_image(Image(pixels.repeat(8, axis=0).repeat(8, axis=1)), "png")
        client.put_object(Bucket="photos", Key=f"in/{number // 100}/{number:05}.png", Body=data)


def main() -> None:
    """Print a table."""
    import boto3

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=1000, metavar="N")
    parser.add_argument("--repeat", type=int, default=5, metavar="N")
    arguments = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    os.environ |= {**KEYS, "AWS_ENDPOINT_URL": url}
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                if server.poll() is not None:
                    raise SystemExit(
                        "the server did not start: pip install 'moto[server]'"
                    ) from None
                time.sleep(0.2)
        fill(boto3.client("s3", endpoint_url=url), arguments.objects)
        words = ("compress", "s3://photos/in", "-o", "s3://photos/out")
        first = timed(*words)
        rows = [("first run", *first)]
        again = [timed(*words) for _ in range(arguments.repeat)]
        rows.append(("again, fastest", *min(again)))
        rows.append(("vaetools --version", *min(timed("--version") for _ in again)))
    finally:
        server.terminate()
        server.wait()
    print("\n".join(circumstances(" ".join(["python", *sys.argv]))))
    print("\n| command | wall, s | CPU, s | last line |\n|---|---:|---:|---|")
    for name, wall, cpu, line in rows:
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {line} |")


if __name__ == "__main__":
    main()
