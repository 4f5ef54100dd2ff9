"""Names that operations and their options cannot take."""

from __future__ import annotations

import keyword
import re

RESERVED_OPTIONS = frozenset(
    {
        "image",
        "data",
        "self",
        "inputs",
        "out",
        "model",
        "models_dir",
        "device",
        "threads",
        "json",
        "as_json",
        "quiet",
        "verbose",
        "debug",
        "frames",
        "key",
        "channel_order",
        "on_record",
        "progress",
        "jobs",
        "workers",
        "include",
        "exclude",
        "resume",
        "force",
        "on_exists",
        "dry_run",
        "prune",
        "max_pixels",
        "strict",
        "lenient",
        "help",
        "no_resume",
        "journal",
        "isolate",
        "no_isolate",
        "first_frame",
        "strip",
        "image_quality",
        "quality_out",
        "memory",
        "shard",
        "report",
        "watch",
        "interval",
        "stop",
        "on_problem",
        "times",
        "files_from",
        "root",
        "job",
        "engine",
        "address",
        "gpus_per_task",
        "cpus_per_task",
        "retries",
        "config",
        "fourcc",
        "video_quality",
        "raw",
        "depth",
        "op",
    }
)
"""Names that every operation's command, method and step of a chain has already."""

RESERVED_SHORT_FLAGS = frozenset({"-o", "-h", "-v"})
"""Short flags that every operation's command has already."""

RESERVED_OPERATIONS = frozenset(
    {
        "view",
        "serve",
        "info",
        "eval",
        "models",
        "plugins",
        "doctor",
        "explain",
        "demo",
        "desktop",
        "preview",
        "train",
        "export",
        "run",
        "inspect",
        "report",
        "shards",
        "host",
        "runtime",
        "registry",
        "operation",
        "find",
        "make",
        "op",
        "chain",
        "map",
        "register",
        "close",
        "stream",
        "pipe",
        "watch",
        "completion",
    }
)
"""Names of commands and of the hub's own methods."""


def is_operation_name(name: str) -> bool:
    """Whether a name can be a command and a method: lower case with dashes, no Python keyword."""
    fits = re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) is not None
    return fits and not keyword.iskeyword(name)
