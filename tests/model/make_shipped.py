"""Writes vaetools/model/shipped.py: checks the shipped graphs and lists them.

python -m tests.model.make_shipped
"""

from __future__ import annotations

from pathlib import Path

from vaetools.model import shipped
from vaetools.model.checked import check, check_key
from vaetools.model.folder import Model
from vaetools.model.manifest import FILE_NAME, read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.model.runtime import Runtime


def shipped_keys() -> dict[str, str]:
    """Key -> model and role of each shipped graph, after its check."""
    found = {}
    top = shipped_folder()
    assert top is not None
    for folder in sorted(path.parent for path in top.glob(f"*/{FILE_NAME}")):
        manifest = read_manifest(folder)
        model = Model(manifest, folder, Runtime("cpu"))
        for role, spec in manifest.graphs.items():
            check(model.unchecked_graph(role), manifest, role, spec.file)
            found[check_key(manifest, role)] = f"{manifest.id} {role}"
    return found


def main() -> None:
    place = Path(shipped.__file__)
    head = place.read_text().split("CHECKED")[0]
    lines = [f'        # {what}\n        "{key}",\n' for key, what in shipped_keys().items()]
    place.write_text(
        f"{head}CHECKED: frozenset[str] = frozenset(\n    {{\n{''.join(lines)}    }}\n)\n"
    )


if __name__ == "__main__":
    main()
