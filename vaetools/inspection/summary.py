"""Findings as text for a terminal: what was looked at, a table of latents, the verdicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import printable
from vaetools.inspection import sheets
from vaetools.inspection.inputs import WINDOW
from vaetools.inspection.latents import ACTIVE, COLLAPSED
from vaetools.inspection.look import ROWS
from vaetools.inspection.novelty import DRAWN, HELD, LEVEL
from vaetools.inspection.report import bound, latents, novelty

if TYPE_CHECKING:
    from vaetools.inspection.findings import Findings


def text(findings: Findings) -> str:
    """The lines, without the last newline."""
    return "\n".join([*_head(findings), "", *_table(findings), *_verdicts(findings)])


def _head(findings: Findings) -> list[str]:
    model = findings.model.manifest
    kind = "a vector" if model.latent.kind == "vector" else "a grid"
    assumed = f"prior {model.latent.prior}, likelihood {model.likelihood.kind}"
    size = f"{kind} of {len(findings.order)} latents"
    lines = [f"model        {model.id} {model.version}: {size}, {assumed}"]
    if findings.found:
        window = (
            "" if model.size.fixed else f", of each its middle up to {WINDOW} × {WINDOW} pixels"
        )
        note = "; drawn black or white (dynamic binarisation)" if findings.binary else ""
        lines.append(f"images       {findings.used} of {findings.found}{window}{note}")
    return lines


def _table(findings: Findings) -> list[str]:
    """A line per latent, the most important first; columns of which nothing is known are left out."""
    rows = latents(findings)
    columns = [column for column in _COLUMNS if any(row[column[0]] is not None for row in rows)]
    lines = ["latent" + "".join(f"{title:>11}" for _, title, _ in columns)]
    for number in findings.order[:ROWS]:
        cells = [_cell(rows[number][name], digits) for name, _, digits in columns]
        lines.append(f"{number:6}" + "".join(f"{cell:>11}" for cell in cells))
    if len(rows) > ROWS:
        lines.append(f"   ... and {len(rows) - ROWS} more in inspection.json")
    return [*lines, ""] if columns else []


_COLUMNS = (
    ("kl", "KL nats", 3),
    ("variance", "variance", 4),
    ("active", "active", 0),
    ("mean", "mean", 3),
    ("deviation", "deviation", 3),
    ("effect", "effect", 4),
)
"""Key in the JSON, title, digits."""


def _cell(value: float | bool | None, digits: int) -> str:
    if value is None:
        return "-"
    return ("yes" if value else "no") if isinstance(value, bool) else f"{value:.{digits}f}"


def _verdicts(findings: Findings) -> list[str]:
    lines = [*_active_line(findings), *_rate_lines(findings), *_novelty_lines(findings)]
    reasons: dict[str, list[str]] = {}
    for name, reason in findings.unknown.items():
        reasons.setdefault(reason, []).append(name.replace("_", " "))
    for reason, names in reasons.items():
        lines.append(f"unavailable  {', '.join(names)}: {reason}")
    return lines


def _active_line(findings: Findings) -> list[str]:
    statistics = findings.statistics
    if statistics is None or statistics.active is None:
        return []
    count, total = int(statistics.active.sum()), len(statistics.active)
    lines = [f"active       {count} of {total} latents (variance above {ACTIVE})"]
    if statistics.collapsed:
        lines.append(
            f"collapse     fewer than {COLLAPSED:.0%} of the latents distinguish these images: the "
            "posterior has collapsed, or the images are too similar"
        )
    return lines


def _rate_lines(findings: Findings) -> list[str]:
    statistics, terms = findings.statistics, bound(findings)
    lines = []
    if statistics is not None and statistics.kl is not None:
        total = float(statistics.kl.sum())
        lines.append(f"KL           {total:.2f} nats = {total / math.log(2):.1f} bits per image")
    if terms is not None:
        lines.append(
            f"-ELBO        {terms['nats']:.2f} nats per image = reconstruction "
            f"{terms['reconstruction_nats']:.2f} + KL {terms['kl_nats']:.2f}; "
            f"{terms['bits_per_dimension']:.4f} bits per dimension"
        )
    if findings.scored:
        decibels = float(np.mean([one.score.psnr for one in findings.scored]))
        lines.append(f"PSNR         {decibels:.2f} dB, mean of the reconstructions")
    return lines


def _novelty_lines(findings: Findings) -> list[str]:
    summary, reference = novelty(findings), findings.reference
    if summary is None or reference is None or summary["share_unlike"] is None:
        return []
    count = sum(one.unlike for one in findings.scored)
    share = f"{count} of {findings.used} images ({summary['share_unlike']:.1%})"
    beside = f"{reference.count} {_REFERENCES[reference.kind]}"
    lines = [
        f"novelty      {share} are unlike {beside}; {LEVEL:.0%} would be by chance",
        f"             {_SENTENCES[summary['verdict']]}",
    ]
    if reference.kind == DRAWN:
        lines.append(
            "             for a more reliable verdict pass images that it should know: --reference"
        )
    strange = [one for one in sheets.by_novelty(findings)[:3] if one.unlike]
    return lines + [f"             {printable(one.name)}: {sheets.why(one)}" for one in strange]


_REFERENCES = {HELD: "reference images", DRAWN: "images that the model generated"}
_SENTENCES = {
    "known": "the model knows images like these",
    "partly known": "the model knows some of these images, but not others",
    "unknown": "the model does not know images like these",
    "typical": "they are typical of what the model generates: it knows images like these",
    "partly typical": "some are typical of what the model generates, others are not",
    "untypical": "they are not typical of what the model generates: it does not know images like "
    "these, or generates poor ones (see samples.png)",
}
