import numpy as np
import pytest
import vaetools_anomaly


@pytest.fixture
def hub(hub):
    hub.register(vaetools_anomaly)
    return hub


@pytest.mark.parametrize("by", ["kl", "residual"])
def test_what_the_model_does_not_know_is_hot(hub, photo, by):
    grey = np.full_like(photo, 128)
    grey[16:32, 32:48] = np.indices((16, 16)).sum(axis=0)[:, :, None] % 2 * 255
    if by == "kl":
        grey[16:32, 32:48] = 255  # far from 0, the middle of the prior
    heat = hub.op("anomaly", by=by)(grey)
    assert (heat.dtype, heat.shape) == (np.uint16, photo.shape[:2])
    assert heat[18:30, 34:46].min() > heat[:, :24].max()


def test_an_overlay_has_the_type_of_the_image(hub, photo):
    shown = hub.op("anomaly", show="overlay")(photo)
    assert (shown.dtype, shown.shape) == (photo.dtype, photo.shape)
    assert not np.array_equal(shown, photo)
