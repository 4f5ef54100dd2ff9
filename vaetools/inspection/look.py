"""All figures of a model, in an order in which each can use those before."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import InputError
from vaetools.inspection import starts as bases
from vaetools.inspection.draw import thumbnail
from vaetools.inspection.effect import STARTS, affordable, effects
from vaetools.inspection.findings import (
    Findings,
    Rows,
    Scored,
    Settings,
    Uncertain,
    explain,
    has_posterior,
)
from vaetools.inspection.inputs import (
    ImageSource,
    calls_at_once,
    central,
    decode_all,
    read_input,
)
from vaetools.inspection.novelty import (
    DRAWN,
    DRAWS,
    HELD,
    Reference,
    Score,
    Scorer,
    draw_images,
)
from vaetools.inspection.traversal import traversal
from vaetools.inspection.uncertainty import FEWEST_DRAWS, uncertainty
from vaetools.model.bounds import binarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vaetools.errors import VaetoolsError
    from vaetools.inspection.inputs import InputImage
    from vaetools.model.vae import Vae

ROWS = 32
"""Latents that are drawn: those with the largest KL; further ones hardly do anything."""

PRIOR_SAMPLES = 64
UNCERTAIN = 8
"""Images whose uncertainty is drawn."""


def look(
    model: Vae,
    settings: Settings,
    *,
    data: Sequence[Path] = (),
    reference: Sequence[Path] = (),
    image: Path | None = None,
    failed: Callable[[VaetoolsError], object] = lambda _: None,
    tell: Callable[[str, int, int], object] = lambda *_: None,
) -> Findings:
    """Look inside a model.

    Args:
        data: files of images to look at it with; IDX files count as many images.
        reference: files of images that it should know.
        image: an image to move the latents of, instead of the mean of the prior.
        failed: told of each file that cannot be used.
        tell: told what is being done, how much of it is done, and of how much.

    Raises:
        InputError: no image of the data, or of the reference, can be used; or `image` cannot.
        ModelError: the model is broken.
    """
    return _Look(model, settings, failed, tell).run(data, reference, image)


class _Look:
    def __init__(
        self,
        model: Vae,
        settings: Settings,
        failed: Callable[[VaetoolsError], object],
        tell: Callable[[str, int, int], object],
    ) -> None:
        binary = settings.binarise and model.manifest.likelihood.kind == "bernoulli"
        self.model, self.settings = model, settings
        self._failed, self._tell = failed, tell
        self.findings = Findings(model, settings, binary)
        self._shown: list[InputImage] = []

    def run(self, data: Sequence[Path], reference: Sequence[Path], image: Path | None) -> Findings:
        # First, because an image that cannot be used shall not cost minutes.
        original = None if image is None else self._read(image)
        if data:
            self._score(data)
            self._compare(reference)
            self._uncertainty()
        self._effects()
        self._traverse(original)
        self._sample_prior()
        self.findings.unknown = explain(self.findings)
        return self.findings

    def _read(self, file: Path) -> InputImage:
        return self._as_seen(read_input(self.model, file, resize=self.settings.resize))

    def _as_seen(self, original: InputImage) -> InputImage:
        """The image as the model is shown it: black and white where that is wanted."""
        if not self.findings.binary:
            return original
        rng = self.settings.rng(f"black and white of {Path(original.name).name}")
        grey = self.model.manifest.image.channels == 1
        shown = binarise(original.rgb.mean(axis=2, keepdims=True) if grey else original.rgb, rng)
        rgb = np.broadcast_to(shown, original.rgb.shape)
        return replace(original, rgb=rgb, tensor=self.model.tensor(rgb))

    def _source(self, files: Sequence[Path], purpose: str) -> ImageSource:
        return ImageSource(
            self.model,
            files,
            limit=self.settings.limit,
            rng=self.settings.rng(f"choice of {purpose}"),
            resize=self.settings.resize,
            failed=self._fail,
        )

    def _fail(self, error: VaetoolsError) -> None:
        self.findings.failures.append(error)
        self._failed(error)

    def _scorer(self, purpose: str) -> Scorer:
        rng = self.settings.rng(f"scores of {purpose}")
        return Scorer(self.model, rng, self.settings.samples, self.findings.binary)

    def _score(self, files: Sequence[Path]) -> None:
        source = self._source(files, "data")
        scorer = self._scorer("data")
        self.findings.found = source.found
        shown = set(np.linspace(0, len(source) - 1, STARTS).astype(int))
        for batch in self._batches(source, "images"):
            scores, decoded = scorer.score(*_stacked(batch))
            for original, score, image in zip(batch, scores, decoded, strict=True):
                if self.findings.used in shown:
                    self._shown.append(self._as_seen(original))
                height, width = original.rgb.shape[:2]
                result = image.transpose(1, 2, 0)[:height, :width]
                small = thumbnail(original.rgb), thumbnail(result)
                self.findings.scored.append(Scored(original.name, score, *small))
        self.findings.statistics = scorer.latents.result()

    def _batches(self, source: ImageSource, what: str) -> Iterator[list[InputImage]]:
        """The batches of a source, with progress. Raises `InputError` if there are none."""
        used = 0
        for batch in source.batches():
            self._tell(what, used, len(source))
            yield batch
            used += len(batch)
        if not used:
            raise InputError(f"none of the {what} can be used with model {self.model.id}")

    def _compare(self, files: Sequence[Path]) -> None:
        """Compare all scores with those of the files, or of the model's own draws."""
        if files:
            kind, scores = HELD, self._scores_of(files)
        elif bases.has_prior(self.model):
            kind, scores = DRAWN, self._scores_of_draws()
        else:
            return
        reference = self.findings.reference = Reference(kind, scores)
        self.findings.scored = [
            replace(one, comparison=reference.compare(one.score)) for one in self.findings.scored
        ]

    def _scores_of(self, files: Sequence[Path]) -> list[Score]:
        source = self._source(files, "reference")
        scorer = self._scorer("reference")
        scores = []
        for batch in self._batches(source, "reference images"):
            scores += scorer.score(*_stacked(batch))[0]
        return scores

    def _scores_of_draws(self) -> list[Score]:
        rng = self.settings.rng("draws")
        scorer = self._scorer("draws")
        shapes = Counter(one.tensor.shape[2:] for one in self._shown)
        height, width = shapes.most_common(1)[0][0]  # most images look like this
        step = min(calls_at_once(self.model), 32)
        scores: list[Score] = []
        while len(scores) < DRAWS:
            self._tell("draws of the model", len(scores), DRAWS)
            count = min(step, DRAWS - len(scores))
            latents = bases.prior_latents(self.model, count, rng, (height, width))
            images = draw_images(self.model, latents, rng)
            scores += scorer.score(images, [(height, width)] * count)[0]
        return scores

    def _uncertainty(self) -> None:
        if not has_posterior(self.model):
            return
        rng = self.settings.rng("uncertainty")
        chosen = self._shown[:: max(1, len(self._shown) // UNCERTAIN)][:UNCERTAIN]
        for original in chosen:
            rgb = self._middle(original)
            posterior = self.model.encode(rgb)
            samples = max(self.settings.samples, FEWEST_DRAWS)
            deviation = uncertainty(self.model, posterior, rng, samples=samples)
            result = self.model.decode(posterior.mode())
            self.findings.uncertain.append(Uncertain(original.name, rgb, result, deviation))

    def _middle(self, original: InputImage) -> np.ndarray:
        fixed = self.model.manifest.size.fixed
        return original.rgb if fixed else central(original.rgb, bases.SIDE)

    def _effects(self) -> None:
        starts, (height, width) = self._starts()
        if starts is None:
            self.findings.order = list(range(self.model.manifest.latent.channels))
            return
        steps = bases.steps(self.model, self.findings.statistics, starts.shape[1])
        if steps is not None:
            maps: list[np.ndarray] = []
            chosen = starts[: affordable(len(steps), height * width)]
            for one in effects(self.model, chosen, steps):
                self._tell("effects of latents", len(maps), len(steps))
                maps.append(one)
            self.findings.effects = np.stack(maps)[:, :height, :width]
        self.findings.order = self._order(starts.shape[1])

    def _starts(self) -> tuple[np.ndarray | None, tuple[int, int]]:
        """Latents to move from, and the size of their images."""
        if self._shown:
            latents = [bases.image_base(self.model, one).latent for one in self._shown]
            return bases.alike(latents), (latents[0].height, latents[0].width)
        size = bases.prior_size(self.model)
        if not bases.has_prior(self.model):
            return None, size
        return bases.prior_latents(self.model, STARTS, self.settings.rng("starts"), size), size

    def _order(self, channels: int) -> list[int]:
        """Latents by KL, else by effect, else by variance; the largest first."""
        statistics, maps = self.findings.statistics, self.findings.effects
        figures = [
            None if statistics is None else statistics.kl,
            None if maps is None else maps.mean(axis=(1, 2)),
            None if statistics is None else statistics.variance,
        ]
        known = next((one for one in figures if one is not None), np.zeros(channels))
        return [int(i) for i in np.argsort(-known, kind="stable")]

    def _traverse(self, original: InputImage | None) -> None:
        if original is None and not bases.has_prior(self.model) and self._shown:
            original = self._shown[0]
        if original is not None:
            base = bases.image_base(self.model, original)
        elif bases.has_prior(self.model):
            base = bases.prior_base(self.model)
        else:
            return
        channels = base.latent.values.shape[1]
        steps = bases.steps(self.model, self.findings.statistics, channels)
        if steps is None:
            return
        order = self.findings.order[:ROWS]
        images: list[np.ndarray] = []
        for row in traversal(self.model, base.latent, steps, order):
            self._tell("traversal", len(images), len(order))
            images.append(row)
        self.findings.rows = Rows(base.around, order, images)

    def _sample_prior(self) -> None:
        if not bases.has_prior(self.model):
            return
        height, width = bases.prior_size(self.model)
        rng = self.settings.rng("prior samples")
        latents = bases.prior_latents(self.model, PRIOR_SAMPLES, rng, (height, width))
        images = np.concatenate(list(decode_all(self.model, latents)))
        self.findings.samples = images.transpose(0, 2, 3, 1)[:, :height, :width]


def _stacked(batch: list[InputImage]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """(N, C, H, W), and the sizes before padding."""
    sizes = [(one.rgb.shape[0], one.rgb.shape[1]) for one in batch]
    return np.concatenate([one.tensor for one in batch]), sizes
