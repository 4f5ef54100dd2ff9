"""The augmentation inside kornia itself."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from tests.augmentation.conftest import open_space
from vaetools.augmentation import LatentJitter
from vaetools.errors import ImageValueError
from vaetools.testing import gradient, write_tiny_vae

torch = pytest.importorskip("torch")
K = pytest.importorskip("kornia.augmentation")

from vaetools.kornia import JitterAugmentation  # noqa: E402

RGB = np.ascontiguousarray(gradient()[:, :, ::-1].transpose(2, 0, 1)).astype(np.float32) / 255
BATCH = torch.from_numpy(np.stack([RGB, RGB[:, ::-1], RGB[:, :, ::-1], RGB]))


@pytest.fixture(scope="module")
def jitter(tmp_path_factory: pytest.TempPathFactory) -> LatentJitter:
    folder = write_tiny_vae(tmp_path_factory.mktemp("kornia") / "tiny", deviation=0.05)
    return LatentJitter(open_space(folder), 1.0)


def seeded(call: Any, *inputs: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return call(*inputs)


def changed(out: torch.Tensor) -> list[bool]:
    return [not torch.equal(one, other) for one, other in zip(out, BATCH, strict=True)]


def test_each_image_draws_its_own_numbers(jitter: LatentJitter) -> None:
    augment = JitterAugmentation(jitter, p=1.0)
    out = seeded(augment, BATCH)
    assert out.shape == BATCH.shape and out.dtype == BATCH.dtype
    assert changed(out) == [True] * 4
    assert not torch.equal(out[0], out[3])  # of the same image
    assert torch.equal(seeded(augment, BATCH), out)
    assert torch.equal(augment(BATCH, params=augment._params), out)
    assert not torch.equal(augment(BATCH), out)
    shared = JitterAugmentation(jitter, p=1.0, same_on_batch=True)(BATCH)
    assert torch.equal(shared[0], shared[3])


def test_the_probability_is_per_image(jitter: LatentJitter) -> None:
    augment = JitterAugmentation(jitter, p=0.5)
    for seed in range(4):
        out = seeded(augment, BATCH, seed=seed)
        assert changed(out) == (augment._params["batch_prob"] > 0.5).tolist()
    assert torch.equal(JitterAugmentation(jitter, p=0.0)(BATCH), BATCH)


def test_masks_boxes_and_points_stay(jitter: LatentJitter) -> None:
    augment = K.AugmentationSequential(
        JitterAugmentation(jitter, p=1.0), data_keys=["input", "mask", "bbox_xyxy", "keypoints"]
    )
    mask = (BATCH[:, :1] > 0.5).float()
    boxes = torch.tensor([[[1.0, 2.0, 30.0, 40.0]]] * 4)
    points = torch.tensor([[[5.0, 6.0]]] * 4)
    out = augment(BATCH, mask, boxes, points)
    assert changed(out[0]) == [True] * 4
    assert all(map(torch.equal, out[1:], (mask, boxes, points)))
    (child,) = augment.children()
    assert torch.equal(child.transform_matrix, torch.eye(3).expand(4, 3, 3))


def test_with_other_augmentations_and_in_pickles(jitter: LatentJitter) -> None:
    one = JitterAugmentation(jitter, p=1.0, keepdim=True)
    assert one(BATCH[0]).shape == BATCH[0].shape
    chain = K.ImageSequential(K.RandomHorizontalFlip(p=1.0), one)
    assert chain(BATCH).shape == BATCH.shape
    again = pickle.loads(pickle.dumps(one))
    assert torch.equal(seeded(again, BATCH), seeded(one, BATCH))
    assert repr(one).startswith("JitterAugmentation(LatentJitter(")


def test_what_is_no_image_is_one_line(jitter: LatentJitter) -> None:
    for bad in (torch.zeros(1, 2, 8, 8), BATCH * 2, BATCH.double()):
        with pytest.raises(ImageValueError):
            JitterAugmentation(jitter, p=1.0)(bad)
