"""The calling conventions of Albumentations and torchvision, alone and with the real packages."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage

from vaetools.augmentation import DictTransform, LatentJitter, LatentSpace, TensorTransform
from vaetools.errors import ImageValueError


@pytest.fixture
def jitter(spatial: LatentSpace) -> LatentJitter:
    return LatentJitter(spatial, 1.0)


@pytest.fixture
def rgb(texture: np.ndarray) -> np.ndarray:
    return (255 * texture).astype(np.uint8)


def test_targets_are_the_same_objects(jitter: LatentJitter, rgb: np.ndarray) -> None:
    targets = {
        "mask": rgb[..., 0] > 99,
        "bboxes": [(1, 2, 30, 40)],
        "keypoints": np.array([[3.0, 4.0]]),
        "anything": object(),
    }
    before = rgb.copy()
    result = DictTransform(jitter)(image=rgb, **targets)
    assert result.keys() == {"image", *targets}
    assert all(result[name] is target for name, target in targets.items())
    assert result["image"].shape == rgb.shape and result["image"].dtype == np.uint8
    assert (result["image"] != rgb).any() and (rgb == before).all()


def test_pixels_are_rgb(jitter: LatentJitter, rgb: np.ndarray) -> None:
    """A red that clips stays in the first channel, whatever the order inside is."""
    red = np.zeros_like(rgb)
    red[..., 0] = 255
    copy = DictTransform(LatentJitter(jitter.space, 0.1))(image=red)["image"]
    assert copy[..., 0].mean() > 240 and copy[..., 2].mean() < 15


def test_draws(jitter: LatentJitter, rgb: np.ndarray) -> None:
    """Anew with each call; with a key and a number the same in any order."""
    one, other = DictTransform(jitter, seed=3), DictTransform(jitter, seed=3)
    calls = [one(image=rgb)["image"] for _ in range(3)]
    assert len({call.tobytes() for call in calls}) == 3
    assert [other(image=rgb)["image"].tobytes() for _ in range(3)] == [c.tobytes() for c in calls]
    named = one(image=rgb, key="a.png", copy=1)["image"]
    other(image=rgb, key="b.png", copy=7)
    assert (other(image=rgb, key="a.png", copy=1)["image"] == named).all()
    assert (DictTransform(jitter, seed=4)(image=rgb, key="a.png", copy=1)["image"] != named).any()


def test_workers_with_the_same_seed_draw_different_noise(jitter: LatentJitter) -> None:
    """As forked workers do: each has a transform of its own and sees other images."""
    images = [np.full((40, 40, 3), value, np.uint8) for value in (100, 101)]
    noise = [
        DictTransform(jitter, seed=0)(image=image)["image"].astype(int) - image for image in images
    ]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.3


@pytest.mark.parametrize("shape", [(33, 50), (33, 50, 1), (33, 50, 3), (33, 50, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_arrays_keep_their_shape_and_dtype(
    jitter: LatentJitter, shape: tuple[int, ...], dtype: type
) -> None:
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[dtype]
    array = (np.random.default_rng(0).random(shape) * top).astype(dtype)
    for copy in (DictTransform(jitter)(image=array)["image"], TensorTransform(jitter)(array)):
        assert copy.shape == shape and copy.dtype == dtype
        if shape[2:] == (4,):
            assert (copy[..., 3] == array[..., 3]).all()


def test_pillow_images(jitter: LatentJitter, rgb: np.ndarray) -> None:
    for mode in ("L", "RGB", "RGBA"):
        image = PillowImage.fromarray(rgb).convert(mode)
        copy, boxes = TensorTransform(jitter)(image, "boxes", key="a", copy=1)
        assert (copy.mode, copy.size, boxes) == (mode, image.size, "boxes")
        array = TensorTransform(jitter)(np.asarray(image), key="a", copy=1)
        assert (np.asarray(copy) == array).all()
    with pytest.raises(ImageValueError, match="mode P"):
        TensorTransform(jitter)(PillowImage.fromarray(rgb).convert("P"))


def test_tensors(jitter: LatentJitter, rgb: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    for planes in (rgb[..., :1], rgb, np.dstack([rgb, rgb[..., :1]])):
        for dtype in (torch.uint8, torch.float32):
            tensor = torch.from_numpy(planes.transpose(2, 0, 1).copy()).to(dtype)
            tensor = tensor / 255 if dtype == torch.float32 else tensor
            copy = TensorTransform(jitter)(tensor, key="a", copy=1)
            assert copy.shape == tensor.shape and copy.dtype == dtype
            expected = TensorTransform(jitter)(
                np.ascontiguousarray(tensor.numpy().transpose(1, 2, 0)), key="a", copy=1
            )
            assert (copy.numpy().transpose(1, 2, 0) == expected).all()
    with pytest.raises(ImageValueError, match="batch"):
        TensorTransform(jitter)(torch.zeros(2, 3, 8, 8))


def test_strength_0_is_the_identity(spatial: LatentSpace, rgb: np.ndarray) -> None:
    still = LatentJitter(spatial, 0.0)
    assert DictTransform(still)(image=rgb)["image"].tobytes() == rgb.tobytes()
    assert TensorTransform(still)(rgb).tobytes() == rgb.tobytes()


@pytest.mark.filterwarnings("ignore")  # of the package, when it is imported
def test_with_albumentations(jitter: LatentJitter, rgb: np.ndarray) -> None:
    albumentations = pytest.importorskip("albumentations")
    mask = (rgb[..., 0] > 99).astype(np.uint8)
    ours = albumentations.Lambda(image=DictTransform(jitter).on_image, p=1.0)
    boxes = albumentations.BboxParams(format="pascal_voc", label_fields=["labels"])
    compose = albumentations.Compose([ours], bbox_params=boxes)
    result = compose(image=rgb, mask=mask, bboxes=[(1, 2, 30, 40)], labels=[5])
    assert (result["image"] != rgb).any() and (result["mask"] == mask).all()
    assert np.array_equal(np.round(result["bboxes"], 3), [(1, 2, 30, 40)])
    assert [*result["labels"]] == [5]


@pytest.mark.filterwarnings("ignore")
def test_with_torchvision(jitter: LatentJitter, rgb: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    v2 = pytest.importorskip("torchvision.transforms.v2")
    compose = v2.Compose([v2.ToImage(), TensorTransform(jitter), v2.ToDtype(torch.float32, True)])
    result = compose(PillowImage.fromarray(rgb))
    assert result.shape == (3, *rgb.shape[:2]) and 0 <= result.min() < result.max() <= 1
