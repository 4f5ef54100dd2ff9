"""Train, import and use a tiny autoencoder: python own_model.py photo.png models/ out.png"""

import sys
from pathlib import Path

import cv2
import torch
from torch import nn

import vaetools
from vaetools.training.importers.module import export_module


class Tiny(nn.Module):
    """12 latents per 4 x 4 pixels."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 12, 4, stride=4)
        self.up = nn.ConvTranspose2d(12, 3, 4, stride=4)

    def encode(self, image):  # (N, 3, H, W) float32 in [0, 1] -> (N, 12, H / 4, W / 4)
        return self.down(image)

    def decode(self, latent):
        return self.up(latent)


photo, models, out = sys.argv[1:]
bgr = cv2.imread(photo)
batch = torch.from_numpy(bgr[:, :, ::-1].transpose(2, 0, 1).copy())[None] / 255

torch.manual_seed(0)
net = Tiny()
adam = torch.optim.Adam(net.parameters(), lr=0.01)
for _ in range(200):
    loss = nn.functional.mse_loss(net.decode(net.encode(batch)), batch)
    adam.zero_grad()
    loss.backward()
    adam.step()

_, parity = export_module(net, Path(models) / "tiny", license="MIT")
print("largest difference between torch and ONNX:", max(parity.values()))
back = vaetools.open(models_dirs=[models]).reconstruct(bgr, model="tiny")
cv2.imwrite(out, back)
print(f"{cv2.PSNR(bgr, back):.1f} dB")
