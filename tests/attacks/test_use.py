"""Wrong models that are found only when they are used, and what the command line makes of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.attacks import hostile
from tests.attacks.hostile import data_of, floats, install, node
from vaetools.cli import main
from vaetools.errors import EXIT_ENVIRONMENT, ModelBrokenError, ModelError
from vaetools.model.manifest import FILE_NAME
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.model.vae import Vae
from vaetools.testing import TINY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def vae_in(models: Path) -> Vae:
    model = ModelRegistry([models], lambda: Runtime("cpu", threads=1)).open(TINY)
    assert isinstance(model, Vae)
    return model


@pytest.mark.parametrize(
    ("build", "said"),
    [(hostile.loop, "operator 'Loop' is not allowed"), (hostile.weights(np.nan), "not finite")],
)
def test_verify_names_the_graph(
    tiny_models: Path,
    build: Callable[[], bytes],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = install(tiny_models, build())
    with pytest.raises(SystemExit) as caught:
        main(["models", "verify", TINY, "--models-dir", str(tiny_models)])
    out, err = capsys.readouterr()
    assert caught.value.code == EXIT_ENVIRONMENT
    assert out == "" and len(err.splitlines()) == 1
    assert err.startswith(f"{ModelBrokenError.code} {path}: ") and said in err


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Resize", "latent,,s", "image")],  # twice as large, not four times
        [node("Shape", "latent", "n"), node("Resize", "latent,,,n", "image")],
    ],
)
def test_a_decoder_of_another_scale_is_noticed(tiny_models: Path, nodes: list[object]) -> None:
    install(tiny_models, data_of(nodes, [floats("s", 1, 1, 2, 2)]))
    vae = vae_in(tiny_models)
    with pytest.raises(ModelBrokenError, match=r"which does not match its manifest") as caught:
        vae.decode_batch(np.zeros((1, 3, 4, 5), np.float32))
    assert re.search(r"made shape \(1, 3, [48], (5|10)\) of \(1, 3, 4, 5\)", caught.value.line)


def test_a_decoder_that_drops_images_is_noticed(tiny_models: Path) -> None:
    nodes = [node("Resize", "latent,,s", "large"), node("Slice", "large,from,to", "image")]
    constants = [floats("s", 1, 1, 4, 4), hostile.ints("from", 0), hostile.ints("to", 1)]
    free = hostile.value("latent", ["batch", 3, "latent_height", "latent_width"])
    install(tiny_models, data_of(nodes, constants, inputs=[free]))
    vae = vae_in(tiny_models)
    assert vae.decode_batch(np.zeros((1, 3, 4, 5), np.float32))[0].shape == (1, 3, 16, 20)
    with pytest.raises(ModelBrokenError, match="does not match its manifest"):
        vae.decode_batch(np.zeros((2, 3, 4, 5), np.float32))


@pytest.mark.parametrize("height", [4096, 100_000, 10**9, 0, -64])
def test_a_self_test_stays_small(tiny_models: Path, height: int) -> None:
    path = tiny_models / TINY / FILE_NAME
    text = path.read_text()
    for side in ("height", "width"):
        assert f"\n{side} = 64\n" in text
        text = text.replace(f"\n{side} = 64\n", f"\n{side} = {height}\n")
    path.write_text(text)
    with pytest.raises(ModelError) as caught:
        vae_in(tiny_models).verify()
    said = "self-test: 'image' would have" if height == 4096 else "selftest.height = "
    assert said in caught.value.line
