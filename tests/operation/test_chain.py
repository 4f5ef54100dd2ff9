"""Chains: operations one after the other are one operation, for arrays, files and the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.paths import PLUGINS
from tests.torture import exif_block
from vaetools import hookimpl
from vaetools.errors import OptionError, PluginError, UsageError
from vaetools.hub import Hub, fingerprint
from vaetools.image import Image, encode_image, read_image
from vaetools.operation import NoOptions, Operation
from vaetools.operation.chain import Chain, StepSpec, read_chain
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def hub(tiny_models: Path) -> Hub:
    """Small operations, and the built-in ones with a tiny VAE."""
    host = PluginHost(installed=False, folders=[PLUGINS])
    assert not host.broken
    return Hub(host, [tiny_models], device="cpu", threads=1)


def tree(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".vaetools")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    image = Image(gradient(), exif=exif_block(1))
    (folder / "a.png").write_bytes(encode_image(image, "png"))
    (folder / "deep" / "b.png").write_bytes(encode_image(Image(gradient(30, 20)), "png"))
    return folder


def test_a_chain_of_arrays_is_one_call_after_the_other(hub: Hub, photo: np.ndarray) -> None:
    steps = [hub.op("dust", amount=0.3, seed=1), hub.op("reconstruct"), hub.op("pack", level=9)]
    one_by_one = photo
    for step in steps:
        one_by_one = step(one_by_one)
    before = photo.copy()
    assert hub.chain(*steps)(photo) == one_by_one
    assert np.array_equal(photo, before)
    rgb = hub.chain("negative", "negative", channel_order="rgb")
    assert np.array_equal(rgb(photo), photo)
    both = hub.op("pack,unpack")(photo)
    assert np.array_equal(both, photo)


@pytest.mark.parametrize("chain", ["dust,dust", "pair,dust,pack", "pack,unpack,dust,pair"])
def test_files_are_those_of_one_run_after_the_other(
    hub: Hub, photos: Path, tmp_path: Path, chain: str
) -> None:
    """The same names and the same bytes, noise included, as lossless files in between give."""
    place = photos
    for number, op in enumerate(chain.split(",")):
        hub.map(op, place, out=tmp_path / f"step{number}")
        place = tmp_path / f"step{number}"
    result = hub.map(chain, photos, out=tmp_path / "out")
    assert result.exit_code == 0
    assert {record.op for record in result.records} == {chain}
    assert tree(tmp_path / "out") == tree(place)


def test_what_belongs_to_a_picture_goes_through(hub: Hub, photos: Path, tmp_path: Path) -> None:
    hub.map("negative,dust", photos / "a.png", out=tmp_path / "out")
    assert read_image(tmp_path / "out" / "a.png").exif == read_image(photos / "a.png").exif
    hub.map("negative,dust", photos / "a.png", out=tmp_path / "bare", strip="all")
    assert read_image(tmp_path / "bare" / "a.png").exif is None


def test_a_run_is_resumed_and_other_options_are_other_work(
    hub: Hub, photos: Path, tmp_path: Path
) -> None:
    def run(amount: float = 0.1, level: int = 6) -> dict[str, int]:
        chain = hub.chain(hub.op("dust", amount=amount), hub.op("pack", level=level))
        return hub.map(chain, photos, out=tmp_path / "out").counts

    assert run()["done"] == 2
    assert run()["skipped"] == 2
    assert run(level=7)["done"] == 2
    assert run(amount=0.2, level=7)["done"] == 2
    (tmp_path / "out" / "a.png.pak").unlink()
    assert run(amount=0.2, level=7)["done"] == 1


def test_the_fingerprint_knows_steps_order_options_and_models(hub: Hub) -> None:
    def of(*steps: object) -> str:
        return fingerprint(hub.chain(*steps).operation)  # type: ignore[arg-type]

    same = of("dust", "negative")
    assert same == of(hub.op("dust", amount=0.1), "negative") == of("dust,negative")
    others = [
        of("dust"),
        of("negative", "dust"),
        of("dust", "negative", "negative"),
        of(hub.op("dust", amount=0.2), "negative"),
        of("dust", "reconstruct"),
        of("dust", hub.op("reconstruct", sample=True)),
    ]
    assert len({same, *others}) == 7
    model = hub.registry.open("tiny-vae")
    model.manifest = replace(model.manifest, version="2")
    assert of("dust", "reconstruct") != others[4]


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        (
            "pack,negative",
            "negative cannot follow pack, which gives a .pak file: it takes an image",
        ),
        ("negative,unpack", r"unpack cannot follow negative, which gives an image: .*\.pak"),
        ("dust,generate", "generate takes nothing, so it can only come first"),
        ("negative,nonsense", "no operation 'nonsense'"),
        ("negative,,pack", "a step without a name"),
    ],
)
def test_what_cannot_follow_is_refused_before_any_work(
    hub: Hub, photos: Path, tmp_path: Path, chain: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        hub.map(chain, photos, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bytes_are_taken_by_their_name(codec_hub: Hub, photo: np.ndarray) -> None:
    there_and_back = codec_hub.chain(codec_hub.op("compress", quality=20), "decompress")
    assert np.array_equal(
        there_and_back(photo), codec_hub.decompress(codec_hub.compress(photo, quality=20))
    )
    with pytest.raises(UsageError, match=r"compress cannot follow compress, .* a \.vae file"):
        codec_hub.op("compress,compress")


def test_a_chain_may_begin_with_nothing(hub: Hub, tmp_path: Path) -> None:
    drawn = hub.chain(hub.op("generate", n=3, height=8, width=8), "pack")
    assert hub.map(drawn, (), out=tmp_path / "out").counts["done"] == 3
    assert sorted(tree(tmp_path / "out")) == ["0001.png.pak", "0002.png.pak", "0003.png.pak"]
    assert drawn() == [data for _, data in sorted(tree(tmp_path / "out").items())]
    wrong = hub.chain(hub.op("generate", n=3, height=8, width=8), "unpack")
    with pytest.raises(UsageError, match="unpack cannot follow generate"):
        hub.map(wrong, (), out=tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_a_list_is_a_chain_everywhere(hub: Hub) -> None:
    step = hub.op(["dust", "pack"])
    assert [part.name for part in step.operation.steps] == ["dust", "pack"]
    with pytest.raises(UsageError, match="options belong to one of the steps"):
        hub.op(["dust", "pack"], amount=1)


def test_options_belong_to_one_step(hub: Hub) -> None:
    with pytest.raises(UsageError, match="options belong to one of the steps"):
        hub.op("dust,pack", amount=1)
    with pytest.raises(UsageError, match="options belong to one of the steps"):
        hub.map(hub.op("dust"), (), out="out", amount=1)
    with pytest.raises(UsageError, match="at least one operation"):
        hub.chain()


def test_chains_are_taken_apart_and_one_alone_stays_itself(hub: Hub) -> None:
    chain = hub.chain("dust,negative", hub.chain("negative", "pack"))
    assert isinstance(chain.operation, Chain)
    assert [step.name for step in chain.operation.steps] == ["dust", "negative", "negative", "pack"]
    alone = hub.op("dust")
    assert hub.chain(alone).operation is alone.operation


def test_limits_reach_every_step(hub: Hub, tmp_path: Path) -> None:
    chain = hub.chain(hub.op("generate", n=1, height=8, width=8), "pack")
    with pytest.raises(OptionError, match="over the limit"):
        hub.map(chain, (), out=tmp_path / "out", max_pixels=10)


def test_results_of_the_wrong_kind_are_an_error_of_the_plugin(hub: Hub, photo: np.ndarray) -> None:
    class Liar(Operation):
        name = "liar"

        def process(self, item: Image) -> bytes:
            return b"not the picture that its name promises"

    class Plugin:
        @hookimpl
        def register_operations(self) -> list[type[Operation]]:
            return [Liar]

    hub.register(Plugin())
    with pytest.raises(PluginError, match="negative takes an image, not bytes"):
        hub.op("liar,negative")(photo)


class Keeper(Operation):
    """Remembers the source files that it was given with the pictures."""

    name = "keeper"
    wants_encoded = True

    def __init__(self) -> None:
        super().__init__(None, NoOptions())
        self.seen: list[bytes | None] = []

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        return (source,)

    def process(self, item: Image) -> Image:
        self.seen.append(item.encoded)
        return item


def test_only_the_first_step_sees_the_source_file(hub: Hub, photos: Path, tmp_path: Path) -> None:
    """A later one would take the source for what it was given."""
    from vaetools.operation.step import Step

    first, second = Keeper(), Keeper()
    hub.map([Step(first), Step(second)], photos / "a.png", out=tmp_path / "out")
    assert first.seen == [(photos / "a.png").read_bytes()]
    assert second.seen == [None]


def test_a_pipeline_file(hub: Hub, photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text(
        '[[step]]\nop = "reconstruct"\nmodel = "tiny-vae"\n\n[[step]]\nop = "pack"\nlevel = 9\n'
    )
    assert read_chain(path) == [
        StepSpec("reconstruct", "tiny-vae"), StepSpec("pack", None, {"level": 9})
    ]  # fmt: skip
    hub.map(path, photos, out=tmp_path / "out")
    steps = hub.chain(hub.op("reconstruct"), hub.op("pack", level=9))
    hub.map(steps, photos, out=tmp_path / "same")
    assert tree(tmp_path / "out") == tree(tmp_path / "same")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no steps"),
        ("step = []", "has no steps"),
        ("step = 3", "step = 3 is not an array"),
        ("step = [3]", r"step\[0\] = 3 is not a table"),
        ("[[step]]\n", r"key step\[0\]\.op is missing"),
        ('[[step]]\nop = ""', r"step\[0\]\.op = '' is not the name of an operation"),
        ('[[step]]\nop = "dust"\nmodel = 3', r"step\[0\]\.model = 3 is not a string"),
        ('[[steps]]\nop = "dust"', "unknown key steps; known keys: step"),
        ("[[step", "is not TOML"),
    ],
)
def test_a_wrong_pipeline_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        read_chain(path)
    assert str(path) in caught.value.line
    with pytest.raises(UsageError, match="cannot be read"):
        read_chain(tmp_path / "none.toml")
