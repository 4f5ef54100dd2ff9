"""Moves in a latent space as plain data, for JSON, TOML or YAML, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from vaetools.augmentation.latent import LatentJitter, LatentMix, LatentStyle
from vaetools.augmentation.space import CodecSpace, latent_space
from vaetools.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.model.registry import ModelRegistry

Move: TypeAlias = LatentJitter | LatentMix | LatentStyle

KINDS: dict[str, tuple[type[Move], tuple[str, ...]]] = {
    "LatentJitter": (LatentJitter, ("strength", "levels")),
    "LatentMix": (LatentMix, ("alpha",)),
    "LatentStyle": (LatentStyle, ("strength",)),
}
"""By name: the class, and its arguments beside the model."""

SHARED = ("kind", "model", "model_sha256", "level")


def move_settings(move: Move) -> dict[str, Any]:
    """What a move is, as words and numbers. `open_move` makes the same one again.

    Returns:
        `kind`, `model` (its id), `model_sha256` (its fingerprint), the arguments of the kind, and
        `level`, the rate at which a codec decodes.
    """
    kind = type(move).__name__
    manifest = move.space.model.manifest
    found: dict[str, Any] = {
        "kind": kind,
        "model": manifest.id,
        "model_sha256": manifest.fingerprint,
        **{name: getattr(move, name) for name in KINDS[kind][1]},
    }
    if isinstance(move.space, CodecSpace):
        found["level"] = move.space.level
    return found


def open_move(settings: Mapping[str, Any], registry: ModelRegistry) -> Move:
    """The move that `move_settings` described. What is missing is as the class has it.

    Args:
        registry: knows the model; `vaetools.open().registry` knows those that are installed. Without
            `model_sha256` any model of that id will do.

    Raises:
        OptionError: an unknown kind or name, a value out of bounds, or another model of that id.
        ModelError: there is no such model, or it does not fit.
    """
    kind = settings.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise OptionError(f"kind={kind!r} is not one of {', '.join(KINDS)}")
    made, names = KINDS[kind]
    unknown = [str(name) for name in settings if name not in (*SHARED, *names)]
    if unknown or not isinstance(settings.get("model"), str):
        problem = f"unknown {unknown[0]!r}" if unknown else "model is not named"
        raise OptionError(f"{kind}: {problem}", remedy=f"known: {', '.join((*SHARED, *names))}")
    model = registry.open(settings["model"])
    wanted = settings.get("model_sha256", model.manifest.fingerprint)
    if model.manifest.fingerprint != wanted:
        raise OptionError(
            f"model {model.id} here is {model.manifest.fingerprint[:16]}, not {str(wanted)[:16]}",
            remedy="install the model that was used, or leave model_sha256 out",
        )
    space = latent_space(model)
    if "level" in settings:
        if not isinstance(space, CodecSpace):
            raise OptionError(f"model {model.id} is no codec: it has no level")
        space = CodecSpace(model, settings["level"])
    return made(space, **{name: settings[name] for name in names if name in settings})
