"""The application of `vaetools serve`: its routes."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from vaetools.image import TO
from vaetools.version import __version__
from vaetools.web.downloads import sent_file, with_urls, zipped
from vaetools.web.forms import forms_of
from vaetools.web.guard import Guard
from vaetools.web.jobs import Jobs
from vaetools.web.limits import HttpError
from vaetools.web.openapi import document, operation_facts
from vaetools.web.pages import asset, page
from vaetools.web.processes import WorkerProcess, WorkError
from vaetools.web.requests import wanted
from vaetools.web.uploads import Uploads, timed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from starlette.requests import Request

    from vaetools.hub import Hub
    from vaetools.web.jobs import Job
    from vaetools.web.limits import Limits


class Service:
    """What the routes share.

    Args:
        hub: Knows operations and models; it never decodes anything.
        folder: Private folder for uploads and results.
        limits: What is accepted.
        settings: For the worker processes; see `vaetools.web.worker.open_hub`.
    """

    def __init__(self, hub: Hub, folder: Path, limits: Limits, settings: Mapping[str, Any]) -> None:
        self.hub = hub
        self.limits = limits
        self._workers = [WorkerProcess(settings), WorkerProcess(settings)]
        worker, self.looker = self._workers
        suffixes = {suffix for kind in hub.host.operations.values() for suffix in kind.suffixes}
        self.uploads = Uploads(folder / "uploads", limits, self.looker, suffixes)
        self.jobs = Jobs(folder / "runs", limits, worker)
        self._api = document(hub)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Process the queue while the server runs."""
        task = asyncio.create_task(self.jobs.work())
        try:
            yield
        finally:
            task.cancel()
            for worker in self._workers:
                await worker.kill()

    # The page

    async def index(self, _: Request) -> Response:
        """The page."""
        forms = forms_of(self.hub)
        return HTMLResponse(page("serve.html", forms=forms, formats=TO, version=__version__))

    async def static(self, request: Request) -> Response:
        """Style sheets and scripts."""
        found = asset(request.path_params["name"])
        if found is None:
            raise HttpError(404, "there is no such file")
        return Response(found[1], media_type=found[0])

    # The interface for programs

    async def openapi(self, _: Request) -> Response:
        """The description of the interface."""
        return JSONResponse(self._api)

    async def operations(self, _: Request) -> Response:
        """All operations with their options."""
        return JSONResponse({"operations": operation_facts(self.hub)})

    async def start(self, request: Request) -> Response:
        """Queue a run of an operation."""
        name = request.path_params["name"]
        operation = self.hub.host.operations.get(name)
        if operation is None:
            raise HttpError(404, f"there is no operation {name[:40]!a}")
        checked = wanted(operation, await self._json(request))
        job = await self.jobs.add(checked, self.uploads)
        headers = {"Location": f"/api/jobs/{job.id}"}
        return JSONResponse(job.as_dict(), 202, headers=headers)

    async def _json(self, request: Request) -> Any:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HttpError(415, "the request is not application/json")
        body = b""
        while True:
            message = await timed(request.receive, self.limits.silence)
            body += message.get("body", b"")
            if len(body) > self.limits.body_bytes:
                raise HttpError(413, "the request is too long")
            if not message.get("more_body", False):
                break
        try:
            return json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise HttpError(400, "the request is not JSON") from error

    async def list_uploads(self, _: Request) -> Response:
        """The uploads."""
        return JSONResponse({"uploads": [one.as_dict() for one in self.uploads.listed()]})

    async def upload(self, request: Request) -> Response:
        """Take files of a form."""
        purpose = request.query_params.get("purpose", "input")
        if purpose not in ("input", "option"):
            raise HttpError(422, f"purpose={purpose[:40]!a} is not input or option", "E004")
        if (
            request.headers.get("content-type", "").partition(";")[0].strip()
            != "multipart/form-data"
        ):
            raise HttpError(415, "the request is not multipart/form-data")
        kept, refused = await self.uploads.add(request, is_input=purpose == "input")
        problems = [{"code": one.code, "message": one.message} for one in refused]
        body = {"uploads": [one.as_dict() for one in kept], "refused": problems}
        if kept:
            return JSONResponse(body, 201)
        return JSONResponse({**body, **problems[0]}, refused[0].status)

    async def remove_upload(self, request: Request) -> Response:
        """Delete an upload."""
        self.uploads.remove(request.path_params["id"])
        return Response(status_code=204)

    async def upload_image(self, request: Request) -> Response:
        """An upload as browsers display it, with at most 1,600 pixels on each side."""
        upload = self.uploads.get(request.path_params["id"])
        if upload.width is None:
            raise HttpError(415, f"{upload.name} is not an image", "E010")
        target = upload.path.parent / ".vaetools-shown.jpg"
        if not target.exists():
            await self._look({"do": "image", "path": str(upload.path), "target": str(target)})
        return FileResponse(target, media_type="image/jpeg")

    async def _look(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return await self.looker.ask(request)
        except WorkError as error:
            raise HttpError.of(error.code, error.message) from error

    async def list_jobs(self, _: Request) -> Response:
        """The runs."""
        return JSONResponse({"jobs": [job.as_dict() for job in self.jobs.listed()]})

    async def job(self, request: Request) -> Response:
        """A run with its records."""
        job = self._job(request)
        return JSONResponse({**job.as_dict(), "records": job.records})

    def _job(self, request: Request) -> Job:
        return self.jobs.get(request.path_params["id"])

    async def cancel(self, request: Request) -> Response:
        """Stop a run."""
        job = self._job(request)
        await self.jobs.cancel(job)
        return JSONResponse(job.as_dict())

    async def remove_job(self, request: Request) -> Response:
        """Stop a run and delete it."""
        await self.jobs.remove(self._job(request))
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        """What happens, as server-sent events."""
        last = request.headers.get("last-event-id", "")
        start = int(last) + 1 if last.isascii() and last.isdigit() and len(last) < 10 else 0
        return StreamingResponse(self._job(request).follow(start), media_type="text/event-stream")

    async def shots(self, request: Request) -> Response:
        """Previews of a record: URLs for the viewer."""
        job, number = self._job(request), request.path_params["number"]
        if number >= len(job.raw):
            raise HttpError(404, f"the run has no record {number}")
        folder = job.folder / "previews"
        kept = folder / f"{number}.json"
        if not kept.exists():
            given = {"record": job.raw[number], "folder": str(folder), "number": number}
            found = (await self._look({"do": "shots", **given}))["shots"]
            kept.write_text(json.dumps([with_urls(job, shot) for shot in found]))
        return JSONResponse({"shots": json.loads(kept.read_text())})

    async def preview(self, request: Request) -> Response:
        """The file of a preview."""
        name = request.path_params["name"]
        folder = self._job(request).folder / "previews"
        names = {path.name for path in folder.iterdir() if path.suffix in (".jpg", ".png")}
        if name not in names:
            raise HttpError(404, "there is no such preview")
        return FileResponse(folder / name)

    async def input(self, request: Request) -> Response:
        """A file that was read."""
        return sent_file(self._job(request).inputs(), request.path_params["path"])

    async def output(self, request: Request) -> Response:
        """A file that was written."""
        return sent_file(self._job(request).outputs(), request.path_params["path"])

    async def archive(self, request: Request) -> Response:
        """All files that were written."""
        job = self._job(request)
        files = job.outputs()
        if not files:
            raise HttpError(404, "the run has no results", "E003")
        name = f"{job.wanted.operation.name}.zip"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(zipped(files), media_type="application/zip", headers=headers)


def _no_constant(name: str) -> float:
    raise ValueError(name)  # NaN is no JSON


async def _refused(_: Request, error: Exception) -> Response:
    """The response for an error."""
    if isinstance(error, HttpError):
        code, message, status = error.code, error.message, error.status
    elif isinstance(error, HTTPException):
        code, message, status = "E002", error.detail.lower(), error.status_code
    else:
        code, message, status = "E099", f"unexpected: {type(error).__name__}", 500
    headers = getattr(error, "headers", None)
    return JSONResponse({"code": code, "message": message}, status, headers=headers)


def _route(path: str, **by_method: Callable[[Request], Awaitable[Response]]) -> Route:
    """A route with a function for each method. HEAD is answered as GET."""

    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await by_method[method](request)

    return Route(path, answer, methods=[*by_method])


def application(service: Service, *, token: str, port: int, ticket: str = "") -> Guard:
    """The application, guarded by a token and a ticket; see `Guard`."""
    s, one, run = service, "/api/uploads/{id}", "/api/jobs/{id}"
    routes = [
        _route("/", GET=s.index),
        _route("/static/{name}", GET=s.static),
        _route("/api/openapi.json", GET=s.openapi),
        _route("/api/operations", GET=s.operations),
        _route("/api/operations/{name}", POST=s.start),
        _route("/api/uploads", GET=s.list_uploads, POST=s.upload),
        _route(one, DELETE=s.remove_upload),
        _route(f"{one}/image", GET=s.upload_image),
        _route("/api/jobs", GET=s.list_jobs),
        _route(run, GET=s.job, DELETE=s.remove_job),
        _route(f"{run}/cancel", POST=s.cancel),
        _route(f"{run}/events", GET=s.events),
        _route(f"{run}/zip", GET=s.archive),
        _route(f"{run}/records/{{number:int}}/shots", GET=s.shots),
        _route(f"{run}/previews/{{name}}", GET=s.preview),
        _route(f"{run}/inputs/{{path:path}}", GET=s.input),
        _route(f"{run}/outputs/{{path:path}}", GET=s.output),
    ]
    handlers: Any = {HttpError: _refused, HTTPException: _refused, Exception: _refused}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=service.lifespan)
    return Guard(app, token=token, port=port, ticket=ticket)
