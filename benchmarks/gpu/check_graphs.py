"""Parts of `check.py` about sessions: where nodes run, time, shapes, exactness."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from throughput_network import flops

import vaetools
from vaetools.model import session as sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from check import Check

    from vaetools.model.devices import Device
    from vaetools.model.session import Sizes

    Feeds = dict[str, np.ndarray]

VARIANTS: dict[str, dict[str, str]] = {
    "no TF32": {"use_tf32": "0"},
    "bias fused": {"fuse_conv_bias": "1"},
    "NHWC": {"prefer_nhwc": "1"},
    "exhaustive search": {"cudnn_conv_algo_search": "EXHAUSTIVE"},
    "CUDA graph": {"enable_cuda_graph": "1"},
}
"""Options of the CUDA provider that are tried on each graph."""


@dataclass
class Opened:
    """A session of ONNX Runtime that an operation has opened.

    Attributes:
        session, graph, device, sizes, name: of it; see `create_session`.
        feeds: inputs of its first run.
    """

    session: Any
    graph: bytes
    device: Device
    sizes: Sizes
    name: str
    feeds: Feeds | None = None

    @property
    def label(self) -> str:
        """Name of the graph, and its inputs."""
        sides = [
            "x".join(map(str, value.shape)) for value in (self.feeds or {}).values() if value.ndim
        ]
        return f"{Path(self.name).stem}({', '.join(sides[:1])})"


@contextmanager
def recorded(*, profile: str = "") -> Iterator[list[Opened]]:
    """All sessions that are opened inside the block, with the inputs of their first run."""
    found: list[Opened] = []
    calls: list[tuple[str, Feeds]] = []
    create, options_of = sessions.create_session, sessions.session_options
    call = sessions.Session.run

    def opened(graph: bytes, device: Device, threads: int, name: str, sizes: Sizes = ()) -> Any:
        entry = Opened(create(graph, device, threads, name, sizes), graph, device, sizes, name)
        real = entry.session.run

        def run(outputs: Any, feeds: Feeds, *rest: Any) -> Any:
            if entry.feeds is None:
                entry.feeds = {key: np.array(value) for key, value in feeds.items()}
            return real(outputs, feeds, *rest)

        entry.session.run = run
        found.append(entry)
        return entry.session

    def profiled(threads: int) -> Any:
        options = options_of(threads)
        if profile:
            options.enable_profiling = True
            options.profile_file_prefix = f"{profile}-{len(found)}"
        return options

    def called(self: Any, values: Any, **options: Any) -> Any:
        calls.append((self.name, dict(zip(self.inputs, map(np.array, values), strict=True))))
        return call(self, values, **options)

    with (
        mock.patch.object(sessions, "create_session", opened),
        mock.patch.object(sessions, "session_options", profiled),
        mock.patch.object(sessions.Session, "run", called),
    ):
        yield found
    for entry in found:  # sessions that run with bound inputs only
        if entry.feeds is None:
            entry.feeds = next((f for n, f in calls if n == entry.name and _fit(entry, f)), None)


def _fit(entry: Opened, feeds: Feeds) -> bool:
    """Whether a session takes these inputs."""
    inputs = {value.name: tuple(value.shape) for value in entry.session.get_inputs()}
    if inputs.keys() != feeds.keys():
        return False
    given = sessions.free_sizes([*inputs.values()], [feeds[name].shape for name in inputs])
    return given is not None and (not entry.sizes or given == ())


def use_all_graphs(check: Check) -> None:
    """One image through every operation: opens all the sessions that users need."""
    image = cv2.imread(str(check.photos[0]))
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[20:40, 20:60] = 255
    with vaetools.open(check.device, threads=1) as hub:
        hub.decompress(hub.compress(image, quality=75))
        hub.denoise(image, sigma="25")
        hub.denoise(image)
        hub.inpaint(image, mask=mask)
        hub.augment(image, n=1)


def placement(check: Check) -> dict[str, Any]:
    """Nodes by provider and copies between devices, of every session."""
    with recorded(profile=str(check.scratch / "profile")) as found:
        use_all_graphs(check)
    out = {}
    for entry in found:
        if entry.feeds is None:
            continue
        events = json.loads(Path(entry.session.end_profiling()).read_text(encoding="utf-8"))
        nodes = Counter(
            (event["args"]["provider"].removesuffix("ExecutionProvider"), event["args"]["op_name"])
            for event in {
                event["name"]: event
                for event in events
                if event.get("cat") == "Node" and "provider" in event.get("args", {})
            }.values()
        )
        providers: Counter[str] = Counter()
        for (provider, _), count in nodes.items():
            providers[provider] += count
        copies = sum(count for (_, operator), count in nodes.items() if "Memcpy" in operator)
        on_cpu = {o: count for (p, o), count in nodes.items() if p == "CPU"}
        away = f", on the CPU {on_cpu}" if entry.device.kind != "cpu" and on_cpu else ""
        check.say(f"{entry.label} for {entry.device}: {dict(providers)}, {copies} copies{away}")
        out[entry.label] = {"providers": providers, "copies": copies, "cpu": on_cpu}
    return out


def graphs(check: Check) -> dict[str, Any]:
    """Milliseconds of every session, and of variants of it."""
    with recorded() as found:
        use_all_graphs(check)
    out: dict[str, Any] = {}
    for entry in found:
        if entry.feeds is None:
            continue
        gflop = flops(entry.graph, {k: v.shape for k, v in entry.feeds.items()}) / 1e9
        repeat = 2 if check.quick else 20
        plain = median_ms(lambda e=entry: e.session.run(None, e.feeds), repeat)
        bound = median_ms(bound_run(entry.session, entry.feeds, entry.device), repeat)
        check.say(
            f"{entry.label} on {entry.device}: arrays {plain:.2f} ms, bound {bound:.2f} ms "
            f"= {gflop / bound:.1f} TFLOP/s"
        )
        out[entry.label] = {"arrays": plain, "bound": bound, "gflop": gflop}
        if entry.device.kind != "cuda" and not check.quick:
            continue
        for name, ms in _variants(check, entry, repeat):
            out[entry.label][name] = ms
        if check.left < 60 and not check.quick:
            check.say("graphs: out of time")
            break
    return out


def _variants(check: Check, entry: Opened, repeat: int) -> Iterator[tuple[str, float]]:
    """(name, milliseconds) of the session with other options, and in half precision."""
    assert entry.feeds is not None
    made = {name: (entry.graph, options) for name, options in VARIANTS.items()}
    if entry.device.kind == "cpu":
        made = {}
    for layout in ("0", "1") if entry.device.kind == "cuda" else ("0",):
        made[f"float16, NHWC {layout}"] = (half(entry.graph), {"prefer_nhwc": layout})
    expected = entry.session.run(None, entry.feeds)
    for name, (graph, options) in made.items():
        try:
            session = variant(graph, entry.device, entry.sizes, options)
            shapes = expected if name == "CUDA graph" else None
            ms = median_ms(bound_run(session, entry.feeds, entry.device, shapes), repeat)
            off = max(
                float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0))
                for a, b in zip(session.run(None, entry.feeds), expected, strict=True)
            )
        except Exception as error:  # noqa: BLE001 - some are not possible
            check.say(f"   {name}: {str(error)[:100]}")
            continue
        check.say(f"   {name}: bound {ms:.2f} ms, largest difference {off:.1e}")
        yield name, ms


def variant(graph: bytes, device: Device, sizes: Sizes, options: dict[str, str]) -> Any:
    """A session with other provider options."""
    settings = sessions.session_options(1)
    for symbol, size in sizes:
        settings.add_free_dimension_override_by_name(symbol, size)
    kind = device.row
    if device.kind == "cpu":
        return ort.InferenceSession(graph, settings, providers=[kind.provider])
    providers = [(kind.provider, {**kind.options(device.number), **options})]
    session = ort.InferenceSession(graph, settings, providers=providers, enable_fallback=0)
    session.disable_fallback()
    return session


def bound_run(
    session: Any, feeds: Feeds, device: Device, outputs: list[np.ndarray] | None = None
) -> Callable[[], None]:
    """A run whose inputs and outputs stay on the device; with `outputs`, at fixed addresses."""
    where = device.kind if device.kind == "cuda" else "cpu"
    binding = session.io_binding()
    for name, value in feeds.items():
        moved = ort.OrtValue.ortvalue_from_numpy(value, where, device.number)
        binding.bind_ortvalue_input(name, moved)
    for number, output in enumerate(session.get_outputs()):
        if outputs is None:
            binding.bind_output(output.name, where, device.number)
        else:
            moved = ort.OrtValue.ortvalue_from_numpy(outputs[number], where, device.number)
            binding.bind_ortvalue_output(output.name, moved)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


def median_ms(work: Callable[[], object], repeat: int) -> float:
    """Median time in milliseconds, after two runs to warm up."""
    times = []
    for number in range(repeat + 2):
        started = time.perf_counter()
        work()
        if number >= 2:
            times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def half(graph: bytes) -> bytes:
    """The graph in float16, with float32 inputs and outputs. Casts inside become casts to float16."""
    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    is_float = {
        value.name: value.type.tensor_type.elem_type == TensorProto.FLOAT
        for value in (*model.graph.input, *model.graph.output)
    }
    edges = [value.name for value in model.graph.input if is_float[value.name]]
    results = [value.name for value in model.graph.output if is_float[value.name]]
    renamed = {name: f"{name}/half" for name in (*edges, *results)}
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if (
                node.op_type == "Cast"
                and attribute.name == "to"
                and attribute.i == TensorProto.FLOAT
            ):
                attribute.i = TensorProto.FLOAT16
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
                values = numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(numpy_helper.from_array(values))
    nodes = [
        helper.make_node("Cast", [name], [renamed[name]], to=TensorProto.FLOAT16) for name in edges
    ]
    nodes += model.graph.node
    nodes += [
        helper.make_node("Cast", [renamed[name]], [name], to=TensorProto.FLOAT) for name in results
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    data: bytes = model.SerializeToString()
    return data


def shapes(check: Check) -> dict[str, Any]:
    """Images of one size, and of two sizes in turn: what a change of shapes costs."""
    image = cv2.imread(str(check.photos[0]))
    tall = np.ascontiguousarray(np.rot90(image))
    repeat = 2 if check.quick else 12
    out = {}
    with vaetools.open(check.device, threads=1) as hub:
        for name, step in (
            ("compress", hub.op("compress", quality=75)),
            ("denoise", hub.op("denoise", sigma="25")),
        ):
            same = median_ms(lambda step=step: (step(image), step(image)), repeat) / 2
            turns = median_ms(lambda step=step: (step(image), step(tall)), repeat) / 2
            check.say(f"{name}: {same:.2f} ms per image of one size, {turns:.2f} ms of two in turn")
            out[name] = {"same": same, "turns": turns}
    out["one session"] = _one_session(check, image, tall, repeat)
    return out


def _one_session(
    check: Check, image: np.ndarray, tall: np.ndarray, repeat: int
) -> dict[str, float]:
    """The same with one session of the denoiser for all shapes, as without fixed shapes."""
    with recorded() as found, vaetools.open(check.device, threads=1) as hub:
        for each in (image, tall):
            hub.denoise(each, sigma="25")
    used = [entry for entry in found if entry.feeds is not None]
    first = used[0]
    session = variant(first.graph, first.device, (), {})
    second = {
        name: np.ascontiguousarray(np.swapaxes(value, *_sides(value, image.shape)))
        for name, value in (first.feeds or {}).items()
    }
    same = median_ms(lambda: [session.run(None, first.feeds) for _ in range(2)], repeat) / 2
    turns = median_ms(lambda: [session.run(None, f) for f in (first.feeds, second)], repeat) / 2
    check.say(
        f"denoise, one session for all shapes: {same:.2f} ms, in turn {turns:.2f} ms "
        f"(a change of shapes costs {turns - same:.2f} ms)"
    )
    return {"same": same, "turns": turns}


def _sides(value: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int]:
    """The axes of height and width."""
    axes = [axis for axis, side in enumerate(value.shape) if side in shape[:2]]
    return (axes[0], axes[1]) if len(axes) == 2 else (0, 0)


def exact(check: Check) -> dict[str, int]:
    """Whether the network that must be exact gives the integers of the CPU on the device."""
    out = {}
    with vaetools.open("cpu", threads=1) as hub:
        model = hub.registry.for_task("compress")
        graph = model.graph_bytes("hyper_scale_index")
        channels = vaetools.Codec(model).tables.hyper_frequencies.shape[1]
    with recorded() as found, vaetools.open(check.device, threads=1) as hub:
        hub.denoise(np.zeros((64, 64, 3), np.uint8), sigma="25")
    device = next(entry.device for entry in found if entry.feeds is not None)
    cpu = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for name, options in (("TF32", {}), ("no TF32", {"use_tf32": "0"})):
        session = variant(graph, device, (), options)
        wrong = total = 0
        for seed in range(3 if check.quick else 40):
            rng = np.random.default_rng(seed)
            scale, sides = (0.5, 3, 20)[seed % 3], rng.integers(1, 19, 2)
            z = np.clip(np.rint(rng.laplace(0, scale, (1, channels, *sides))), -200, 200)
            feeds = {"hyper": z.astype(np.float32)}
            (expected,), (given,) = cpu.run(None, feeds), session.run(None, feeds)
            wrong, total = wrong + int((expected != given).sum()), total + expected.size
        check.say(f"index network on {device}, {name}: {wrong} of {total} differ from the CPU")
        out[name] = wrong
    return out
