"""Save a latent move as JSON, and mix two images: python latent_moves.py a.png b.png out/"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

import vaetools

image, other = (np.float32(cv2.imread(path)[:, :, ::-1]) / 255 for path in sys.argv[1:3])
settings = Path(sys.argv[3]) / "move.json"
hub = vaetools.open()
model = hub.op("augment").operation.model

jitter = vaetools.LatentJitter(model, strength=0.5, levels="fine")
settings.write_text(json.dumps(vaetools.move_settings(jitter)))
copy = jitter(image, vaetools.copy_generator(seed=0, key="a", copy=1))

again = vaetools.open_move(json.loads(settings.read_text()), hub.registry)
same = np.array_equal(copy, again(image, vaetools.copy_generator(seed=0, key="a", copy=1)))
moved = 255 * np.abs(copy - image).mean()
print(f"the same copy: {same}; mean change {moved:.2f} of 255")

mixed = vaetools.LatentMix(model, alpha=0.4)(
    image, other, np.random.default_rng(0), labels=("a", "b")
)
print(json.dumps(mixed.label))
cv2.imwrite(str(settings.with_name("mixed.png")), np.round(255 * mixed.image[:, :, ::-1]))
