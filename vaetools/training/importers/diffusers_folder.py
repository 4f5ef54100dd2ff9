"""An autoencoder as the diffusers library saves it: `config.json` and safetensors.

diffusers works in [−1, 1] and keeps the scale of the latents beside the network; the wrappers here
take and give [0, 1], and the scale goes into the manifest, so that latents outside the graphs are
those of a diffusion pipeline.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError, UsageError
from vaetools.training.export.measure import Network, parts
from vaetools.training.importers.json_config import read_diffusers_config
from vaetools.training.importers.weights import check_file

if TYPE_CHECKING:
    from vaetools.training.export.model_plan import Parts

WEIGHTS = "diffusion_pytorch_model"

LOGVAR = -30.0, 20.0
"""Where diffusers clamps ln(variance)."""


class KlEncode(nn.Module):
    """`AutoencoderKL`, with its `quant_conv`; `mean` and `std` normalise channels of the latent."""

    def __init__(self, model: Any, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.encoder, self.quant = model.encoder, model.quant_conv or nn.Identity()
        self.register_buffer("centre", mean)
        self.register_buffer("spread", std)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = self.quant(self.encoder(2 * image - 1)).chunk(2, dim=1)
        logvar = logvar.clamp(*LOGVAR) - 2 * torch.log(self.spread)
        return (mean - self.centre) / self.spread, logvar


class KlDecode(nn.Module):
    """The way back, with `post_quant_conv`."""

    def __init__(self, model: Any, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.decoder, self.quant = model.decoder, model.post_quant_conv or nn.Identity()
        self.register_buffer("centre", mean)
        self.register_buffer("spread", std)

    def forward(self, latent: Tensor) -> Tensor:
        return (self.decoder(self.quant(latent * self.spread + self.centre)) + 1) / 2


class TinyEncode(nn.Module):
    """`AutoencoderTiny`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder(2 * image - 1)


class TinyDecode(nn.Module):
    """The way back."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(self, latent: Tensor) -> Tensor:
        return (self.decoder(latent) + 1) / 2


class VqEncode(nn.Module):
    """`VQModel`: the latent is made of the nearest vectors of the codebook."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.quant_conv = model.encoder, model.quant_conv
        self.quantize = model.quantize

    def forward(self, image: Tensor) -> Tensor:
        h = self.quant_conv(self.encoder(2 * image - 1))
        _, _, (_, _, indices) = self.quantize(h)
        codes = indices.reshape(h.shape[0], h.shape[2], h.shape[3])
        return self.quantize.embedding(codes).permute(0, 3, 1, 2)


class VqDecode(nn.Module):
    """The way back; the latent is taken as it is, and not quantised again."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder, self.quant_conv = model.decoder, model.post_quant_conv
        self.spatial_norm = model.config.norm_type == "spatial"

    def forward(self, latent: Tensor) -> Tensor:
        condition = latent if self.spatial_norm else None
        return (self.decoder(self.quant_conv(latent), condition) + 1) / 2


CLASSES = ("AutoencoderKL", "AutoencoderTiny", "VQModel")


def read(source: str) -> Parts:
    """A folder with `config.json`, or a pipeline's folder with such a folder `vae` in it.

    Raises:
        UsageError: no such folder or files, or diffusers is not installed.
        ModelBrokenError: another class, weights that are no safetensors or do not fit it.
    """
    folder = Path(source)
    if not (folder / "config.json").is_file() and (folder / "vae").is_dir():
        folder /= "vae"
    config = read_diffusers_config(folder, CLASSES)
    name = config["_class_name"]
    model = _load(folder, name)
    summary = f"{name} of diffusers"
    channels = int(config.get("in_channels", 3))
    scale = float(model.config.scaling_factor)
    shift = float(model.config.get("shift_factor") or 0.0)
    if name == "AutoencoderKL":
        normal = _normalisation(model)
        encode: nn.Module = KlEncode(model, *normal)
        decode: nn.Module = KlDecode(model, *normal)
    elif name == "AutoencoderTiny":
        encode, decode = TinyEncode(model), TinyDecode(model)
    else:
        encode, decode = VqEncode(model), VqDecode(model)
    # The KL weight of these models is some 1e-6: samples of N(0, 1) are nothing to them.
    network = Network(
        encode, decode, channels, prior="none", scale=scale, shift=shift, summary=summary
    )
    return parts(network)


def _load(folder: Path, name: str) -> Any:
    """The model, with every weight in its place."""
    variant = _variant(folder)
    try:
        import diffusers
    except ImportError:
        raise UsageError("this needs diffusers", remedy="pip install 'vaetools[import]'") from None
    diffusers.utils.logging.set_verbosity_error()  # it remarks on keys of other versions
    try:
        model, told = getattr(diffusers, name).from_pretrained(
            folder,
            variant=variant,
            torch_dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise ModelBrokenError(f"diffusers cannot load it: {said}", file=folder) from error
    for problem, names in told.items():
        if names:
            raise ModelBrokenError(
                f"weights do not fit the config: {problem.replace('_', ' ')}: {min(names)}",
                file=folder,
            )
    return model


def _variant(folder: Path) -> str | None:
    """Which of the files of weights: None for the plain one, `fp16` for that of this name."""
    for variant, name in (
        (None, f"{WEIGHTS}.safetensors"),
        ("fp16", f"{WEIGHTS}.fp16.safetensors"),
    ):
        if (folder / name).is_file():
            check_file(folder / name)
            return variant
    pickles = sorted(folder.glob("*.bin"))
    if pickles:
        raise ModelBrokenError(
            "is a pickle, which could run any code; of diffusers only safetensors are read",
            file=pickles[0],
            remedy="save_pretrained(folder) in a recent diffusers writes them",
        )
    raise UsageError("there is no such file", file=folder / f"{WEIGHTS}.safetensors")


def _normalisation(model: Any) -> tuple[Tensor, Tensor]:
    """Mean and deviation per channel of the latent, (C, 1, 1); 0 and 1 where none are given."""
    count = model.config.latent_channels
    mean = model.config.get("latents_mean") or [0.0] * count
    std = model.config.get("latents_std") or [1.0] * count
    return torch.tensor(mean).reshape(-1, 1, 1), torch.tensor(std).reshape(-1, 1, 1)
