"""Findings as plain values, for JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.inspection import sheets
from vaetools.inspection.inputs import WINDOW
from vaetools.inspection.novelty import DRAWN, HELD, LEVEL

if TYPE_CHECKING:
    from vaetools.inspection.findings import Findings, Scored
    from vaetools.inspection.novelty import Score

FILES = ("inspection.json", *sheets.FILES)
"""Every file that a report may consist of."""

FORMAT = 1
"""Version of the JSON."""

MANY = 512
"""Latents up to which the JSON holds the matrix of correlations."""

KNOWN, STRANGE = 0.1, 0.5
"""Shares of images unlike the reference: up to the first the model knows them, from the second not."""

VERDICTS = {
    HELD: ("known", "partly known", "unknown"),
    DRAWN: ("typical", "partly typical", "untypical"),
}

STEP_OF_8_BITS = math.log2(255)
"""Bits that tell a density over [0, 1] from the probability of one of 8-bit images' values."""


def facts(findings: Findings) -> dict[str, Any]:
    """The findings as plain values for JSON; None where nothing can be said, `unknown` says why."""
    statistics = findings.statistics
    likelihood = findings.model.manifest.likelihood.kind != "none"
    return {
        "format": FORMAT,
        "model": _model(findings),
        "settings": {
            "samples": findings.settings.samples,
            "limit": findings.settings.limit,
            "seed": findings.settings.seed,
            "resize": findings.settings.resize,
            "window": None if findings.model.manifest.size.fixed else WINDOW,
        },
        "binarisation": binarisation(findings),
        "pictures": {
            "found": findings.found,
            "used": findings.used,
            "failed": [
                {"file": e.file, "code": e.code, "message": str(e)} for e in findings.failures
            ],
        },
        "latents": latents(findings),
        "order": findings.order,
        "active_units": None
        if statistics is None or statistics.active is None
        else int(statistics.active.sum()),
        "collapsed": None if statistics is None else statistics.collapsed,
        "kl": None if statistics is None or statistics.kl is None else float(statistics.kl.sum()),
        "correlation": _correlation(findings),
        "bound": bound(findings),
        "uncertainty": [
            {"file": one.name, "deviation": float(np.sqrt((one.deviation**2).mean()))}
            for one in findings.uncertain
        ]
        or None,
        "novelty": novelty(findings),
        "reconstruction_unit": "nats per dimension" if likelihood else "mean squared error",
        "scores": [_score(findings, one) for one in findings.scored],
        "traversal": None
        if findings.rows is None
        else {"around": findings.rows.around, "latents": findings.rows.order},
        "unknown": findings.unknown,
    }


def _model(findings: Findings) -> dict[str, Any]:
    manifest = findings.model.manifest
    return {
        "id": manifest.id,
        "version": manifest.version,
        "fingerprint": manifest.fingerprint,
        "latent": manifest.latent.kind,
        "prior": manifest.latent.prior,
        "likelihood": manifest.likelihood.kind,
        "device": str(findings.model.device),
    }


def binarisation(findings: Findings) -> str | None:
    """`dynamic` or `none`; None where the likelihood is not for black and white."""
    if findings.model.manifest.likelihood.kind != "bernoulli":
        return None
    return "dynamic" if findings.binary else "none"


def latents(findings: Findings) -> list[dict[str, Any]]:
    """A row per latent, by number."""
    statistics, maps = findings.statistics, findings.effects
    columns: dict[str, np.ndarray | None] = dict.fromkeys(
        ("kl", "variance", "active", "mean", "deviation", "posterior_deviation")
    )
    if statistics is not None:
        inner = statistics.posterior_variance
        columns = {
            "kl": statistics.kl,
            "variance": statistics.variance,
            "active": statistics.active,
            "mean": statistics.mean,
            "deviation": statistics.deviation,
            "posterior_deviation": None if inner is None else np.sqrt(inner),
        }
    columns["effect"] = None if maps is None else maps.mean(axis=(1, 2))
    return [
        {"latent": i} | {name: _at(values, i) for name, values in columns.items()}
        for i in range(len(findings.order))
    ]


def _at(values: np.ndarray | None, index: int) -> float | bool | None:
    return None if values is None else values[index].item()


def _correlation(findings: Findings) -> list[list[float | None]] | None:
    statistics = findings.statistics
    if statistics is None or statistics.correlation is None or len(findings.order) > MANY:
        return None
    rows = np.round(statistics.correlation, 4).tolist()
    return [[None if math.isnan(value) else value for value in row] for row in rows]


def bound(findings: Findings) -> dict[str, float] | None:
    """Means over the images of −ELBO and its terms; None where the model has no bound."""
    if "bound" in findings.unknown:
        return None
    scores = [one.score for one in findings.scored]
    kl = float(np.mean([score.kl for score in scores if score.kl is not None]))
    reconstruction = float(np.mean([score.reconstruction * score.dimensions for score in scores]))
    return {
        "nats": reconstruction + kl,
        "reconstruction_nats": reconstruction,
        "kl_nats": kl,
        "nats_per_dimension": float(np.mean([sum(score.terms) for score in scores])),
        "bits_per_dimension": float(
            np.mean([bits_per_dimension(findings, score) for score in scores])
        ),
    }


def bits_per_dimension(findings: Findings, score: Score) -> float:
    """−ELBO as an ideal code length; of a Gaussian likelihood for images of 8 bits.

    A density p over [0, 1] gives a value of an 8-bit image about the probability p / 255:
    Theis et al., "A note on the evaluation of generative models", 2016, section 3.1.
    """
    bits = sum(score.terms) / math.log(2)
    discrete = findings.model.manifest.likelihood.kind == "bernoulli"
    return bits if discrete else bits + STEP_OF_8_BITS


def _score(findings: Findings, one: Scored) -> dict[str, Any]:
    """One image."""
    score, comparison = one.score, one.comparison
    has_bound = "bound" not in findings.unknown
    row: dict[str, Any] = {
        "file": one.name,
        "dimensions": score.dimensions,
        "reconstruction": score.reconstruction,
        "kl": score.kl,
        "bound_per_dimension": sum(score.terms) if has_bound else None,
        "bits_per_dimension": bits_per_dimension(findings, score) if has_bound else None,
        "psnr": score.psnr,
    }
    names = ("reconstruction", "kl")
    if comparison is None:
        return row | dict.fromkeys(("percentiles", "p_value", "distance", "unlike", "strangest"))
    enough = findings.reference is not None and findings.reference.large_enough
    return row | {
        "percentiles": dict(zip(names, comparison.percentiles, strict=False)),
        "p_value": comparison.p_value,
        "distance": comparison.distance,
        "unlike": comparison.unlike if enough else None,
        "strangest": f"{'high' if comparison.high else 'low'} {names[comparison.term]}",
    }


def novelty(findings: Findings) -> dict[str, Any] | None:
    """How many images are unlike the reference, and in which way."""
    reference = findings.reference
    compared = [one.comparison for one in findings.scored if one.comparison is not None]
    if reference is None:
        return None
    share = sum(one.unlike for one in compared) / len(compared)
    words = VERDICTS[reference.kind]
    verdict = words[0] if share <= KNOWN else words[1] if share < STRANGE else words[2]
    medians = np.median([one.percentiles for one in compared], axis=0)
    return {
        "reference": reference.kind,
        "reference_pictures": reference.count,
        "level": LEVEL,
        "share_unlike": share if reference.large_enough else None,
        "verdict": verdict if reference.large_enough else None,
        "median_percentiles": dict(zip(("reconstruction", "kl"), medians.tolist(), strict=False)),
    }
