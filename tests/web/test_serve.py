"""`vaetools serve`, the real server: what it does, what it refuses, and that it is up afterwards."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

import httpx2 as httpx

from tests.web.server import Server, ended, start, started, upload
from vaetools.cli import main
from vaetools.image import Image, decode_image, encode_image
from vaetools.testing import gradient

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="signals")]

MEGABYTE = 10**6
ENDLESS = {"VAETOOLS_PLUGINS_DIR": str(Path(__file__).parent / "plugins")}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started("--max-upload", "20", "--max-files", "300", **ENDLESS) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened
        for one in opened.get("/api/uploads").json()["uploads"]:
            opened.delete(f"/api/uploads/{one['id']}")
        for job in opened.get("/api/jobs").json()["jobs"]:
            opened.delete(f"/api/jobs/{job['id']}")


def png(pixels: np.ndarray | None = None) -> bytes:
    return encode_image(Image(gradient() if pixels is None else pixels), "png")


def bomb(width: int, height: int) -> bytes:
    """A PNG file of a few kilobytes that claims, and inflates to, many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = zlib.compress(bytes(1_000_000), 9)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", lines), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def start_endless(client: httpx.Client, image: str) -> str:
    """Start a run that ends only when it is cancelled, and wait until it is in work; its id."""
    job_id = start(client, "endless", [image])
    while client.get(f"/api/jobs/{job_id}").json()["total"] is None:
        time.sleep(0.05)
    return job_id


# What it does


def test_the_page_opens_with_the_token_and_then_with_the_cookie(server: Server) -> None:
    with httpx.Client() as browser:
        assert browser.get(f"http://{server.host}/").status_code == 401
        first = browser.get(server.address)
        assert first.status_code == 200 and "httponly" in first.headers["set-cookie"].lower()
        page = browser.get(f"http://{server.host}/")
        assert page.status_code == 200 and "Drop images" in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        for line in page.text.split('"'):
            if line.startswith("/static/"):
                assert browser.get(f"http://{server.host}{line}").status_code == 200


def test_the_browser_is_started_with_a_ticket_in_place_of_the_token(tmp_path: Path) -> None:
    script, asked = tmp_path / "browser", tmp_path / "asked"
    script.write_text(f'#!/bin/sh\necho "$1" > {asked}.new && mv {asked}.new {asked}\n')
    script.chmod(0o755)
    with started("--browser", BROWSER=f"{script} %s") as server, httpx.Client() as browser:
        deadline = time.monotonic() + 20
        while not asked.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        address = asked.read_text().strip()
        assert server.token not in address and server.is_up()
        assert browser.get(address).status_code == 200
        assert "Drop images" in browser.get(f"http://{server.host}/").text
        assert httpx.get(address).status_code == 401


