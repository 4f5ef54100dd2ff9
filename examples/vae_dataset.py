"""A PyTorch data set of .vae files: images stay compressed on disk until they are needed.

vaetools compress photos/ -o packed/         class folders are kept: packed/cat/1.jpg.vae
python examples/vae_dataset.py packed/
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import vaetools


class VaeFiles(Dataset):
    """(image, class) of the files below a folder; the class of a file is the name of its folder.

    Images are float32 RGB (3, H, W) in [0, 1]; `transform` is applied to them.
    """

    def __init__(
        self, folder: str | Path, transform: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> None:
        self.files = sorted(Path(folder).rglob("*.vae"))
        self.classes = sorted({file.parent.name for file in self.files})
        self.transform = transform
        self._decode = vaetools.open("cpu", threads=1).op("decompress", channel_order="rgb")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        file = self.files[index]
        rgb = self._decode(file.read_bytes())
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))).float() / 255
        if self.transform is not None:
            image = self.transform(image)
        return image, self.classes.index(file.parent.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    files = VaeFiles(args.folder)
    print(f"{len(files)} images of {len(files.classes)} classes: {', '.join(files.classes)}")
    for (image,), (label,) in DataLoader(files, num_workers=args.workers):
        print(files.classes[label], tuple(image.shape), f"mean {image.mean():.3f}")


if __name__ == "__main__":
    main()
