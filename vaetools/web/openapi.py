"""The description of the interface for programs, made from the options of the operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vaetools.operation import summary_of
from vaetools.operation.options import option_specs
from vaetools.version import __version__
from vaetools.web.forms import models_of, sentence
from vaetools.web.requests import OUTPUT_SCHEMA, UPLOAD_ID, schema_of

if TYPE_CHECKING:
    from vaetools.hub import Hub
    from vaetools.operation import Operation

_TEXT: dict[str, Any] = {"type": "string"}
_ID: dict[str, Any] = {"type": "string", "pattern": f"^{UPLOAD_ID}$"}

SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "properties": {
            "code": {"type": "string", "pattern": "^E[0-9]{3}$"},
            "message": {"type": "string", "description": "One line, as on the command line."},
        },
        "required": ["code", "message"],
    },
    "Upload": {
        "type": "object",
        "properties": {
            "id": _ID,
            "name": _TEXT,
            "bytes": {"type": "integer"},
            "width": {"type": ["integer", "null"]},
            "height": {"type": ["integer", "null"]},
            "purpose": {"type": "string", "enum": ["input", "option"]},
        },
        "required": ["id", "name", "bytes", "width", "height", "purpose"],
    },
    "Record": {
        "type": "object",
        "description": "As `--json` prints it; paths are relative to the inputs and the outputs.",
        "properties": {
            "v": {"type": "integer"},
            "file": _TEXT,
            "out": {"type": "array", "items": _TEXT},
            "op": _TEXT,
            "status": {"type": "string", "enum": ["done", "failed", "skipped", "planned"]},
            "code": _TEXT,
            "message": _TEXT,
        },
        "required": ["v", "file", "out", "op", "status", "code", "message"],
    },
    "Job": {
        "type": "object",
        "properties": {
            "id": _ID,
            "operation": _TEXT,
            "state": {
                "type": "string",
                "enum": ["queued", "running", "done", "failed", "cancelled"],
            },
            "total": {"type": ["integer", "null"]},
            "finished": {"type": "integer"},
            "summary": _TEXT,
            "options": {"type": "object", "additionalProperties": _TEXT},
            "exit_code": {"type": ["integer", "null"]},
            "error": {"anyOf": [{"$ref": "#/components/schemas/Error"}, {"type": "null"}]},
            "records": {"type": "array", "items": {"$ref": "#/components/schemas/Record"}},
        },
        "required": ["id", "operation", "state", "total", "finished", "exit_code", "error"],
    },
}


def document(hub: Hub) -> dict[str, Any]:
    """The OpenAPI document for the operations of a hub."""
    paths: dict[str, Any] = {
        "/api/openapi.json": {"get": _call("This document", _json({"type": "object"}))},
        "/api/operations": {
            "get": _call("All operations with their options", _listed({}, "operations"))
        },
        "/api/uploads": {
            "get": _call("The uploads", _listed(_ref("Upload"), "uploads")),
            "post": _upload_call(),
        },
        "/api/uploads/{id}": {"delete": _call("Delete an upload", _nothing(), status="204")},
        "/api/uploads/{id}/image": {
            "get": _call("An upload as a JPEG image", _binary("image/jpeg"))
        },
        "/api/jobs": {"get": _call("The runs", _listed(_ref("Job"), "jobs"))},
        "/api/jobs/{id}": {
            "get": _call("A run with its records", _json(_ref("Job"))),
            "delete": _call("Stop a run, and delete its files", _nothing(), status="204"),
        },
        "/api/jobs/{id}/cancel": {"post": _call("Stop a run", _json(_ref("Job")))},
        "/api/jobs/{id}/events": {
            "get": _call("What happens, as server-sent events", {"text/event-stream": {}})
        },
        "/api/jobs/{id}/zip": {"get": _call("All outputs", _binary("application/zip"))},
        "/api/jobs/{id}/records/{number}/shots": {
            "get": _call("Previews of a record", _listed({"type": "object"}, "shots"))
        },
        "/api/jobs/{id}/inputs/{path}": {"get": _call("An input", _binary("*/*"))},
        "/api/jobs/{id}/outputs/{path}": {"get": _call("An output", _binary("*/*"))},
    }
    for kind in hub.host.operations.values():
        paths[f"/api/operations/{kind.name}"] = {"post": _run_call(kind)}
    for path, calls in paths.items():
        parameters = [_parameter(part[1:-1]) for part in path.split("/") if part.startswith("{")]
        for call in calls.values():
            call["parameters"] = [*call.get("parameters", []), *parameters]
    return {
        "openapi": "3.1.0",
        "info": {"title": "vaetools serve", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def operation_facts(hub: Hub) -> list[dict[str, Any]]:
    """Name, summary and options of all operations."""
    return [
        {
            "name": kind.name,
            "summary": sentence(summary_of(kind)),
            "takes": kind.takes,
            "models": models_of(hub, kind),
            "options": {s.name: schema_of(s) for s in option_specs(kind.Options)},
            "required": [s.name for s in option_specs(kind.Options) if s.required],
        }
        for kind in hub.host.operations.values()
    ]


def _run_call(kind: type[Operation]) -> dict[str, Any]:
    specs = option_specs(kind.Options)
    options: dict[str, Any] = {
        "type": "object",
        "properties": {spec.name: schema_of(spec) for spec in specs},
        "additionalProperties": False,
    }
    needed = [spec.name for spec in specs if spec.required]
    if needed:
        options["required"] = needed
    uploads = {"type": "array", "items": _ID, "uniqueItems": True, "maxItems": 5000}
    uploads |= {"maxItems": 0} if kind.takes == "nothing" else {"minItems": 1}
    properties: dict[str, Any] = {"uploads": uploads, "options": options}
    properties["output"] = {
        "type": "object",
        "properties": OUTPUT_SCHEMA,
        "additionalProperties": False,
    }
    if kind.task is not None:
        properties["model"] = {"type": ["string", "null"], "minLength": 1}
    body = {"type": "object", "properties": properties, "additionalProperties": False}
    body["required"] = [
        *([] if kind.takes == "nothing" else ["uploads"]),
        *(["options"] if needed else []),
    ]
    call = _call(sentence(summary_of(kind)), _json(_ref("Job")), status="202")
    call["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return call


def _upload_call() -> dict[str, Any]:
    found = {"uploads": _array(_ref("Upload")), "refused": _array(_ref("Error"))}
    schema = {"type": "object", "properties": found, "required": ["uploads", "refused"]}
    call = _call("Upload files", _json(schema), status="201")
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    form = {"type": "object", "properties": {"file": files}, "required": ["file"]}
    call["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    purpose = {"type": "string", "enum": ["input", "option"], "default": "input"}
    call["parameters"] = [{"name": "purpose", "in": "query", "schema": purpose}]
    return call


def _call(summary: str, content: dict[str, Any], *, status: str = "200") -> dict[str, Any]:
    fine = {"description": "Done", **({"content": content} if content else {})}
    refused = {"description": "Refused", "content": _json(_ref("Error"))}
    return {"summary": summary, "responses": {status: fine, "4XX": refused, "507": refused}}


def _parameter(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"id": _ID, "number": {"type": "integer", "minimum": 0}}.get(
        name, _TEXT
    )
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _binary(kind: str) -> dict[str, Any]:
    return {kind: {"schema": {"type": "string", "format": "binary"}}}


def _nothing() -> dict[str, Any]:
    return {}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _listed(items: dict[str, Any], name: str) -> dict[str, Any]:
    return _json({"type": "object", "properties": {name: _array(items)}, "required": [name]})


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