def test_a_run_gives_the_records_and_the_files_of_the_command_line(
    client: httpx.Client, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = png()
    ids = [upload(client, name, data) for name in ("a.png", "trip/day 1/ü.png")]
    job_id = start(client, "mask-dust", ids, size=5)
    job = ended(client, job_id)
    for name in ("a.png", "trip/day 1/ü.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    with pytest.raises(SystemExit):
        main(
            [
                "mask-dust",
                str(tmp_path / "in"),
                "-o",
                str(tmp_path / "out"),
                "--size",
                "5",
                "--json",
            ]
        )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    wanted = {line["file"].split("/in/")[1]: line for line in lines if "file" in line}
    assert job["state"] == "done" and job["exit_code"] == 0
    assert {record["file"] for record in job["records"]} == {*wanted}
    for record in job["records"]:
        other = wanted[record["file"]]
        assert record.keys() == other.keys()
        same = ("v", "op", "status", "code", "bytes_in", "bytes_out", "width", "height")
        assert all(record[name] == other[name] for name in same)
        (name,) = record["out"]
        response = client.get(f"/api/jobs/{job_id}/outputs/{name}")
        assert response.content == (tmp_path / "out" / name).read_bytes()
        assert response.headers["content-type"] == "image/png"
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/api/jobs/{job_id}/zip").content))
    assert archive.testzip() is None
    assert {*archive.namelist()} == {record["out"][0] for record in job["records"]}


def test_events_tell_everything_and_go_on_where_they_stopped(client: httpx.Client) -> None:
    job_id = start(client, "mask-dust", [upload(client, "a.png", png())])
    text = client.get(f"/api/jobs/{job_id}/events").text
    kinds = [line[7:] for line in text.splitlines() if line.startswith("event: ")]
    assert kinds == ["state", "state", "record", "state"]
    last = json.loads(text.rsplit("data: ", 1)[1])
    assert last["state"] == "done" and last["finished"] == 1
    rest = client.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": "1"}).text
    assert rest == text[text.index("id: 2") :]


def test_previews_and_masks(client: httpx.Client) -> None:
    """With the shipped model: a hole that a mask names is filled, and previews of all are there."""
    image = upload(client, "a.png", png())
    mask = np.zeros(gradient().shape[:2], np.uint8)
    mask[20:24, 20:30] = 255
    given = upload(client, "a.png", png(mask), "option")
    wanted = {"mask": {"uploads": [given], "folder": True}, "uncertainty": True}
    job_id = start(client, "inpaint", [image], **wanted)
    job = ended(client, job_id)
    assert job["exit_code"] == 0, job
    shots = client.get(f"/api/jobs/{job_id}/records/0/shots").json()["shots"]
    assert [shot["role"] for shot in shots] == ["input", "output", "uncertainty"]
    for shot in shots:
        for url in filter(None, (shot["file"], shot["thumbnail"], shot["view"])):
            assert client.get(url).headers["content-type"].startswith("image/")
    (out,) = [shot for shot in shots if shot["role"] == "output"]
    pixels = decode_image(client.get(out["file"]).content).pixels
    assert np.array_equal(pixels[mask == 0], gradient()[mask == 0])


def test_compressed_files_have_previews_and_can_be_uploaded(client: httpx.Client) -> None:
    job_id = start(client, "compress", [upload(client, "a.png", png())])
    (name,) = ended(client, job_id)["records"][0]["out"]
    shots = client.get(f"/api/jobs/{job_id}/records/0/shots").json()["shots"]
    assert [shot["role"] for shot in shots] == ["input", "output"]
    packed = client.get(f"/api/jobs/{job_id}/outputs/{name}")
    assert packed.headers["content-disposition"].startswith("attachment")
    again = upload(client, name, packed.content)
    assert client.get(f"/api/uploads/{again}/image").headers["content-type"] == "image/jpeg"
    job = ended(client, start(client, "decompress", [again]))
    assert job["records"][0]["status"] == "done"


def test_errors_are_those_of_the_command_line_without_paths_of_the_server(
    server: Server, client: httpx.Client
) -> None:
    image = upload(client, "a.png", png())
    response = client.post("/api/operations/inpaint", json={"uploads": [image]})
    assert response.status_code == 422 and response.json()["code"] == "E004"
    wrong = upload(client, "m.png", png(np.zeros((5, 7), np.uint8)), "option")
    job = ended(client, start(client, "inpaint", [image], mask={"uploads": [wrong]}))
    (record,) = job["records"]
    assert (record["status"], record["code"]) == ("failed", "E001")
    assert record["message"].startswith("a.png: the mask m.png has 7 x 5 pixels")
    assert str(server.temporary) not in json.dumps(job)
    truncated = upload(client, "t.png", png()[:-30])
    job = ended(client, start(client, "mask-dust", [truncated]))
    assert job["records"][0]["code"] == "E012"
    job = ended(client, start(client, "decompress", [image]))
    assert (job["state"], job["error"]["code"], job["exit_code"]) == ("failed", "E003", 3)
    assert str(server.temporary) not in json.dumps(job)


def test_a_run_is_cancelled_and_the_next_one_works(client: httpx.Client) -> None:
    image = upload(client, "a.png", png())
    works = start_endless(client, image)
    waits = start(client, "mask-dust", [image])
    assert client.post(f"/api/jobs/{waits}/cancel").json()["state"] == "cancelled"
    began = time.monotonic()
    assert client.post(f"/api/jobs/{works}/cancel").json()["state"] == "cancelled"
    assert time.monotonic() - began < 15
    assert ended(client, start(client, "mask-dust", [image]))["state"] == "done"


def test_a_worker_that_crashes_fails_its_run_only(server: Server, client: httpx.Client) -> None:
    job_id = start_endless(client, upload(client, "a.png", png()))
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
    job = ended(client, job_id)
    assert (job["state"], job["error"]["code"]) == ("failed", "E099")
    other = upload(client, "b.png", png())
    assert ended(client, start(client, "mask-dust", [other]))["state"] == "done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_the_end_leaves_nothing_behind(number: int) -> None:
    with started(**ENDLESS) as server:
        with server.client() as client:
            start_endless(client, upload(client, "a.png", png()))
        workers = server.workers()
        assert len(workers) == 2 and [*server.temporary.glob("vaetools-serve-*")]
        mode = next(server.temporary.glob("vaetools-serve-*")).stat().st_mode
        assert mode & 0o077 == 0
        code, out, err = server.end(number)
        assert (code, err) == (0, "") and out.endswith("uploads and results are deleted.\n")
        assert not [*server.temporary.iterdir()]
        time.sleep(0.5)
        for pid in workers:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def test_a_port_that_is_taken_is_one_line(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vaetools", "serve", "--no-browser", "--port", str(server.port)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"E002 port {server.port} cannot be used: ")


# What it refuses


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("bomb.png", bomb(60_000, 60_000), 413, "E013"),
        ("text.png", b"hello", 415, "E010"),
        ("page.png", b"<html><script>alert(1)</script>", 415, "E010"),
        ("empty.png", b"", 422, "E011"),
        ("a.exe", b"MZ", 415, "E010"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "E010"),
        ("a.html", b"<html>", 415, "E010"),
        ("a", b"", 415, "E010"),
        ("a.vae", b"no", 422, "E030"),
        ("labels.json", b"{}", 415, "E010"),
    ],
)
def test_files_of_a_wrong_kind_are_refused(
    name: str, data: bytes, status: int, code: str, server: Server, client: httpx.Client
) -> None:
    response = client.post("/api/uploads", files={"file": (name, data)})
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.json()["message"].startswith(f"{name}: ")
    assert client.get("/api/uploads").json()["uploads"] == []
    assert not [path for path in server.temporary.rglob("*") if path.name == name]


@pytest.mark.parametrize(
    "name",
    ["../../x.png", "/tmp/x.png", "..\\x.png", "a/../../x.png", ".x.png", "x\x00.png"],
    ids=ascii,
)
def test_a_path_in_the_name_is_refused(name: str, server: Server, client: httpx.Client) -> None:
    quoted = name.replace("\\", "\\\\").encode()
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + quoted
    body = head + b'"\r\n\r\n' + png() + b"\r\n--b--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    response = client.post("/api/uploads", content=body, headers=kind)
    assert response.status_code == 400, response.text
    assert not [path for path in server.temporary.rglob("*") if "x" in path.stem and path.is_file()]


def test_an_endless_upload_is_refused_while_it_is_sent(
    server: Server, client: httpx.Client
) -> None:
    sent = 0

    def ten_gigabytes() -> Iterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        for _ in range(10_000):
            sent += MEGABYTE
            yield bytes(MEGABYTE)

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    try:
        response = client.post("/api/uploads", content=ten_gigabytes(), headers=kind)
        assert (response.status_code, response.json()["code"]) == (413, "E013")
    except httpx.TransportError:  # closed before all was sent
        pass
    assert sent < 100 * MEGABYTE
    assert server.is_up()
    used = sum(path.stat().st_size for path in server.temporary.rglob("*") if path.is_file())
    assert used < MEGABYTE
    upload(client, "a.png", png())  # nothing is counted that is not there


def test_a_length_over_the_limit_is_refused_at_once(server: Server) -> None:
    with socket.create_connection((server.host.partition(":")[0], server.port), 10) as raw:
        lines = (
            "POST /api/uploads HTTP/1.1",
            f"Host: {server.host}",
            f"Authorization: Bearer {server.token}",
            "Content-Type: multipart/form-data; boundary=b",
            f"Content-Length: {10**10}",
        )
        raw.sendall("\r\n".join([*lines, "", ""]).encode())
        assert b" 413 " in raw.recv(100)


def test_fifty_uploads_at_once(server: Server, client: httpx.Client) -> None:
    data = png(np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8))  # 1 MB each
    with ThreadPoolExecutor(50) as pool:

        def send(number: int) -> int:
            with server.client() as own:
                return own.post("/api/uploads", files={"file": (f"{number}.png", data)}).status_code

        found = [*pool.map(send, range(50))]
    assert {*found} <= {201, 413} and 5 <= found.count(201) <= 20
    assert server.is_up()
    assert (
        sum(one["bytes"] for one in client.get("/api/uploads").json()["uploads"]) <= 20 * MEGABYTE
    )


