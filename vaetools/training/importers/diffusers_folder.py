"""An autoencoder as the diffusers library saves it: `config.json` and safetensors.

diffusers works in [−1, 1] and keeps the scale of the latents outside the network. Here images are in
[0, 1], and the scale goes into the manifest, so that latents outside the graphs are those of a
diffusion pipeline.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError, UsageError
from vaetools.training.export.foreign import one_line
from vaetools.training.export.graphs import Forward, Outputs
from vaetools.training.export.measure import plan_model
from vaetools.training.export.network import Network
from vaetools.training.importers.json_config import LOGVAR_RANGE, read_diffusers_config
from vaetools.training.importers.weights import check_file, without_memory

if TYPE_CHECKING:
    from vaetools.training.export.model_plan import ModelPlan

WEIGHTS = "diffusion_pytorch_model"

Pair: TypeAlias = "tuple[Forward, Forward]"
"""Encoder and decoder."""


def kl(model: Any, mean: Tensor, std: Tensor) -> Pair:
    """`AutoencoderKL`, with its quantisation layers if it has them.

    Args:
        mean, std: (C, 1, 1), by which the channels of the latent are normalised.
    """
    quant, post_quant = (
        getattr(model, name) or nn.Identity() for name in ("quant_conv", "post_quant_conv")
    )

    def encode(image: Tensor) -> Outputs:
        raw_mean, logvar = quant(model.encoder(2 * image - 1)).chunk(2, dim=1)
        return (raw_mean - mean) / std, logvar.clamp(*LOGVAR_RANGE) - 2 * torch.log(std)

    def decode(latent: Tensor) -> Tensor:
        return _unit_range(model.decoder(post_quant(latent * std + mean)))

    return Forward(model, encode), Forward(model, decode)


def tiny(model: Any) -> Pair:
    """`AutoencoderTiny`."""

    def encode(image: Tensor) -> Outputs:
        latent: Tensor = model.encoder(2 * image - 1)
        return latent

    def decode(latent: Tensor) -> Tensor:
        return _unit_range(model.decoder(latent))

    return Forward(model, encode), Forward(model, decode)


def vq(model: Any) -> Pair:
    """`VQModel`: latents are vectors of the codebook; the decoder does not quantise them again."""

    def encode(image: Tensor) -> Outputs:
        h = model.quant_conv(model.encoder(2 * image - 1))
        _, _, (_, _, indices) = model.quantize(h)
        codes = indices.reshape(h.shape[0], h.shape[2], h.shape[3])
        latent: Tensor = model.quantize.embedding(codes).permute(0, 3, 1, 2)
        return latent

    def decode(latent: Tensor) -> Tensor:
        condition = latent if model.config.norm_type == "spatial" else None
        return _unit_range(model.decoder(model.post_quant_conv(latent), condition))

    return Forward(model, encode), Forward(model, decode)


def _unit_range(image: Tensor) -> Tensor:
    """[−1, 1] -> [0, 1]."""
    return (image + 1) / 2


MANY = 2**24
"""By how many numbers (64 MiB) a network may exceed its weights until diffusers refuses it."""

CLASSES = ("AutoencoderKL", "AutoencoderTiny", "VQModel")


def read(source: str) -> ModelPlan:
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
    model = _load(folder, name, config)
    summary = f"{name} of diffusers"
    channels = int(config.get("in_channels", 3))
    scale = float(model.config.scaling_factor)
    shift = float(model.config.get("shift_factor") or 0.0)
    if name == "AutoencoderKL":
        encode, decode = kl(model, *_normalisation(model))
    elif name == "AutoencoderTiny":
        encode, decode = tiny(model)
    else:
        encode, decode = vq(model)
    # These models were trained with a KL weight of about 1e-6: N(0, 1) is not their prior.
    network = Network(
        encode, decode, channels, prior="none", scale=scale, shift=shift, summary=summary
    )
    return plan_model(network)


def _load(folder: Path, name: str, config: dict[str, Any]) -> Any:
    """The model, with every weight in its place."""
    variant = _variant(folder)
    try:
        import diffusers
    except ImportError:
        raise UsageError("this needs diffusers", remedy="pip install 'vaetools[import]'") from None
    diffusers.utils.logging.set_verbosity_error()  # it warns about keys of other versions
    weights = folder / f"{WEIGHTS}{'' if variant is None else f'.{variant}'}.safetensors"
    try:
        _check_elements(getattr(diffusers, name), config, weights)
        model, loading = getattr(diffusers, name).from_pretrained(
            folder,
            variant=variant,
            torch_dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except ModelBrokenError:
        raise
    except Exception as error:
        raise ModelBrokenError(
            f"diffusers cannot load it: {one_line(error)}", file=folder
        ) from error
    for problem, names in loading.items():
        if names:
            raise ModelBrokenError(
                f"weights do not fit the config: {problem.replace('_', ' ')}: {min(names)}",
                file=folder,
            )
    return model


def _check_elements(kind: Any, config: dict[str, Any], path: Path) -> None:
    """Raise `ModelBrokenError` for a config of a network that is much larger than its weights: diffusers
    takes the memory before it compares them."""
    from safetensors import safe_open

    with without_memory():
        needed = sum(p.numel() for p in kind.from_config(config).parameters())
    with safe_open(path, "pt") as file:
        held = sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    if needed > held + MANY:
        raise ModelBrokenError(
            f"weights do not fit the config: it needs {needed} numbers, the file has {held}",
            file=path,
        )


def _variant(folder: Path) -> str | None:
    """Variant of the weights file: None for the default one, or `fp16`."""
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
    raise UsageError("no such file", file=folder / f"{WEIGHTS}.safetensors")


def _normalisation(model: Any) -> tuple[Tensor, Tensor]:
    """Mean and std per channel of the latent, (C, 1, 1); 0 and 1 if the config has none."""
    count = model.config.latent_channels
    mean = model.config.get("latents_mean") or [0.0] * count
    std = model.config.get("latents_std") or [1.0] * count
    return torch.tensor(mean).reshape(-1, 1, 1), torch.tensor(std).reshape(-1, 1, 1)
