"""The transform inside torchvision itself; skipped where its wheel does not fit that of torch."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.augmentation.conftest import open_space
from vaetools.augmentation import LatentJitter
from vaetools.errors import ImageValueError
from vaetools.testing import gradient, write_tiny_vae

torch = pytest.importorskip("torch")
# RuntimeError: its wheel is for another build of torch, such as that with CUDA.
pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))

from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

from vaetools.torchvision import JitterTransform  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = torch.from_numpy(np.ascontiguousarray(gradient()[:, :, ::-1].transpose(2, 0, 1)))


@pytest.fixture(scope="module")
def transform(tmp_path_factory: pytest.TempPathFactory) -> JitterTransform:
    folder: Path = write_tiny_vae(tmp_path_factory.mktemp("vision") / "tiny", deviation=0.05)
    return JitterTransform(LatentJitter(open_space(folder), 1.0))


def seeded(call: Any, *inputs: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return call(*inputs)


def targets() -> dict[str, Any]:
    return {
        "boxes": tv_tensors.BoundingBoxes([[1, 2, 30, 40]], format="XYXY", canvas_size=(48, 64)),
        "mask": tv_tensors.Mask(torch.ones(48, 64, dtype=torch.uint8)),
        "label": torch.tensor(3),
        "name": "a.png",
    }


@pytest.mark.parametrize("kind", ["image", "tensor", "float", "pillow", "grey", "batch"])
def test_images_change_and_targets_pass(transform: JitterTransform, kind: str) -> None:
    image = {
        "image": tv_tensors.Image(PIXELS),
        "tensor": PIXELS,
        "float": tv_tensors.Image(PIXELS / 255),
        "pillow": Image.fromarray(PIXELS.permute(1, 2, 0).numpy()),
        "grey": tv_tensors.Image(PIXELS[:1]),
        "batch": tv_tensors.Image(torch.stack([PIXELS, PIXELS])),
    }[kind]
    given = targets()
    out, passed = transform(image, given)
    assert type(out) is type(image)
    assert {name: id(value) for name, value in passed.items()} == {
        name: id(value) for name, value in given.items()
    }
    before, after = (np.asarray(x) for x in (image, out))
    assert (after.shape, after.dtype) == (before.shape, before.dtype)
    assert not np.array_equal(after, before)
    if kind == "batch":
        assert np.array_equal(after[0], after[1])


def test_the_generator_of_torch_decides(transform: JitterTransform) -> None:
    image = tv_tensors.Image(PIXELS)
    one, same, other = (seeded(transform, image, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert not torch.equal(transform(image), transform(image))
    left, right = transform(image, tv_tensors.Image(PIXELS))
    assert torch.equal(left, right)


def test_it_fits_into_the_containers_of_torchvision(transform: JitterTransform) -> None:
    chain = v2.Compose(
        [v2.RandomHorizontalFlip(p=1), transform, v2.ToDtype(torch.float32, scale=True)]
    )
    image, given = chain(tv_tensors.Image(PIXELS), targets())
    assert image.dtype == torch.float32 and image.shape == PIXELS.shape
    assert given["boxes"].tolist() == [[34, 2, 63, 40]]
    never = v2.RandomApply([transform], p=0.0)
    assert torch.equal(never(tv_tensors.Image(PIXELS)), PIXELS)
    assert repr(transform).startswith("JitterTransform(LatentJitter(")
    for again in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)):
        assert torch.equal(*(seeded(t, tv_tensors.Image(PIXELS)) for t in (again, transform)))


def test_what_is_no_image_is_one_line(transform: JitterTransform) -> None:
    with pytest.raises(ImageValueError, match="a video is not an image; transform its frames"):
        transform(tv_tensors.Video(torch.zeros(2, 3, 8, 8)))
    for bad in (torch.zeros(2, 8, 8), torch.zeros(3, 8, 8, dtype=torch.float64), PIXELS + 0.5):
        with pytest.raises(ImageValueError):
            transform(tv_tensors.Image(bad))
