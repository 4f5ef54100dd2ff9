"""Fuzzer of single operators: graphs of one random node, checked, opened and run by ONNX Runtime.

    python -m tests.fuzz.nodes --cases 100000 --seed 0

What passes the check is opened and run in a child process. A finding is a graph that ends the child, or
takes more than `SECONDS` or `MEMORY`. The last line is a summary.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, defs, helper, numpy_helper

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import check_graph
from vaetools.graphcheck.operators import ALLOWED
from vaetools.model.session import session_options

SECONDS = 10
MEMORY = 512 * 2**20
AT_ONCE = 400
"""Cases of one child process."""

NASTY = [0, 1, 2, 3, 4, 5, 7, 8, 16, 64, 255, 1000, 65535, 2**20, 2**24, 2**28, -1, -2, -3]
FRACTIONS = [0.0, 1.0, 2.0, 0.5, -1.0, 1e-30, 1e30, 100.0, float("inf")]
SIDES = [1, 1, 2, 3, 4, 5, 8, 16, 33]
OPSETS = [9, 11, 13, 17, 18, 20, 21, 23]
FLOAT = TensorProto.FLOAT
ELEMENTS = [
    *[FLOAT] * 8,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.UINT8,
    TensorProto.INT8,
    TensorProto.BOOL,
    TensorProto.DOUBLE,
    TensorProto.FLOAT16,
]
WORDS = {
    "equation": "i,j->ij i,jk->ik ii->i ii i-> -> ij->ji ...ij,...jk->...ik abcdefg->a i,i-> ij,ij->j "
    "i...->... aab,b->a i,j,k,ij,jk->",
    "auto_pad": "NOTSET SAME_UPPER SAME_LOWER VALID x",
    "mode": "nearest linear cubic constant reflect edge wrap DCR CRD bilinear x",
    "coordinate_transformation_mode": "half_pixel align_corners asymmetric tf_crop_and_resize "
    "pytorch_half_pixel half_pixel_symmetric",
    "direction": "LEFT RIGHT forward reverse bidirectional",
    "reduction": "none add mul max min",
    "padding_mode": "zeros border reflection",
    "nearest_mode": "floor ceil round_prefer_floor round_prefer_ceil",
    "keep_aspect_ratio_policy": "stretch not_larger not_smaller",
    "approximate": "none tanh",
    "activations": "Sigmoid Tanh Relu x",
}


@dataclass
class Findings:
    """What a run found.

    Attributes:
        counts: cases by how far they came: `checked`, `passed`, `opened`, `ran`.
        worst: descriptions of the cases that took too much.
    """

    counts: Counter[str] = field(default_factory=Counter)
    worst: list[str] = field(default_factory=list)


def graph_of(seed: int) -> tuple[str, bytes]:
    """(operator, ONNX bytes) of a case."""
    rng = random.Random(seed)
    opset = rng.choice(OPSETS)
    schema = None
    while schema is None:
        operator = rng.choice(sorted(ALLOWED - {"Constant"}))
        try:
            schema = defs.get_schema(operator, opset, "")
        except defs.SchemaError:
            continue
    nodes, constants, inputs = _inputs(rng, schema)
    least = max(1, schema.min_output)
    count = rng.randint(least, max(least, min(schema.max_output, schema.min_output + 2)))
    node = helper.make_node(operator, inputs, [f"o{i}" for i in range(count)])
    for name, attribute in schema.attributes.items():
        if attribute.required or rng.random() < 0.5:
            _add_attribute(rng, node, name, attribute.type)
    nodes += [
        node,
        helper.make_node("Cast", [f"o{rng.randrange(count)}"], ["f"], to=FLOAT),
        helper.make_node("ReduceMean", ["f"], ["m"], keepdims=0),
        helper.make_node("Add", ["latent", "m"], ["image"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fuzz",
        [_value("latent", "latent_height", "latent_width")],
        [_value("image", "height", "width")],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return operator, model.SerializeToString()


def _value(name: str, *sides: str) -> Any:
    return helper.make_tensor_value_info(name, FLOAT, [1, 3, *sides])


def _inputs(rng: random.Random, schema: Any) -> tuple[list[Any], list[Any], list[str]]:
    """(nodes, constants, names) of the inputs of a node."""
    nodes: list[Any] = []
    constants: list[Any] = []
    names: list[str] = []
    most = min(schema.max_input, schema.min_input + 4, 10)
    for number in range(rng.randint(schema.min_input, max(schema.min_input, most))):
        chance = rng.random()
        if number and chance < 0.08:
            names.append("")
        elif not number and chance < 0.3:
            names.append("latent")
        elif chance < 0.6:
            names.append(_content(rng, f"i{number}", nodes, constants))
        else:
            constants.append(_constant(rng, f"c{number}"))
            names.append(f"c{number}")
    while names and not names[-1]:
        names.pop()
    return nodes, constants, names


def _content(rng: random.Random, name: str, nodes: list[Any], constants: list[Any]) -> str:
    """A tensor of some shape and type that depends on the latents."""
    nodes.append(helper.make_node("ReduceMean", ["latent"], [f"{name}_s"], keepdims=0))
    last = f"{name}_s"
    shape = [rng.choice(SIDES) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 6]))]
    if shape:
        constants.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}_e"))
        nodes.append(helper.make_node("Expand", [last, f"{name}_e"], [f"{name}_x"]))
        last = f"{name}_x"
    element = rng.choice(ELEMENTS)
    if element != FLOAT:
        nodes.append(helper.make_node("Cast", [last], [f"{name}_c"], to=element))
        last = f"{name}_c"
    return last


def _constant(rng: random.Random, name: str) -> Any:
    kind = rng.choices(["integers", "floats", "zeros", "ones"], [6, 2, 1, 1])[0]
    count = rng.choice([0, 1, 1, 2, 2, 3, 4, 8])
    if kind == "integers":
        several = rng.random() < 0.8
        numbers: Any = [rng.choice(NASTY) for _ in range(count)] if several else rng.choice(NASTY)
        array = np.array(numbers, np.int64)
    elif kind == "floats":
        array = np.array([rng.choice(FRACTIONS) for _ in range(count)], np.float32)
    else:
        least = 0 if kind == "zeros" else 1
        shape = [rng.randint(least, 4) for _ in range(rng.choice([0, 1, 2, 3, 4]))]
        types = [np.float32, np.uint8, np.int8, np.int64, np.int32, np.bool_]
        make = np.zeros if kind == "zeros" else np.ones
        array = make(shape, rng.choice(types) if kind == "zeros" else np.float32)
    return numpy_helper.from_array(array, name)


def _add_attribute(rng: random.Random, node: Any, name: str, kind: Any) -> None:
    """Add an attribute with a random value, where one of its type can be made."""
    words = WORDS.get(name, "x").split(" ")
    several = rng.choice([0, 1, 2, 2, 3, 4, 8])
    makers: dict[str, Any] = {
        "INT": lambda: rng.choice(NASTY),
        "INTS": lambda: [rng.choice(NASTY) for _ in range(several)],
        "FLOAT": lambda: rng.choice(FRACTIONS[:-1]),
        "FLOATS": lambda: [rng.choice(FRACTIONS[:5]) for _ in range(several)],
        "STRING": lambda: rng.choice(words),
        "STRINGS": lambda: [rng.choice(words) for _ in range(max(1, several))],
        "TENSOR": lambda: numpy_helper.from_array(
            np.array([rng.choice([0, 1, 3])], rng.choice([np.float32, np.int64])), "v"
        ),
    }
    if kind.name not in makers:
        return
    value = makers[kind.name]()
    if value == []:
        node.attribute.add(name=name, type=onnx.AttributeProto.INTS)
    else:
        node.attribute.append(helper.make_attribute(name, value))


class _Child:
    """Runs cases in a forked process, and says what it was doing when it ended."""

    def __init__(self) -> None:
        self.note = mmap.mmap(-1, 4096)

    def say(self, **what: Any) -> None:
        self.note[:] = json.dumps(what).encode().ljust(4096)

    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(bytes(self.note).decode())
        return found

    def run(self, first: int, count: int) -> None:
        """Run cases, in the child, until one takes too much; ends the process."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + 4 * MEMORY,) * 2)
        counts: Counter[str] = Counter()
        latent = np.random.default_rng(0).random((1, 3, 16, 16), dtype=np.float32)
        sizes = {"latent_height": 16, "latent_width": 16, "height": 64, "width": 64}
        for case in range(first, first + count):
            operator, data = graph_of(case)

            def at(stage: str, *, case: int = case, operator: str = operator) -> None:
                counts[stage] += 1
                self.say(case=case, operator=operator, stage=stage, counts=counts)

            signal.alarm(SECONDS)
            before = _peak()
            at("checked")
            try:
                check_graph(data, "x", inputs=["latent"], outputs=["image"], sizes=sizes)
                at("passed")
                session = onnxruntime.InferenceSession(data, session_options(1))
                at("opened")
                session.run(None, {"latent": latent})
                counts["ran"] += 1
            except ModelBrokenError:
                pass
            except Exception as error:  # noqa: BLE001 - refused by ONNX Runtime
                if "bad_alloc" in str(error) or "allocate" in str(error):
                    self.say(case=case, operator=operator, stage="memory", counts=counts)
                    os._exit(3)
            signal.alarm(0)
            if _peak() - before > MEMORY:
                self.say(case=case, operator=operator, stage="memory", counts=counts)
                os._exit(3)
        self.say(case=first + count - 1, operator="", stage="end", counts=counts)
        os._exit(0)


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(first: int, count: int) -> Findings:
    """Run the cases `first` … `first + count − 1`."""
    found = Findings()
    child = _Child()
    end = first + count
    while first < end:
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            try:
                child.run(first, min(AT_ONCE, end - first))
            finally:
                os._exit(77)
        _, status = os.waitpid(process, 0)
        said = child.said()
        found.counts.update(said["counts"])
        if said["stage"] != "end":
            code = os.waitstatus_to_exitcode(status)
            how = signal.Signals(-code).name if code < 0 else "too much memory"
            found.worst.append(f"case {said['case']}: {said['operator']} {said['stage']}: {how}")
        first = said["case"] + 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    arguments = parser.parse_args()
    start = time.monotonic()
    found = fuzz(arguments.seed, arguments.cases)
    for line in found.worst:
        print(line)
    facts = {**found.counts, "findings": len(found.worst)}
    print(json.dumps({**facts, "seconds": round(time.monotonic() - start)}))
    sys.exit(bool(found.worst))


if __name__ == "__main__":
    main()
