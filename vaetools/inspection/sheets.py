"""The figures: which tiles and labels make up each sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vaetools.image import Image, encode_image
from vaetools.inspection.draw import (
    PAPER,
    Bar,
    Sheet,
    diverging,
    heat,
    render,
    scaled,
    sequential,
    thumbnail,
)
from vaetools.inspection.look import ROWS
from vaetools.inspection.traversal import MOVES
from vaetools.tiling import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.inspection.findings import Findings, Scored

T = TypeVar("T")

FILES = (
    "traversal.png",
    "effects.png",
    "samples.png",
    "correlation.png",
    "uncertainty.png",
    "novelty.png",
)
PER_ROW = 8

LABELLED = 24
"""Latents up to which the correlations have names."""


def figures(findings: Findings) -> dict[str, bytes]:
    """The PNG files, by name; those that there is nothing for are left out."""
    makers = (traversal, effects, samples, correlation, uncertainty, novelty)
    sheets = {name: make(findings) for name, make in zip(FILES, makers, strict=True)}
    return {name: _png(sheet) for name, sheet in sheets.items() if sheet is not None}


def _png(sheet: Sheet) -> bytes:
    return encode_image(Image.from_array(render(sheet), channel_order="rgb"), "png")


def traversal(findings: Findings) -> Sheet | None:
    """A row per latent, moved by −2.5 … 2.5 standard deviations."""
    rows = findings.rows
    if rows is None:
        return None
    return Sheet(
        f"{findings.model.id}: each row moves one latent, in standard deviations,\n"
        f"around {_short(rows.around)}",
        [[thumbnail(image) for image in row] for row in rows.images],
        labels=[_label(findings, latent) for latent in rows.order],
        headings=[f"{move:+g}" if move else "0" for move in MOVES],
    )


def effects(findings: Findings) -> Sheet | None:
    """A heat map per latent, all in one scale."""
    maps = findings.effects
    if maps is None:
        return None
    shown = findings.order[:ROWS]
    bar = Bar(sequential(), 0, float(maps[shown].max()), "change of the image, 0 ... 1")
    tiles: list[np.ndarray | None] = [scaled(heat(maps[latent], bar)) for latent in shown]
    captions = [f"z{latent}\n{maps[latent].mean():.4f}" for latent in shown]
    return Sheet(
        f"{findings.model.id}: what one standard deviation of each latent moves\n"
        "below each map: its mean",
        _wrapped(tiles),
        captions=_wrapped(captions),
        bar=bar,
    )


def samples(findings: Findings) -> Sheet | None:
    """Images that the decoder makes of draws from the prior."""
    if findings.samples is None:
        return None
    tiles: list[np.ndarray | None] = [thumbnail(image) for image in findings.samples]
    title = f"{findings.model.id}: decoded draws from the prior"
    return Sheet(title, _wrapped(tiles))


def correlation(findings: Findings) -> Sheet | None:
    """Correlations of the posterior means, latents in the order of the table."""
    statistics = findings.statistics
    if statistics is None or statistics.correlation is None:
        return None
    order = findings.order
    matrix = statistics.correlation[np.ix_(order, order)]
    bar = Bar(diverging(), -1, 1, "correlation; grey: does not vary")
    title = f"{findings.model.id}: correlations of the posterior means"
    cells = heat(matrix, bar)
    if len(order) > LABELLED:
        side = max(1, 600 // len(order))
        tile = cells.repeat(side, axis=0).repeat(side, axis=1)
        return Sheet(f"{title},\nlatents in the order of the table", [[tile]], bar=bar)
    side = 36
    tiles: list[list[np.ndarray | None]] = [
        [np.broadcast_to(cell, (side, side, 3)) for cell in row] for row in cells
    ]
    names = [f"z{latent}" for latent in order]
    return Sheet(title, tiles, labels=names, headings=names, bar=bar, gap=1)


def uncertainty(findings: Findings) -> Sheet | None:
    """Images, their reconstructions, and where samples of the posterior differ."""
    found = findings.uncertain
    if not found:
        return None
    highest = max(float(one.deviation.max()) for one in found)
    bar = Bar(sequential(), 0, highest, "standard deviation over posterior samples")
    return Sheet(
        f"{findings.model.id}: uncertainty of the reconstructions",
        [
            [thumbnail(one.original) for one in found],
            [thumbnail(one.reconstruction) for one in found],
            [scaled(heat(one.deviation, bar)) for one in found],
        ],
        labels=("image", "recon-\nstruction", "uncertainty"),
        bar=bar,
    )


def by_novelty(findings: Findings) -> list[Scored]:
    """Images, the strangest first; without a reference those that come out worst."""

    def strangeness(one: Scored) -> tuple[float, float]:
        if one.comparison is None:
            return -one.score.reconstruction, 0
        return one.comparison.p_value, -one.comparison.distance

    return sorted(findings.scored, key=strangeness)


def why(one: Scored) -> str:
    """In words, what is strange about an image that has been compared."""
    comparison = one.comparison
    if comparison is None:
        return f"{one.score.psnr:.1f} dB"
    return (
        f"{_WORDS[comparison.term, comparison.high]} "
        f"(percentile {comparison.percentiles[comparison.term]:.3g}, p = {comparison.p_value:.2g})"
    )


_WORDS = {
    (0, True): "hard to reconstruct",
    (0, False): "easier to reconstruct than what the model knows",
    (1, True): "far from the prior",
    (1, False): "nearer to the prior than what the model knows",
}


def novelty(findings: Findings) -> Sheet | None:
    """The strangest images and the most ordinary ones, with their reconstructions."""
    ranked = by_novelty(findings)
    if not ranked:
        return None
    half = min(PER_ROW, ceil_div(len(ranked), 2))
    groups = {
        "strangest": ranked[:half],
        "most\nordinary": ranked[::-1][: min(half, len(ranked) - half)],
    }
    compared = findings.reference is not None
    note = "percentiles in the reference" if compared else "without a reference: by reconstruction"
    return Sheet(
        f"{findings.model.id}: images above their reconstructions; {note}",
        [[_pair(one) for one in group] for group in groups.values() if group],
        labels=list(groups),
        captions=[[_caption(one) for one in group] for group in groups.values() if group],
    )


def _pair(one: Scored) -> np.ndarray:
    """An image above its reconstruction."""
    gap = np.full((3, one.original.shape[1], 3), PAPER, np.uint8)
    return np.concatenate([one.original, gap, one.reconstruction])


def _caption(one: Scored) -> str:
    if one.comparison is None:
        return f"{one.score.psnr:.1f} dB"
    names = ("rec", "KL")
    found = zip(names, one.comparison.percentiles, strict=False)
    return "\n".join(f"{name} {percentile:.3g} %" for name, percentile in found)


def _label(findings: Findings, latent: int) -> str:
    statistics, maps = findings.statistics, findings.effects
    if statistics is not None and statistics.kl is not None:
        return f"z{latent}\nKL {statistics.kl[latent]:.2f}"
    return f"z{latent}" if maps is None else f"z{latent}\neffect {maps[latent].mean():.3f}"


def _short(text: str, most: int = 90) -> str:
    """The end of a long text: names of files tell most there."""
    return text if len(text) <= most else f"... {text[-most:]}"


def _wrapped(items: Sequence[T]) -> list[list[T]]:
    return [list(items[first : first + PER_ROW]) for first in range(0, len(items), PER_ROW)]
