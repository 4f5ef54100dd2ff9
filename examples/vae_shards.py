"""A PyTorch data set of tar shards with .vae members, in the layout of WebDataset.

vaetools compress shards/ -o packed/         shards with x.jpg and x.cls: packed/*.tar has x.jpg.vae
python examples/vae_shards.py packed/
"""

import argparse
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import vaetools


class VaeShards(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Batches (images, classes) of the samples in tars; a sample has a `.vae` and a `.cls` member.

    Images are uint8 RGB (N, 3, H, W). A batch has images of one size; the last batch of each size may
    be smaller. Each worker reads shards of its own, and opens the model once.
    """

    def __init__(self, folder: str | Path, batch: int = 16) -> None:
        self.shards = sorted(Path(folder).rglob("*.tar"))
        self.batch = batch

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        mine = self.shards if worker is None else self.shards[worker.id :: worker.num_workers]
        decode = vaetools.open("cpu", threads=1).op("decompress", channel_order="rgb")
        waiting: dict[tuple[int, ...], list[tuple[torch.Tensor, int]]] = defaultdict(list)
        for shard in mine:
            for data, label in samples(shard):
                image = torch.from_numpy(np.ascontiguousarray(decode(data).transpose(2, 0, 1)))
                same = waiting[tuple(image.shape)]
                same.append((image, label))
                if len(same) == self.batch:
                    yield collated(same)
                    same.clear()
        yield from (collated(rest) for rest in waiting.values() if rest)


def samples(shard: Path) -> Iterator[tuple[bytes, int]]:
    """(bytes of the .vae member, class) of each sample; members of a sample follow each other."""
    key = ""
    found: dict[str, bytes] = {}
    with tarfile.open(shard, "r|") as tar:
        for member in tar:
            if not member.isfile():
                continue
            folder, slash, name = member.name.rpartition("/")
            stem, _, _ = name.partition(".")
            if folder + slash + stem != key:
                key, found = folder + slash + stem, {}
            file = tar.extractfile(member)
            assert file is not None
            found[Path(name).suffix.lower()] = file.read()
            if {".vae", ".cls"} <= found.keys():
                yield found.pop(".vae"), int(found.pop(".cls"))


def collated(pairs: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*pairs, strict=True)
    return torch.stack(images), torch.tensor(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    shards = VaeShards(args.folder)
    for images, labels in DataLoader(shards, batch_size=None, num_workers=args.workers):
        print(tuple(images.shape), "classes", *labels.tolist())


if __name__ == "__main__":
    main()
