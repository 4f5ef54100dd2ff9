"""Run every operation with CUDA sessions, and print where their nodes are placed.

For a process with the stub libraries of `fake`. Sessions are opened as vaetools opens them; results
come from the CPU, because the fake computes nothing.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

import vaetools
from vaetools.model import runtime, session
from vaetools.model.devices import Device
from vaetools.model.session import Session
from vaetools.model.vae import Vae

if TYPE_CHECKING:
    from collections.abc import Sequence

FOUND: dict[str, dict[str, Any]] = defaultdict(
    lambda: {"cuda": 0, "elsewhere": set(), "copies": set(), "shapes": set(), "exact": False}
)

OPTIMISED: dict[int, Path] = {}

FOLDER = Path(tempfile.mkdtemp())


def placed(opened: Any) -> tuple[int, set[str], set[str]]:
    """(nodes on CUDA, kinds of nodes elsewhere, kinds of copies) of a session of ONNX Runtime."""
    on_cuda, elsewhere = 0, set()
    for part in opened.get_provider_graph_assignment_info():
        nodes = part.get_nodes()
        if part.ep_name == "CUDAExecutionProvider":
            on_cuda += len(nodes)
        else:
            elsewhere |= {node.op_type for node in nodes}
    graph = onnx.load(str(OPTIMISED[id(opened)]), load_external_data=False).graph
    return on_cuda, elsewhere, {n.op_type for n in graph.node if "Memcpy" in n.op_type}


def watch() -> None:
    """Open sessions with records of their nodes, and take results from the CPU."""
    options, create = session.session_options, session.create_session
    run = Session.run
    on_cpu: dict[int, Session] = {}
    graphs: dict[int, bytes] = {}
    last: list[Path] = []
    init = Session.__init__

    def watched_options(threads: int) -> Any:
        made = options(threads)
        made.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        last[:] = [FOLDER / f"{len(OPTIMISED)}.onnx"]
        made.optimized_model_filepath = str(last[0])
        return made

    def watched_create(*arguments: Any) -> Any:
        made = create(*arguments)
        OPTIMISED[id(made)] = last[0]
        KEPT.append(made)
        return made

    def kept_init(self: Session, graph: bytes, *rest: Any) -> None:
        graphs[id(self)] = graph
        init(self, graph, *rest)

    def watched_run(self: Session, values: Sequence[np.ndarray], **rest: Any) -> Any:
        entry = FOUND[f"{Path(self.name).parent.name}/{Path(self.name).stem}"]
        if self.device.kind == "cpu":
            entry["exact"] = id(self) not in {id(s) for s in on_cpu.values()}
            return run(self, values, **rest)
        shapes = tuple(value.shape for value in values)
        if shapes not in entry["shapes"]:
            entry["shapes"].add(shapes)
            on_cuda, elsewhere, copies = placed(self._session_for(shapes))
            entry["cuda"] += on_cuda
            entry["elsewhere"] |= elsewhere
            entry["copies"] |= copies
        if id(self) not in on_cpu:
            on_cpu[id(self)] = Session(graphs[id(self)], self.name, Device("cpu"), 1)
        return run(on_cpu[id(self)], values, **rest)

    session.session_options, session.create_session = watched_options, watched_create
    Session.__init__, Session.run = kept_init, watched_run  # type: ignore[method-assign]
    runtime.proven_device = lambda device: device  # type: ignore[assignment]


KEPT: list[Any] = []
"""Sessions of ONNX Runtime, so that their ids stay theirs."""


def operate() -> None:
    """Every operation of every shipped model, so that all graphs run."""
    hub = vaetools.open("cuda", threads=1)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (80, 144, 3), np.uint8)
    for pixels in (image, image.astype(np.uint16) * 257, image[..., 0]):
        hub.decompress(hub.compress(pixels, quality=75))
        hub.denoise(pixels, sigma=20, samples=1, uncertainty=True)
        hub.inpaint(pixels, mask=np.eye(80, 144, dtype=np.uint8) * 255, samples=1)
        hub.augment(pixels, n=1)
    wide = np.tile(image, (1, 9, 1))  # several windows
    hub.decompress(hub.compress(wide, quality=75, refine=1))
    hub.denoise(image, sigma="auto")
    for model_id in hub.registry.ids("generate"):
        model = hub.registry.open(model_id)
        assert isinstance(model, Vae)
        height, width = model.manifest.size.fixed
        model.decode(model.encode(np.zeros((height, width, 3), np.float32)).mode())


def main() -> None:
    watch()
    operate()
    print(json.dumps(FOUND, default=list))


if __name__ == "__main__":
    main()
