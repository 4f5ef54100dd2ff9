"""The part of Google's JSON API that vaetools uses, in memory: objects, generations, conditions."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit


class GoogleServer:
    """A server with buckets.

    Attributes:
        objects: (content, resource) by bucket and key.
    """

    def __init__(self, *buckets: str) -> None:
        self.objects: dict[tuple[str, str], tuple[bytes, dict[str, Any]]] = {}
        self.buckets = buckets
        self.lock = threading.Lock()
        self.generation = 0
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.google = self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def write(self, bucket: str, key: str, data: bytes, metadata: dict[str, str]) -> dict[str, Any]:
        self.generation += 1
        resource = {
            "name": key,
            "size": str(len(data)),
            "generation": str(self.generation),
            "updated": "2026-01-01T00:00:00.000Z",
            "metadata": metadata,
        }
        self.objects[bucket, key] = (data, resource)
        return resource

    def content(self, bucket: str, prefix: str) -> dict[str, bytes]:
        return {
            key.removeprefix(prefix): data
            for (name, key), (data, _) in self.objects.items()
            if name == bucket and key.startswith(prefix) and "/." not in key
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    google: GoogleServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_GET(self) -> None:
        google, url = self.server.google, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match = re.fullmatch(r"/storage/v1/b/([^/]+)/o(?:/(.+))?", url.path)
        if match is None or match[1] not in google.buckets:
            self._answer(404, b"{}")
            return
        with google.lock:
            if match[2] is None:
                self._answer(200, json.dumps(self._page(match[1], query)).encode())
                return
            data, resource = google.objects.get((match[1], unquote(match[2])), (b"", {}))
        if not resource:
            self._answer(404, b"{}")
        elif query.get("ifGenerationMatch", resource["generation"]) != resource["generation"]:
            self._answer(412, b"{}")
        else:
            media = query.get("alt") == "media"
            self._answer(200, data if media else json.dumps(resource).encode())

    def _page(self, bucket: str, query: dict[str, str]) -> dict[str, Any]:
        """Two objects a page, so that there are several."""
        found = [
            resource
            for (name, key), (_, resource) in sorted(self.server.google.objects.items())
            if name == bucket
            and key.startswith(query.get("prefix", ""))
            and key >= query.get("startOffset", "")
            and ("endOffset" not in query or key < query["endOffset"])
        ]
        begin = int(query.get("pageToken", "0"))
        page: dict[str, Any] = {"items": found[begin : begin + 2]}
        if begin + 2 < len(found):
            page["nextPageToken"] = str(begin + 2)
        return page

    def do_POST(self) -> None:
        google, url = self.server.google, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers["Content-Length"]))
        bucket = url.path.removeprefix("/upload/storage/v1/b/").removesuffix("/o")
        boundary = self.headers["Content-Type"].partition('boundary="')[2].rstrip('"').encode()
        _, about, content, _ = body.split(b"--" + boundary)
        resource = json.loads(about.partition(b"\r\n\r\n")[2])
        data = content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        key = resource["name"]
        with google.lock:
            stands = google.objects.get((bucket, key), (b"", {"generation": "0"}))[1]["generation"]
            if bucket not in google.buckets:
                self._answer(404, b"{}")
            elif query["ifGenerationMatch"] != stands:
                self._answer(412, b"{}")
            else:
                made = google.write(bucket, key, data, resource["metadata"])
                self._answer(200, json.dumps(made).encode())

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass
