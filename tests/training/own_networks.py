"""Networks as a user might bring them; the command line imports this file by its path."""

from __future__ import annotations

import threading

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Photo(nn.Module):
    """A convolutional VAE for colour pictures of any size: a latent for 4 x 4 pixels."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1)
        )
        self.heads = nn.Conv2d(8, 10, 1)
        self.up = nn.Sequential(
            nn.Conv2d(5, 8, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(8, channels, 3, padding=1),
        )

    def encode(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.heads(self.down(image)).chunk(2, dim=1)

    def decode(self, latent: Tensor) -> Tensor:
        return self.up(latent)


class Centred(Photo):
    """Computes with an operator that is called as an output of the graph is: `mean`."""

    def encode(self, image: Tensor) -> tuple[Tensor, ...]:
        features = self.heads(self.down(image))
        return (features - features.mean(dim=1, keepdim=True)).chunk(2, dim=1)


class Grey(nn.Module):
    """A Bernoulli VAE for grey pictures of 12 x 20 pixels, with a vector as latent."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Linear(240, 6)
        self.pixels = nn.Linear(3, 240)

    def encode(self, image: Tensor) -> list[Tensor]:
        return [*self.heads(image.flatten(1)).chunk(2, dim=1)]

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.pixels(latent).reshape(-1, 1, 12, 20)
        return torch.sigmoid(logits), logits


def grey() -> Grey:
    torch.manual_seed(0)
    return Grey()


class Windows(Photo):
    """Takes multiples of 16 only, though a latent stands for 4 x 4 pixels."""

    def encode(self, image: Tensor) -> Tensor:
        inside = F.pixel_shuffle(F.pixel_unshuffle(image, 16), 16)
        return super().encode(inside)[0]


class Rows(Photo):
    """Knows how far down it is."""

    def decode(self, latent: Tensor) -> Tensor:
        rows = torch.linspace(0, 1, latent.shape[2])[:, None]
        return self.up(latent + rows)


class Average(Photo):
    """Takes the mean off the picture, with no layer that would tell."""

    def encode(self, image: Tensor) -> tuple[Tensor, ...]:
        return super().encode(image - image.mean(dim=(2, 3), keepdim=True))


class Normalised(Photo):
    def __init__(self) -> None:
        super().__init__()
        self.up.insert(1, nn.GroupNorm(2, 8))


class Flat(Photo):
    """Gives latents that have no place, for pictures of any size."""

    def encode(self, image: Tensor) -> Tensor:
        return image.mean(dim=(2, 3))


class Smaller(Photo):
    """Gives back pictures that are too small."""

    def decode(self, latent: Tensor) -> Tensor:
        return self.up[:-2](latent)


class Dead(Photo):
    """Has lost a weight to NaN."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.heads.weight[3, 0] = torch.nan


def broken() -> None:
    raise RuntimeError("no data here")


NOTHING = "a string"


class Branches(Photo):
    """Decides by what it sees."""

    def decode(self, latent: Tensor) -> Tensor:
        return self.up(latent if latent.sum() > 0 else -latent)


class Locked(Photo):
    """Holds what cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
