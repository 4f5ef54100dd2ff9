"""The library webdataset reads the tars that a run writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tar.pack import Copies, Packed, Parts, pack
from vaetools.runner import RunSettings, run

MEMBERS = [("./d/a.txt", b"ab"), ("./d/a.cls", b"3"), ("./d/b.txt", b"cd"), ("./d/b.cls", b"4")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its open files
@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        (Packed, [("./d/a", "txt.vae", b"ba", b"3"), ("./d/b", "txt.vae", b"dc", b"4")]),
        (Parts, [("./d/a", "sample1.txt", b"ab2", b"3"), ("./d/b", "sample1.txt", b"cd2", b"4")]),
        (
            Copies,
            [
                ("./d/a_aug1", "txt", b"ab1", b"3"),
                ("./d/a_aug2", "txt", b"ab2", b"3"),
                ("./d/b_aug1", "txt", b"cd1", b"4"),
                ("./d/b_aug2", "txt", b"cd2", b"4"),
            ],
        ),
    ],
    ids=["suffix", "parts", "copies"],
)
def test_webdataset_reads_samples(tmp_path: Path, operation: Any, wanted: Any) -> None:
    wds = pytest.importorskip("webdataset")
    run(operation(), [pack(tmp_path / "x.tar", MEMBERS)], RunSettings(tmp_path / "out.tar"))
    found = list(wds.WebDataset(str(tmp_path / "out.tar"), shardshuffle=False))
    assert len(found) == len(wanted)
    for sample, (key, suffix, data, label) in zip(found, wanted, strict=True):
        assert (sample["__key__"], sample[suffix], sample["cls"]) == (key, data, label)