def test_other_sites_and_names_are_refused(server: Server, client: httpx.Client) -> None:
    files = {"file": ("a.png", png())}
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": f"evil.example:{server.port}"},
        {"Host": "evil.example"},
    ):
        response = client.post("/api/uploads", files=files, headers=headers)
        assert response.status_code in (403, 421), headers
        assert client.get("/", headers=headers).status_code in (403, 421)
    with httpx.Client() as stranger:
        for path in ("/", "/api/uploads", "/static/serve.js", "/api/openapi.json", "/none"):
            assert stranger.get(f"http://{server.host}{path}").status_code == 401
        assert stranger.post(f"http://{server.host}/api/uploads", files=files).status_code == 401
    assert client.get("/api/uploads").json()["uploads"] == []


@pytest.mark.parametrize(
    "path",
    [
        "outputs/../in/a.png",
        "outputs/%2e%2e/in/a.png",
        "outputs/..%2f..%2f..%2fetc/passwd",
        "inputs//etc/passwd",
        "previews/..%2f0.json",
        "outputs/.vaetools.ndjson",
        "previews/0.json",
    ],
)
def test_only_known_files_are_sent(path: str, client: httpx.Client) -> None:
    job_id = start(client, "mask-dust", [upload(client, "a.png", png())])
    ended(client, job_id)
    client.get(f"/api/jobs/{job_id}/records/0/shots")
    assert client.get(f"/api/jobs/{job_id}/{path}").status_code == 404


