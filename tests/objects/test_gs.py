"""Runs over Google Cloud Storage through gcsfs, with a small server that stands for the real one."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from tests.objects.google import GoogleServer
from tests.objects.server import command
from vaetools.image import Image, encode_image
from vaetools.objects.store import StoreError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("s3")]

IN, OUT = "gs://pics/in", "gs://pics/out"


def test_runs() -> None:
    image = encode_image(Image(np.full((32, 32, 3), 90, np.uint8)), "png")
    with GoogleServer("pics") as google:
        settings = {"STORAGE_EMULATOR_HOST": google.url, "FSSPEC_GS_TOKEN": "anon"}
        for name in ("a.png", "b/ü 1+2%.png", "b/c.png"):
            google.write("pics", f"in/{name}", image, {})
        first = command("", "compress", IN, "-o", OUT, **settings)
        assert first.code == 0 and "3 done" in first.err, first.err
        written = google.content("pics", "out/")
        assert written.keys() == {"a.png.vae", "b/ü 1+2%.png.vae", "b/c.png.vae"}
        again = command("", "compress", IN, "-o", OUT, **settings)
        assert again.code == 0 and "3 skipped" in again.err, again.err
        google.write("pics", "in/a.png", image, {})
        google.write("pics", "out/b/c.png.vae", b"mine", {})
        refused = command("", "compress", IN, "-o", OUT, **settings)
        assert refused.code == 2 and f"E081 {OUT}/b/c.png.vae: already exists" in refused.err
        rest = command("", "compress", IN, "-o", OUT, "--on-exists", "skip", **settings)
        assert rest.code == 0 and "1 done, 2 skipped" in rest.err, rest.err
        assert google.content("pics", "out/") == {**written, "b/c.png.vae": b"mine"}
        for source, out, text in (
            ("gs://missing/in", OUT, "E002 gs://missing/in: there is no bucket missing"),
            (IN, "gs://missing/out", "E002 gs://missing/out: there is no bucket missing"),
            ("gs://pics/no", OUT, "E002 gs://pics/no: no such object or folder"),
        ):
            ended = command("", "compress", source, "-o", out, **settings)
            assert ended.code == 2 and ended.err.splitlines()[0].startswith(text), ended.err
            assert len(ended.err.splitlines()) == 1


def test_a_server_that_never_answers_ends_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    gs = pytest.importorskip("vaetools.objects.gs")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setenv("FSSPEC_GS_TOKEN", "anon")
        monkeypatch.setattr(gs, "TIMEOUT", 0.2)
        with pytest.raises(StoreError) as caught:
            gs.open_bucket("pics").list("in/")
    assert caught.value.kind == "unreachable"
    assert caught.value.reason.startswith("no answer")
