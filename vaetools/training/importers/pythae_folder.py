"""A folder that pythae saved: `model_config.json` and `model.pt`, default networks only.

    encoder   flatten ─ 512 ─ ReLU ─ embedding[, log_var]
    decoder   512 ─ ReLU ─ pixels ─ sigmoid

pythae keeps networks of the user's own as pickled Python (`encoder.pkl`, `decoder.pkl`); those are
refused. Chadebec, Vincent & Allassonnière, "Pythae", 2022, github.com/clementchadebec/benchmark_VAE.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError
from vaetools.model.spec import LikelihoodSpec
from vaetools.training.export.measure import plan_model
from vaetools.training.export.network import Network
from vaetools.training.importers.json_config import MAX_SIZE, read_json
from vaetools.training.importers.weights import expecting, fill, read_weights, without_memory
from vaetools.training.networks.modules import ModuleList

if TYPE_CHECKING:
    from vaetools.training.export.model_plan import ModelPlan

POINT = {"AEConfig", "RAE_GP_Config", "RAE_L2_Config", "WAE_MMD_Config"}
"""Models whose encoder has no variance."""

LIKELIHOOD = {
    "BetaTCVAEConfig",
    "BetaVAEConfig",
    "CIWAEConfig",
    "DisentangledBetaVAEConfig",
    "FactorVAEConfig",
    "INFOVAE_MMD_Config",
    "IWAEConfig",
    "MIWAEConfig",
    "PIWAEConfig",
    "VAEConfig",
}
"""VAEs whose objective contains log p(image | latent)."""

OTHER = {"Adversarial_AE_Config", "MSSSIM_VAEConfig", "VAEGANConfig"}
"""VAEs with another measure of the reconstruction."""

LIKELIHOODS = {"bce": LikelihoodSpec("bernoulli"), "mse": LikelihoodSpec("gaussian", 1.0)}
"""By `reconstruction_loss`; pythae's "mse" is half the sum of squares: a std of 1."""


class Encoder(nn.Module):
    """image (N, C, H, W) -> mean, or (mean, logvar), (N, latents)."""

    def __init__(self, pixels: int, latents: int, hidden: int, *, gaussian: bool) -> None:
        super().__init__()
        self.layers: nn.ModuleList = nn.ModuleList(
            [nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU())]
        )
        self.embedding: nn.Linear = nn.Linear(hidden, latents)
        self.log_var: nn.Linear | None = nn.Linear(hidden, latents) if gaussian else None

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = self.layers[0](image.flatten(1))
        mean = self.embedding(h)
        return mean if self.log_var is None else (mean, self.log_var(h))


class Decoder(nn.Module):
    """latent (N, latents) -> image, or (image, logits), (N, C, H, W)."""

    def __init__(
        self, shape: tuple[int, int, int], latents: int, hidden: int, *, logits: bool
    ) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = shape
        self.logits: bool = logits
        self.layers: ModuleList[nn.Sequential] = ModuleList[nn.Sequential](
            [
                nn.Sequential(nn.Linear(latents, hidden), nn.ReLU()),
                nn.Sequential(nn.Linear(hidden, math.prod(shape)), nn.Sigmoid()),
            ]
        )

    def forward(self, latent: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        logits = self.layers[1][0](self.layers[0](latent)).reshape(-1, *self.shape)
        image = torch.sigmoid(logits)
        return (image, logits) if self.logits else image


def read(source: str) -> ModelPlan:
    """The folder.

    Raises:
        UsageError: no such folder or files.
        ModelBrokenError: networks of the user's own, a model with further parts, or weights that
            do not fit the config.
    """
    folder = Path(source)
    for name in ("encoder.pkl", "decoder.pkl"):
        if (folder / name).exists():
            raise ModelBrokenError(
                "is a network as pickled Python, which runs code when it is read",
                file=folder / name,
                remedy="build the network in a file of your own and use --from module",
            )
    config = _config(folder / "model_config.json")
    name, shape, latents = config["name"], config["input_dim"], config["latent_dim"]
    gaussian = name not in POINT
    likelihood = LikelihoodSpec()
    if name in LIKELIHOOD:
        likelihood = LIKELIHOODS[config.get("reconstruction_loss", "mse")]
    path = folder / "model.pt"
    state = read_weights(path, key="model_state_dict")
    with expecting("pythae's default networks", path):
        hidden = state["encoder.layers.0.0.weight"].shape[0]
        bernoulli = likelihood.kind == "bernoulli"
        with without_memory():
            encoder = Encoder(math.prod(shape), latents, hidden, gaussian=gaussian)
            decoder = Decoder(shape, latents, hidden, logits=bernoulli)
        fill(encoder, state, "encoder.")
        fill(decoder, state, "decoder.")
    network = Network(
        encoder,
        decoder,
        channels=shape[0],
        size=shape[1:],
        likelihood=likelihood,
        summary=f"{name.removesuffix('Config').rstrip('_')} of pythae, {latents} latents",
    )
    return plan_model(network)


def _config(path: Path) -> dict[str, Any]:
    """`model_config.json`, checked; `input_dim` is (channels, height, width)."""
    config = read_json(path)
    try:
        name, shape = str(config["name"]), tuple(int(n) for n in config["input_dim"])
        config |= {"name": name, "input_dim": shape, "latent_dim": int(config["latent_dim"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelBrokenError(
            f"is not a config of pythae: {type(error).__name__}: {error}", file=path
        ) from None
    known = sorted(POINT | LIKELIHOOD | OTHER)
    if name not in known:
        raise ModelBrokenError(
            f"names {name!r}, whose model is more than an encoder and a decoder",
            file=path,
            remedy=f"known: {', '.join(known)}",
        )
    if not 1 <= config["latent_dim"] <= MAX_SIZE or max(shape, default=0) > MAX_SIZE:
        raise ModelBrokenError(f"sizes are not 1 … {MAX_SIZE}", file=path)
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape) < 1:
        raise ModelBrokenError(f"input_dim = {shape} is not (1 or 3, height, width)", file=path)
    if config.get("reconstruction_loss", "mse") not in LIKELIHOODS:
        raise ModelBrokenError(
            f"reconstruction_loss = {config['reconstruction_loss']!r} is not bce or mse", file=path
        )
    return config