def test_slow_connections_are_closed_and_others_served(server: Server) -> None:
    place = (server.host.partition(":")[0], server.port)
    heads = [socket.create_connection(place, 30) for _ in range(60)]
    for one in heads:
        one.sendall(b"GET / HTTP/1.1\r\nHost: ")
    body = socket.create_connection(place, 60)
    body.sendall(
        f"POST /api/uploads HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {server.token}"
        "\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000\r\n\r\n--b".encode()
    )
    assert server.is_up()
    for one in heads:
        assert one.recv(100) == b""  # closed
        one.close()
    assert b" 408 " in body.recv(100)
    body.close()
    assert server.is_up()


def test_too_many_connections_are_refused_and_the_server_recovers(server: Server) -> None:
    place = (server.host.partition(":")[0], server.port)
    many = [socket.create_connection(place, 30) for _ in range(250)]
    with server.client() as client:
        assert client.get("/api/uploads").status_code in (200, 503)
    for one in many:
        one.close()
    time.sleep(0.5)
    assert server.is_up()


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 200_000, "application/json", 400),
        (b'{"options": {"amount": NaN}}', "application/json", 400),
        (b" " * 3_000_000, "application/json", 413),
        (b"{}", "text/plain", 415),
        (b"\xff", "application/json", 400),
    ],
    ids=["cut", "deep", "nan", "long", "text", "bytes"],
)
def test_broken_requests_for_a_run_are_refused(
    body: bytes, kind: str, status: int, client: httpx.Client
) -> None:
    headers = {"Content-Type": kind}
    response = client.post("/api/operations/mask-dust", content=body, headers=headers)
    assert response.status_code == status and response.json()["code"].startswith("E0")


def test_the_interface_keeps_to_its_description(server: Server, client: httpx.Client) -> None:
    """Schemathesis generates requests from the OpenAPI document, valid ones and others."""
    found = Path(sys.executable).parent / "schemathesis"
    if not found.exists():
        pytest.skip("schemathesis is not installed")
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.web.schemathesis_hooks",
        "VAETOOLS_TEST_UPLOAD": upload(client, "a.png", png(np.zeros((8, 8, 3), np.uint8))),
    }
    done = subprocess.run(
        [
            *(found, "run", f"http://{server.host}/api/openapi.json"),
            *("--header", f"Authorization: Bearer {server.token}"),
            *("--max-examples", "5", "--phases", "examples,coverage,fuzzing", "--seed", "1"),
            # Which options exclude each other, and what a file must be, is not in the schema.
            *("--exclude-checks", "positive_data_acceptance", "--request-timeout", "60"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert server.is_up()
