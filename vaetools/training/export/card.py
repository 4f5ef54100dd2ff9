"""Facts about an exported model, and its MODEL_CARD.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.model.spec import Manifest

FILE_NAME = "MODEL_CARD.md"


def facts_of(manifest: Manifest) -> dict[str, str]:
    """The manifest as label -> text."""
    latent, likelihood = manifest.latent, manifest.likelihood
    place = f"one for {latent.downscale} x {latent.downscale} pixels"
    scale = "" if latent.scale == 1 else f", scaled by {latent.scale:g}"
    scale += "" if latent.shift == 0 else f" after subtracting {latent.shift:g}"
    return {
        "tasks": ", ".join(manifest.tasks),
        "images": "RGB" if manifest.image.channels == 3 else "grayscale",
        "size": _size(manifest),
        "latent": f"{latent.channels} channels, "
        + (place if latent.kind == "spatial" else "one vector for the whole image")
        + f", {latent.distribution}{scale}",
        "prior": latent.prior,
        "likelihood": likelihood.kind
        + (
            f", standard deviation {likelihood.deviation:g}"
            if likelihood.kind == "gaussian"
            else ""
        ),
        "tiling": f"exact, with a halo of {manifest.tiling.halo} pixels"
        if manifest.tiling.policy == "halo"
        else f"never: {manifest.tiling.reason}",
    }


def _size(manifest: Manifest) -> str:
    size = manifest.size
    if size.fixed:
        return f"{size.fixed[0]} x {size.fixed[1]} pixels only"
    return f"any; padded to multiples of {size.multiple_of}, at least {size.minimum} pixels"


def imported_card(manifest: Manifest, differences: Mapping[str, float], kind: str) -> str:
    """The text of MODEL_CARD.md for weights from elsewhere.

    Args:
        differences: role -> largest difference to the source, from `write_model`.
        kind: what it was imported as.
    """
    return f"""{_head(manifest, f"Imported with `vaetools export --from {kind}`.")}
{_parity(differences)}
The quality of the model was not measured.
"""


def trained_card(
    manifest: Manifest,
    differences: Mapping[str, float],
    training: Mapping[str, str],
    recipe: str,
) -> str:
    """The text of MODEL_CARD.md for a training run.

    Args:
        training: facts about the run, such as its data, steps and last figures.
        recipe: its text.
    """
    return f"""{_head(manifest, "Trained with `vaetools train`.")}
## Training

{_table(training)}

```toml
{recipe.strip()}
```

{_parity(differences)}
The figures above are those of the run, on held-out training data. Images of another kind may give worse
results: check with `vaetools inspect {manifest.id} --data IMAGES`.
"""


def _head(manifest: Manifest, origin: str) -> str:
    rows = {
        "source": manifest.source or "not given",
        "licence of the weights": manifest.license,
        **facts_of(manifest),
    }
    return f"# {manifest.id} {manifest.version}\n\n{manifest.summary}. {origin}\n\n{_table(rows)}\n"


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())]
    )


def _parity(differences: Mapping[str, float]) -> str:
    rows = "\n".join(f"| `{role}` | {value:.2g} |" for role, value in differences.items())
    return f"""## Parity

Largest absolute difference (logits: relative to the largest) between the source and the ONNX graph,
for random inputs, with ONNX Runtime on a CPU:

| graph | difference |
|---|---|
{rows}
"""
