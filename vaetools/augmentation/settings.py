"""Moves in a latent space as plain data, for JSON, TOML or YAML, and back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from vaetools.augmentation.latent import LatentJitter, LatentMix, LatentStyle, Levels
from vaetools.augmentation.space import CodecSpace, latent_space
from vaetools.errors import OptionError
from vaetools.tomlfile import from_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.model.registry import ModelRegistry

Move: TypeAlias = LatentJitter | LatentMix | LatentStyle


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What all moves have."""

    kind: str
    model: str
    model_sha256: str | None = None
    level: int | None = None


@dataclass(frozen=True, kw_only=True)
class _JitterSettings(_Settings):
    strength: float = 0.5
    levels: Levels = "fine"


@dataclass(frozen=True, kw_only=True)
class _MixSettings(_Settings):
    alpha: float = 0.4


@dataclass(frozen=True, kw_only=True)
class _StyleSettings(_Settings):
    strength: float = 1.0


_KINDS: dict[str, tuple[type[Move], type[_Settings]]] = {
    "LatentJitter": (LatentJitter, _JitterSettings),
    "LatentMix": (LatentMix, _MixSettings),
    "LatentStyle": (LatentStyle, _StyleSettings),
}


def move_settings(move: Move) -> dict[str, Any]:
    """The settings of a move; `open_move` turns them into the same move.

    Returns:
        `kind` (name of the class), `model` (its id), `model_sha256` (its fingerprint), the arguments
        of the class, and for a codec `level`, the rate index at which it decodes.
    """
    kind, manifest = type(move).__name__, move.space.model.manifest
    found: dict[str, Any] = {
        "kind": kind,
        "model": manifest.id,
        "model_sha256": manifest.fingerprint,
        **{name: getattr(move, name) for name in _arguments(_KINDS[kind][1])},
    }
    if isinstance(move.space, CodecSpace):
        found["level"] = move.space.level
    return found


def open_move(settings: Mapping[str, Any], registry: ModelRegistry) -> Move:
    """The move that `move_settings` described. Missing arguments have the defaults of the class.

    Args:
        settings: as `move_settings` returns. Without `model_sha256` any model of that id is accepted.
        registry: finds the model; `vaetools.open().registry` has the installed ones.

    Raises:
        OptionError: an unknown kind or name, a value out of range, or another model with that id.
        ModelError: the model is not installed, or has no such latents.
    """
    kind = settings.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise OptionError(f"kind={kind!r} is not one of {', '.join(_KINDS)}")
    move, schema = _KINDS[kind]
    checked = from_table(schema, dict(settings), OptionError, where=kind)
    model = registry.open(checked.model)
    wanted, found = checked.model_sha256, model.manifest.fingerprint
    if wanted not in (None, found):
        raise OptionError(
            f"the installed model {model.id} is {found[:16]}, not {str(wanted)[:16]}",
            remedy="install the model that was used, or omit model_sha256",
        )
    space = latent_space(model)
    if checked.level is not None:
        if not isinstance(space, CodecSpace):
            raise OptionError(f"model {model.id} is not a codec: it has no level")
        space = CodecSpace(model, checked.level)
    return move(space, **{name: getattr(checked, name) for name in _arguments(schema)})


def _arguments(schema: type[_Settings]) -> list[str]:
    """Names of the arguments of a kind of move, besides its latent space."""
    shared = {field.name for field in dataclasses.fields(_Settings)}
    return [field.name for field in dataclasses.fields(schema) if field.name not in shared]
