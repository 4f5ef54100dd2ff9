"""`vaetools view`: what its server answers, when it ends, and what the command prints."""

from __future__ import annotations

import http.client
import shutil
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

import vaetools.web.view as module
from tests.codec.miniature import GOLDEN, STREAMS
from vaetools.cli import main
from vaetools.errors import NothingMatchedError, UsageError
from vaetools.hub import Hub
from vaetools.image import Image, decode_image, encode_image
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient
from vaetools.web.shown import Images, described, files_named
from vaetools.web.view import View

Opened = Callable[[], View]


@pytest.fixture(scope="module")
def hub() -> Hub:
    return Hub(PluginHost(installed=False), [GOLDEN], device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, stream in (("a.png.vae", "grey"), ("b.vae", "float"), ("c<b>.png.vae", "alpha")):
        shutil.copy(STREAMS / f"{stream}.vae", tmp_path / name)
    return tmp_path


@pytest.fixture
def opened(folder: Path, hub: Hub) -> Iterator[Callable[[], View]]:
    with ExitStack() as stack:

        def open_view() -> View:
            view = View(Images([described(path) for path in files_named([folder])], hub))
            stack.callback(view.close)
            return view

        yield open_view


def asked(view: View, rest: str, host: str = "") -> tuple[HTTPStatus, str, bytes]:
    place = urlsplit(view.address)
    status, (kind, data) = view.answer(host or place.netloc, place.path + rest)
    return status, kind, data


def test_the_page_lists_all_files_and_escapes_their_names(opened: Opened) -> None:
    status, kind, data = asked(opened(), "")
    text = data.decode()
    assert status == 200 and kind.startswith("text/html")
    assert "<b>.png" not in text and "c&lt;b&gt;.png.vae" in text
    assert text.count('<a class="shot"') == 3 and "//" not in text.replace("<!DOCTYPE", "")


@pytest.mark.parametrize("name", ["base.css", "viewer.css", "images.css", "viewer.js", "view.js"])
def test_what_the_page_loads_is_there(name: str, opened: Opened) -> None:
    status, kind, data = asked(opened(), name)
    assert status == 200 and kind.split(";")[0].startswith("text/") and data


@pytest.mark.parametrize("number", range(3))
def test_images_come_whole_and_small(number: int, folder: Path, opened: Opened) -> None:
    view = opened()
    whole, small = (asked(view, f"{number}/decoded{part}") for part in ("", "-small"))
    info = described(files_named([folder])[number]).info
    assert info is not None and whole[:2] == (200, "image/png")
    assert decode_image(whole[2]).pixels.shape[:2] == (info.height, info.width)
    assert small[0] == 200 and max(decode_image(small[2]).pixels.shape[:2]) <= 192


def test_a_float_image_is_saved_as_decompress_writes_it(
    folder: Path, hub: Hub, opened: Opened
) -> None:
    data = asked(opened(), "1/decoded")[2]
    image = hub.preview(folder / "b.vae")
    assert image is not None and image.pixels.dtype == np.float32
    assert data == encode_image(image, "png") and decode_image(data).depth == 16


def test_an_original_next_to_the_file_is_shown_if_it_has_the_same_size(
    folder: Path, opened: Opened
) -> None:
    info = described(folder / "a.png.vae").info
    assert info is not None
    for size, wanted in (((info.height, info.width), 200), ((5, 7), 422)):
        pixels = np.zeros((*size, 3), np.uint8)
        (folder / "a.png").write_bytes(encode_image(Image(pixels), "png"))
        view = opened()
        assert asked(view, "")[2].decode().count('alt="original"') == 1
        assert asked(view, "0/original-small")[0] == wanted


def test_a_damaged_file_is_one_line_on_the_page(folder: Path, opened: Opened) -> None:
    whole = (folder / "a.png.vae").read_bytes()
    (folder / "a.png.vae").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # past the header
    (folder / "b.vae").write_bytes(b"not")
    view = opened()
    status, kind, data = asked(view, "0/decoded-small")
    assert (status, kind.split(";")[0]) == (422, "text/plain") and data.startswith(b"E032 ")
    assert "E030 " in asked(view, "")[2].decode()


@pytest.mark.parametrize(
    "rest", ["3/decoded", "0/other", "../x", "page.html", "-1/decoded", "9" * 99]
)
def test_other_paths_are_not_found(rest: str, opened: Opened) -> None:
    assert asked(opened(), rest)[0] == 404


def test_without_the_token_or_with_another_host_nothing_is_served(opened: Opened) -> None:
    view = opened()
    place = urlsplit(view.address)
    assert view.answer(place.netloc, "/")[0] == 403
    assert view.answer(place.netloc, f"/{'x' * 22}/")[0] == 403
    for host in ("evil.example", f"evil.example:{place.port}", "127.0.0.1", ""):
        assert view.answer(host, place.path)[0] == 421
        assert not view.is_beat(host, f"{place.path}open")


def test_the_address_for_the_browser_counts_once(opened: Opened) -> None:
    view = opened()
    place = urlsplit(view.once)
    assert urlsplit(view.address).path not in view.once
    assert view.answer("evil.example", place.path)[0] == 421
    status, (kind, data) = view.answer(place.netloc, place.path)
    assert (status, kind.split(";")[0]) == (200, "text/html")
    assert f"url={urlsplit(view.address).path}" in data.decode()
    assert view.answer(place.netloc, place.path)[0] == 403
    assert asked(view, "")[0] == 200


def test_the_browser_is_started_without_the_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[str] = []
    monkeypatch.setattr(webbrowser, "open", found.append)
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with pytest.raises(SystemExit):
        main(["view", str(folder / "a.png.vae"), "--models-dir", str(GOLDEN)])
    token = urlsplit(capsys.readouterr().out.splitlines()[0]).path
    assert len(found) == 1 and token not in found[0]


def test_the_server_ends_when_its_page_is_closed(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.0)
    monkeypatch.setattr(module, "_BEAT", 0.02)
    with opened() as view:
        place = urlsplit(view.address)
        page = http.client.HTTPConnection("127.0.0.1", place.port or 0, timeout=10)
        page.request("GET", place.path)
        response = page.getresponse()
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        response.read()
        beat = http.client.HTTPConnection("127.0.0.1", place.port or 0, timeout=10)
        beat.request("GET", f"{place.path}open")
        stream = beat.getresponse()
        assert stream.read(3) == b":\n\n"
        stream.close()
        beat.close()
        assert view.wait()


def test_the_server_does_not_wait_for_ever_for_a_page(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    start = time.monotonic()
    with opened() as view:
        assert not view.wait()
    assert time.monotonic() - start < 10


def test_names_that_match_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        files_named([tmp_path / "none"])
    with pytest.raises(NothingMatchedError):
        files_named([tmp_path])


def test_if_no_file_can_be_shown_the_command_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.vae").write_bytes(encode_image(Image(gradient()), "png"))
    with pytest.raises(SystemExit) as caught:
        main(["view", str(tmp_path / "a.vae")])
    (line,) = capsys.readouterr().err.splitlines()
    assert caught.value.code == 1
    assert line == f"E030 {tmp_path}/a.vae: it is not a .vae file" or line.startswith("E030 ")
