"""What requests are refused before anything is done, and forms and schemas from `Options`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import vaetools
from vaetools.cli import main
from vaetools.hub import Hub
from vaetools.operation.options import option_specs
from vaetools.plugin.host import PluginHost

pytest.importorskip("starlette")

from vaetools.web.downloads import zip_names
from vaetools.web.forms import form_of, forms_of
from vaetools.web.guard import Guard
from vaetools.web.limits import HttpError
from vaetools.web.openapi import document
from vaetools.web.pages import page
from vaetools.web.requests import FileOption, wanted
from vaetools.web.uploads import checked_name

ID, OTHER = "0123456789abcdef", "fedcba9876543210"


class Example(vaetools.ImageOperation):
    """Have an option of every kind."""

    name = "example"

    @dataclass(frozen=True)
    class Options:
        amount: float = vaetools.option(0.5, min=0, max=2, help="how much <b>of it</b>", group="g")
        count: int | None = vaetools.option(None, min=1, help="how many", group="g")
        colour: str = vaetools.option("red", choices=("red", "blue"))
        box: tuple[int, int] | None = vaetools.option(None, metavar="X,Y")
        mask: np.ndarray | str | None = vaetools.option(None, words=("alpha",), required=True)
        level: np.ndarray | str | float = vaetools.option("auto", words=("auto",))
        fast: bool = False
        word: str | None = None
        labels: Path | None = vaetools.option(None, metavar="DIR|FILE")
        seed: int = vaetools.option(1234567, max=2**40)
        ratio: float = 0.123456789
        whole: float = 40.0
        size: tuple[int, int] = (64, 48)
        mode: Literal["a", "b"] | None = None
        shape: Literal["a", "b"] | None = "b"
        sure: bool | None = None

    def apply(self, image: np.ndarray) -> np.ndarray:
        return image


@pytest.fixture(scope="module")
def hub() -> Hub:
    made = Hub(PluginHost(installed=False), [])

    class Plugin:
        @vaetools.hookimpl
        def register_operations(self) -> list[type]:
            return [Example]

    made.register(Plugin(), "example")
    return made


def body(**options: Any) -> dict[str, Any]:
    return {"uploads": [ID], "options": {"mask": "alpha", **options}}


def test_the_page_has_a_field_for_every_option_of_every_operation(hub: Hub) -> None:
    text = page("serve.html", forms=forms_of(hub), formats=("same", "png"), version="1")
    for kind in hub.host.operations.values():
        form = text[text.index(f'<fieldset data-op="{kind.name}"') :]
        form = form[: form.find("<fieldset data-op=", 10)]
        for spec in option_specs(kind.Options):
            assert form.count(f'data-name="{spec.name}"') == 1, (kind.name, spec.name)
    assert "How much &lt;b&gt;of it&lt;/b&gt;." in text and "style=" not in text


def test_the_document_describes_every_operation(hub: Hub) -> None:
    api = document(hub)
    json.dumps(api)
    calls = {
        path.rpartition("/")[2] for path in api["paths"] if path.startswith("/api/operations/")
    }
    assert calls == {*hub.host.operations}
    call = api["paths"]["/api/operations/example"]["post"]
    schema = call["requestBody"]["content"]["application/json"]["schema"]["properties"]["options"]
    assert schema["required"] == ["mask"] and schema["additionalProperties"] is False
    assert schema["properties"]["amount"] == {
        "description": "how much <b>of it</b>",
        "type": "number",
        "minimum": 0,
        "maximum": 2,
        "default": 0.5,
    }
    assert schema["properties"]["colour"]["enum"] == ["red", "blue"]


def test_a_request_becomes_checked_options() -> None:
    given = body(amount=1, box=[3, 4], level=7.5, mask={"uploads": [ID], "folder": True})
    found = wanted(Example, {**given, "output": {"to": "png"}})
    assert found.options == {"amount": 1, "box": [3, 4], "level": 7.5}
    assert found.files == {"mask": FileOption((ID,), folder=True)}
    assert found.output == {"to": "png"} and found.uploads == (ID,)


def test_a_file_may_belong_to_an_input() -> None:
    found = wanted(Example, body(mask={"uploads": [OTHER], "inputs": [ID]}))
    assert found.files == {"mask": FileOption((OTHER,), folder=True, inputs=(ID,))}


def test_an_option_for_a_folder_or_a_file_takes_either(hub: Hub) -> None:
    labels = next(f for f in form_of(hub, Example).fields if f.name == "labels")
    assert labels.folder
    for folder in (False, True):
        found = wanted(Example, body(labels={"uploads": [OTHER], "folder": folder}))
        assert found.files == {"labels": FileOption((OTHER,), folder=folder)}


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("seed", {"kind": "whole", "default": "1234567", "maximum": "1099511627776"}),
        ("ratio", {"kind": "number", "default": "0.123456789"}),
        ("whole", {"default": "40", "optional": False}),
        ("count", {"default": "", "minimum": "1", "optional": True}),
        ("size", {"kind": "numbers", "default": "64,48"}),
        ("colour", {"kind": "choice", "default": "red", "blank": False}),
        ("mode", {"kind": "choice", "default": "", "blank": True, "optional": True}),
        ("shape", {"kind": "choice", "default": "b", "blank": True, "optional": True}),
        ("sure", {"kind": "truth", "default": "", "choices": ("true", "false"), "blank": True}),
        ("fast", {"kind": "check", "checked": False}),
        ("mask", {"required": True, "optional": False}),
    ],
)
def test_a_field_has_the_exact_default(name: str, facts: dict[str, Any], hub: Hub) -> None:
    form = form_of(hub, Example)
    fields = {field.name: field for group in (form.fields, *form.groups) for field in group}
    assert {fact: getattr(fields[name], fact) for fact in facts} == facts


@pytest.mark.parametrize(
    ("request_body", "words"),
    [
        ([], "not a JSON object"),
        ({"uploads": [ID], "surprise": 1}, "has no 'surprise'"),
        ({"uploads": []}, "there are no inputs"),
        ({"uploads": ID}, "not a list of ids"),
        ({"uploads": [ID, ID]}, "twice"),
        ({"uploads": [ID]}, "mask is not given"),
        (body(mask=None), "mask=None"),
        (body(mask="/etc/passwd"), "mask='/etc/passwd' is not uploaded files"),
        (body(mask="{stem}.png"), "is not uploaded files"),
        (body(mask={"uploads": []}), "at least one upload"),
        (body(mask={"path": "/etc/passwd"}), "has no 'path'"),
        (body(mask={"uploads": [ID], "inputs": [OTHER]}), "is not one input for each file"),
        (body(mask={"uploads": [ID], "inputs": []}), "is not one input for each file"),
        (body(mask={"uploads": [ID, OTHER], "inputs": [ID]}), "is not one input for each file"),
        (body(mask={"uploads": [ID, OTHER], "inputs": [ID, ID]}), "names an upload twice"),
        (body(level="http://example.org/x.png"), "is not uploaded files"),
        (body(amount="1"), "amount='1' is not of the type float"),
        (body(amount=True), "amount=True"),
        (body(amount=3), "amount=3 is not 0 … 2"),
        (body(amount=1, count=2), "exclude each other"),
        (body(count=1.5), "count=1.5"),
        (body(count=1e300), "count=1e+300 is not of the type int"),
        (body(count=10**400), "count=1000"),
        (body(amount=10**400), "amount=1000"),
        (body(amount=float("inf")), "amount=inf"),
        (body(level=10**400), "level=1000"),
        (body(box=[1, 10**400]), "box=[1, 1000"),
        (body(colour="green"), "red, blue"),
        (body(box=[1]), "box"),
        (body(box="1,2"), "box="),
        (body(fast=1), "fast=1"),
        (body(other=1), "there is no option 'other'"),
        ({**body(), "model": "x"}, "uses no model"),
        ({**body(), "output": {"to": "exe"}}, "to='exe'"),
        ({**body(), "output": {"out": "/tmp"}}, "has no 'out'"),
        ({**body(), "output": {"quality_out": 101}}, "quality_out=101"),
        ({**body(), "output": {"quality_out": 10**400}}, "quality_out=1000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused_with_a_code(request_body: Any, words: str) -> None:
    with pytest.raises(HttpError) as caught:
        wanted(Example, request_body)
    assert words in caught.value.message and "\n" not in caught.value.message
    assert 400 <= caught.value.status < 500 and caught.value.code.startswith("E0")


@pytest.mark.parametrize("name", ["a.png", "trip/day 1/ä.jpg", "a..b.png", "[1]*.png", "👩‍🚀.png"])
def test_names_of_files_and_folders_are_accepted(name: str) -> None:
    assert checked_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../a.png",
        "a/../b.png",
        "/etc/passwd",
        "a//b.png",
        "./a.png",
        "a\\b.png",
        "a\x00.png",
        ".hidden.png",
        "a/.git/x.png",
        "a\n.png",
        "a\x1b[2J.png",
        " a.png",
        "x" * 201,
        "a/" * 17 + "b",
    ],
    ids=ascii,
)
def test_paths_in_names_are_refused(name: str) -> None:
    with pytest.raises(HttpError) as caught:
        checked_name(name)
    assert caught.value.status == 400 and caught.value.message.isascii()


def test_names_in_archives_lead_nowhere_else() -> None:
    names = ["../../etc/passwd", "/etc/passwd", "a/../b", "c:\\x\\y", "a/b", "..", "b"]
    found = zip_names(names)
    assert [*found] == names and len({*found.values()}) == len(names)
    for name in found.values():
        assert not name.startswith("/") and ".." not in name.split("/")
        assert not {*name} & {"\\", ":"}


class Asked:
    """An application behind the guard that answers 200, and how requests fare."""

    def __init__(self) -> None:
        self.guard = Guard(self._app, token="secret", port=8123, ticket="paper")

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        del receive
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    def __call__(
        self, headers: dict[str, str], path: str = "/", query: str = "", method: str = "GET"
    ) -> tuple[int, dict[str, str]]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        }
        asyncio.run(self.guard(scope, None, send))  # type: ignore[arg-type]
        head = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return sent[0]["status"], head


HOST = {"host": "127.0.0.1:8123"}
BEARER = {**HOST, "authorization": "Bearer secret"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (BEARER, 200),
        ({**HOST, "cookie": "other=1; vaetools_8123=secret"}, 200),
        ({**BEARER, "host": "LOCALHOST:8123"}, 200),
        ({**BEARER, "origin": "http://127.0.0.1:8123", "sec-fetch-site": "same-origin"}, 200),
        (HOST, 401),
        ({**HOST, "authorization": "Bearer secre"}, 401),
        ({**HOST, "authorization": "Basic secret"}, 401),
        ({**HOST, "cookie": "vaetools_8124=secret"}, 401),
        ({**HOST, "cookie": "vaetools_8123="}, 401),
        ({"authorization": "Bearer secret"}, 421),
        ({**BEARER, "host": "127.0.0.1"}, 421),
        ({**BEARER, "host": "evil.example:8123"}, 421),
        ({**BEARER, "host": "127.0.0.1:8123.evil.example"}, 421),
        ({**BEARER, "origin": "http://evil.example"}, 403),
        ({**BEARER, "origin": "null"}, 403),
        ({**BEARER, "origin": "http://localhost:8123"}, 403),
        ({**BEARER, "origin": "https://127.0.0.1:8123"}, 403),
        ({**BEARER, "sec-fetch-site": "cross-site"}, 403),
        ({**BEARER, "sec-fetch-site": "same-site"}, 403),
    ],
    ids=str,
)
def test_only_this_server_and_who_knows_the_token_may_ask(
    headers: dict[str, str], status: int
) -> None:
    ask = Asked()
    for method in ("GET", "POST", "DELETE"):
        found, head = ask(headers, "/api/jobs", method=method)
        assert found == status
        assert head["content-security-policy"].startswith("default-src 'none'")
        assert head["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in head


def test_the_token_in_the_address_becomes_a_cookie() -> None:
    ask = Asked()
    status, head = ask(HOST, query="token=secret")
    assert status == 200
    cookie = head["set-cookie"].lower()
    assert cookie.startswith("vaetools_8123=secret") and "httponly" in cookie
    assert "samesite=strict" in cookie
    for query in ("token=x", "token=secret&token=secret", "TOKEN=secret"):
        assert ask(HOST, query=query)[0] == 401
    assert ask(HOST, "/api/jobs", "token=secret")[0] == 401
    assert ask(HOST, query="token=secret", method="POST")[0] == 401
    assert ask({**HOST, "origin": "http://evil.example"}, query="token=secret")[0] == 403


def test_a_ticket_in_the_address_becomes_the_cookie_once() -> None:
    ask = Asked()
    for headers in ({**HOST, "host": "evil.example"}, {**HOST, "origin": "http://evil.example"}):
        assert ask(headers, query="ticket=paper")[0] in (403, 421)
    for query in ("ticket=x", "ticket=", "ticket=paper&ticket=paper", "token=paper"):
        assert ask(HOST, query=query)[0] == 401
    assert ask(HOST, "/api/jobs", "ticket=paper")[0] == 401
    assert ask({**HOST, "authorization": "Bearer paper"}, "/api/jobs")[0] == 401
    status, head = ask(HOST, query="ticket=paper")
    assert status == 200 and head["set-cookie"].startswith("vaetools_8123=secret")
    for query in ("ticket=paper", "ticket="):
        assert ask(HOST, query=query)[0] == 401
    assert ask({**HOST, "cookie": "vaetools_8123=secret"}, query="ticket=paper")[0] == 200


def test_a_missing_extra_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: Callable[[str], object] = lambda name: None if name == "uvicorn" else object()  # noqa: E731
    monkeypatch.setattr("vaetools.cli.serve.find_spec", found)
    with pytest.raises(SystemExit) as caught:
        main(["serve"])
    assert caught.value.code == 4
    expected = "E061 vaetools serve needs the library uvicorn; pip install 'vaetools[web]'\n"
    assert capsys.readouterr().err == expected


@pytest.mark.slow
def test_view_and_the_help_of_serve_need_no_extra() -> None:
    import subprocess

    program = """
import sys
for name in ("starlette", "uvicorn", "python_multipart", "h11"): sys.modules[name] = None
import vaetools.web.view, vaetools.web.shown
from vaetools.cli import main
main(["serve", "--help"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "--max-upload" in done.stdout, done.stderr
