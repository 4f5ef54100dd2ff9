"""Runs over a real S3 server, with and without faults; see `proxy` for these."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.objects.proxy import FAULTS, FaultProxy
from tests.objects.server import KEYS, Server, command, s3_server, start, tree
from vaetools.image import Image, encode_image
from vaetools.objects.address import ObjectPath
from vaetools.objects.store import Store, StoreError, open_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("s3"),
    pytest.mark.filterwarnings("ignore"),  # of the libraries behind s3fs
]

COMPRESS = ("compress", "--quality", "40")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def bucket(server: Server, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty bucket, `objects-N`."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": server.url}.items():
        monkeypatch.setenv(name, value)
    name = f"objects-{random.getrandbits(32)}"
    server.fill(name, {})
    return open_store(ObjectPath.parse(f"s3://{name}"))


def images(count: int, seed: int = 0) -> dict[str, bytes]:
    """Small images in folders."""
    rng = np.random.default_rng(seed)
    made = {}
    for number in range(count):
        small = rng.integers(0, 256, (4, 4, 3), np.uint8)
        pixels = np.repeat(np.repeat(small, 8, axis=0), 8, axis=1)
        made[f"{number % 7}/{number:04}.png"] = encode_image(Image(pixels), "png")
    return made


def plant(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def packed_here(tmp_path: Path, server: Server, files: dict[str, bytes]) -> dict[str, bytes]:
    """What the same command makes of local files."""
    plant(tmp_path / "in", files)
    ended = command(server.url, *COMPRESS, str(tmp_path / "in"), "-o", str(tmp_path / "here"))
    assert ended.code == 0, ended.err
    return tree(tmp_path / "here")


def test_conditions_listings_and_keys(bucket: Store) -> None:
    first = bucket.put("a", b"1", {"vaetools-run": "x"}, None)
    for replaces in (None, '"0123456789abcdef0123456789abcdef"'):
        with pytest.raises(StoreError) as caught:
            bucket.put("a", b"2", {}, replaces)
        assert caught.value.kind == "conflict"
    second = bucket.put("a", b"22", {"vaetools-run": "y"}, first)
    with pytest.raises(StoreError) as caught:
        bucket.put("gone", b"1", {}, second)
    assert caught.value.kind == "conflict"
    with pytest.raises(StoreError) as caught:
        bucket.get("a", first)
    assert caught.value.kind == "conflict"
    assert bucket.get("a", second) == b"22" and bucket.head("b") is None
    stored = bucket.head("a")
    assert stored is not None and stored.metadata == {"vaetools-run": "y"}
    assert (stored.size, stored.version) == (2, second)
    names = ["x/ü 1+2.png", "x/100%.png", "x/a&b=c?.png", "x/日本.png", "x/'q\".png", "x/🙂.png"]
    for name in names:
        bucket.put(name, name.encode(), {}, None)
    listed = bucket.list("x/")
    assert [s.key for s in listed] == sorted(names, key=str.encode)
    assert all(bucket.get(s.key, s.version) == s.key.encode() for s in listed)


def test_listings_of_many_objects(bucket: Store) -> None:
    keys = [f"d/{number:05}" for number in range(1200)]
    for key in keys:
        bucket.put(key, b"", {}, None)
    assert [s.key for s in bucket.list("d/")] == keys
    some = bucket.list("d/", first="d/00100", last="d/00109")
    assert [s.key for s in some] == keys[100:110]
    assert [s.key for s in bucket.list("d/", first="d/01150")] == keys[1150:]


def test_every_operation_gives_the_bytes_of_a_local_run(server: Server, tmp_path: Path) -> None:
    files = images(3)
    server.fill("all", {f"in/{name}": data for name, data in files.items()})
    plant(tmp_path / "in", files)
    plant(tmp_path / "masks", {name: _mask() for name in files})
    masks = ("--mask", str(tmp_path / "masks"))
    steps = [
        ("packed", "in", COMPRESS),
        ("back", "packed", ("decompress",)),
        ("clean", "in", ("denoise", "--sigma", "10")),
        ("whole", "in", ("inpaint", *masks)),
        ("more", "in", ("augment", "-n", "2", "--seed", "1")),
        ("chain", "in", ("run", "denoise,compress")),
    ]
    for out, source, words in steps:
        here = command(server.url, *words, str(tmp_path / source), "-o", str(tmp_path / out))
        there = command(server.url, *words, f"s3://all/{source}", "-o", f"s3://all/{out}")
        assert here.code == there.code == 0, here.err + there.err
        expected = tree(tmp_path / out)
        assert server.content("all", f"{out}/") == expected, out
        up = command(server.url, *words, str(tmp_path / source), "-o", f"s3://all/up/{out}")
        down = command(server.url, *words, f"s3://all/{source}", "-o", str(tmp_path / "down" / out))
        assert up.code == down.code == 0, up.err + down.err
        assert server.content("all", f"up/{out}/") == tree(tmp_path / "down" / out) == expected
        again = command(server.url, *words, f"s3://all/{source}", "-o", f"s3://all/{out}")
        assert "3 skipped" in again.err, again.err


def _mask() -> bytes:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:16, 8:16] = 255
    return encode_image(Image(mask), "png")


@pytest.mark.parametrize("count", [30, 1000])
def test_two_runs_and_a_faulty_server(server: Server, tmp_path: Path, count: int) -> None:
    """All objects are there, with the bytes of a local run, and a third run finds them all."""
    files = images(count)
    expected = packed_here(tmp_path, server, files)
    name = f"pair-{count}"
    server.fill(name, {f"in/{key}": data for key, data in files.items()})
    words = (*COMPRESS, f"s3://{name}/in", "-o", f"s3://{name}/out", "--json")
    with FaultProxy(("127.0.0.1", server.port), rate=0.05, seed=count) as proxy:
        runs = [start(proxy.url, *words) for _ in range(2)]
        ended = [run.communicate(timeout=280) for run in runs]
        assert [run.returncode for run in runs] == [0, 0], ended
    assert count < 1000 or all(proxy.seen[fault] for fault in FAULTS), proxy.seen
    assert server.content(name, "out/") == expected
    records = [json.loads(line) for out, _ in ended for line in out.splitlines()]
    done = [record["file"] for record in records if record["status"] == "done"]
    # An answer may be lost after the server has done its work: then nobody knows that it did.
    assert len(done) == len({*done}) == count
    with FaultProxy(("127.0.0.1", server.port)) as proxy:
        again = command(proxy.url, *words[:-1])
        assert again.code == 0 and f"{count:,} skipped" in again.err
        assert proxy.seen["PUT"] == 0 and proxy.seen["HEAD"] <= 2 and proxy.seen["GET"] <= 6


def test_kill_9(server: Server, tmp_path: Path) -> None:
    """Whatever a killed run has written is whole, and the next one completes it."""
    files = images(120)
    expected = packed_here(tmp_path, server, files)
    server.fill("killed", {f"in/{key}": data for key, data in files.items()})
    words = (*COMPRESS, "s3://killed/in", "-o", "s3://killed/out")
    rng = random.Random(1)
    sizes: list[int] = []
    with FaultProxy(("127.0.0.1", server.port), rate=0.02, seed=1) as proxy:
        for _ in range(6):
            run = start(proxy.url, *words)
            before = len(_names(server, "killed", "out/"))
            deadline = time.monotonic() + 60
            while run.poll() is None and time.monotonic() < deadline:
                if len(_names(server, "killed", "out/")) > before + rng.randrange(2, 20):
                    break
                time.sleep(0.02)
            run.send_signal(signal.SIGKILL)
            run.communicate(timeout=60)
            written = server.content("killed", "out/")
            assert written.items() <= expected.items()
            sizes.append(len(written))
        ended = command(proxy.url, *words)
    assert 0 < sizes[0] < len(expected) and sizes == sorted(sizes)
    assert ended.code == 0, ended.err
    assert server.content("killed", "out/") == expected


def _names(server: Server, bucket: str, prefix: str) -> list[str]:
    page = server.client.list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for item in page.get("Contents", ())]


def test_a_server_without_conditions(server: Server) -> None:
    """Such a server answers 501; the look before each PUT is all there is."""
    server.fill("old", {f"in/{key}": data for key, data in images(3).items()})
    words = (*COMPRESS, "s3://old/in", "-o", "s3://old/out")
    with FaultProxy(("127.0.0.1", server.port), conditions=False) as proxy:
        for expected in ("3 done", "3 skipped"):
            ended = command(proxy.url, *words)
            assert ended.code == 0 and expected in ended.err
    assert len(server.content("old", "out/")) == 3


def test_a_server_that_never_answers_well_ends_the_run(server: Server) -> None:
    server.fill("busy", {f"in/{key}": data for key, data in images(2).items()})
    for fault, text in (("503", "answers 503 SlowDown"), ("no answer", "no answer: ")):
        with FaultProxy(("127.0.0.1", server.port), rate=1.0, faults=(fault,)) as proxy:
            ended = command(proxy.url, *COMPRESS, "s3://busy/in", "-o", "s3://busy/out")
        assert ended.code == 1 and re.fullmatch(
            r"E015 s3://busy/in: cannot be listed: .*\n", ended.err
        )
        assert text in ended.err


def test_errors_are_one_line(server: Server, tmp_path: Path) -> None:
    server.fill("there", {f"in/{key}": data for key, data in images(1).items()})
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
        there, out = "s3://there/in", "s3://there/out"
        none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        cases = [
            (server.url, "s3://missing/in", out, {}, 2, "E002 s3://missing/in: there is no bucket"),
            (server.url, there, "s3://missing/o", {}, 2, "E002 s3://missing/o: there is no bucket"),
            (server.url, "s3://there/no", out, {}, 2, "E002 s3://there/no: no such object or folder"),
            (server.url, there, out, none, 1, "E015 s3://there/in: cannot be listed: no credentials"),
            (closed, there, out, {}, 1, "E015 s3://there/in: cannot be listed: no answer: "),
            (closed, str(tmp_path), out, {}, 1, "E070 s3://there/out: cannot be listed: no answer: "),
            (closed, there, str(tmp_path / "o"), {}, 1, "E015 s3://there/in: cannot be listed: "),
        ]  # fmt: skip
        plant(tmp_path, images(1))
        for url, source, target, environment, code, text in cases:
            ended = command(url, *COMPRESS, source, "-o", target, **environment)
            assert ended.code == code and ended.err.startswith(text), (ended, text)
            assert len(ended.err.splitlines()) == 1 and not ended.out, ended


def test_credentials_and_permissions() -> None:
    """A server that checks who asks: a key that it does not know, and a user who may only read."""
    import boto3

    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="5") as server:
        users = boto3.client(
            "iam", endpoint_url=server.url, aws_access_key_id="key",
            aws_secret_access_key="secret", region_name="us-east-1",
        )  # fmt: skip
        server.fill("locked", {"in/a.png": images(1)["0/0000.png"]})
        users.create_user(UserName="reader")
        actions = ["s3:ListBucket", "s3:GetObject"]
        policy = {"Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        document = json.dumps({"Version": "2012-10-17", **policy})
        users.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=document)
        keys = users.create_access_key(UserName="reader")["AccessKey"]
        reader = {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        }
        words = (*COMPRESS, "s3://locked/in", "-o", "s3://locked/out")
        ended = command(server.url, *words)
        assert ended.code == 1 and "the credentials are refused (InvalidAccessKeyId)" in ended.err
        wrong = command(server.url, *words, **{**reader, "AWS_SECRET_ACCESS_KEY": "wrong"})
        assert wrong.code == 1 and "refused (SignatureDoesNotMatch)" in wrong.err
        assert len(ended.err.splitlines()) == len(wrong.err.splitlines()) == 1
        ended = command(server.url, *words, **reader)
        assert ended.code == 1
        assert (
            "E070 s3://locked/in/a.png: s3://locked/out/a.png.vae: cannot be written: " in ended.err
        )
        assert "access is denied" in ended.err and "stopped because OUT" in ended.err
