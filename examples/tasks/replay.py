"""Augment images, and reproduce the copies from their manifest: python replay.py photos/ work/"""

import sys
from pathlib import Path

import vaetools

photos, work = Path(sys.argv[1]), Path(sys.argv[2])
more, again = work / "more", work / "again"
hub = vaetools.open()
hub.map("augment", photos, out=more, n=2, manifest=True)
hub.map("replay", (), out=again, manifest=more, source=photos)
for copy in sorted(more.rglob("*.png")):
    name = copy.relative_to(more)
    same = copy.read_bytes() == (again / name).read_bytes()
    print(name, "identical" if same else "DIFFERENT")
