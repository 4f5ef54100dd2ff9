"""Ten faults of an installation, seeded for a process: folders, packages, stub libraries, limits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import vaetools_models

from tests.paths import ROOT

CAUSES = """
import resource, sys
class Missing:
    names = set()
    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""
"""Start of the `sitecustomize.py` of the process."""


@dataclass
class Bench:
    """A process to be: its packages, environment and libraries.

    Attributes:
        folder: scratch space.
        env: its environment.
        options: global options of the command line.
    """

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    causes: str = CAUSES

    def __post_init__(self) -> None:
        self.site = self.folder / "site"
        self.libraries = self.folder / "libraries"
        self.site.mkdir()
        self.libraries.mkdir()
        ours = [ROOT, ROOT / "plugins", ROOT / "exported_models"]
        self.path = [str(self.site), *map(str, ours)]
        self.env = {
            **os.environ,
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "LD_LIBRARY_PATH": str(self.libraries),
            "TMPDIR": str(self.folder),
        }

    def package(self, name: str, version: str) -> None:
        """What pip leaves of a package."""
        info = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(text)

    def library(self, name: str, code: str = "int unused;") -> None:
        """A shared library."""
        source = self.libraries / "source.c"
        source.write_text(code)
        words = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", self.libraries / name]
        subprocess.run([*words, source], check=True)

    def driver(self, cuda: int) -> None:
        """An NVIDIA driver that supports a version of CUDA, `13000` for 13.0."""
        code = (
            "int cuInit(unsigned f) { return 0; }\n"
            f"int cuDriverGetVersion(int *v) {{ *v = {cuda}; return 0; }}\n"
        )
        self.library("libcuda.so.1", code)

    def cuda(self, major: int) -> None:
        """The libraries of one version of CUDA, without cuDNN."""
        for other in self.libraries.glob("libcu[db][la]*"):
            if other.name != "libcuda.so.1":
                other.unlink()
        for name in ("cudart", "cublasLt", "cublas"):
            self.library(f"lib{name}.so.{major}")
        self.library("libcurand.so.10")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`vaetools WORDS` in this environment."""
        (self.site / "sitecustomize.py").write_text(self.causes)
        return subprocess.run(
            [sys.executable, "-m", "vaetools", *self.options, *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={**self.env, "PYTHONPATH": os.pathsep.join(self.path)},
        )


@dataclass(frozen=True)
class Fault:
    """A fault: how it is seeded, and what `doctor` must say about it.

    Attributes:
        state: of the finding.
        subject, text, cure: parts of the finding.
    """

    state: str
    subject: str
    text: str
    cure: str


def both_runtimes(bench: Bench) -> Fault:
    bench.package("onnxruntime", "1.31.1")
    bench.package("onnxruntime-gpu", "1.31.1")
    cure = "pip uninstall -y onnxruntime onnxruntime-gpu"
    return Fault("fail", "onnxruntime", "both onnxruntime and onnxruntime-gpu", cure)


def clashing_opencv(bench: Bench) -> Fault:
    bench.package("opencv-python", "5.0.0.93")
    bench.package("opencv-contrib-python-headless", "5.0.0.93")
    cure = "&& pip install opencv-contrib-python-headless"
    return Fault("fail", "opencv", "lacks contrib functions", cure)


def missing_codec(bench: Bench) -> Fault:
    bench.causes += "Missing.names.add('PIL._webp')\n"
    return Fault("fail", "pillow webp", "no webp codec", "pip install --force-reinstall")


def missing_cudnn(bench: Bench) -> Fault:
    bench.driver(13000)
    bench.cuda(13)
    return Fault("fail", "cudnn", "cuDNN 9 is missing", "pip install 'vaetools[cuda]'")


def wrong_cuda(bench: Bench) -> Fault:
    bench.driver(13000)
    bench.cuda(12)
    text = "CUDA 12 is installed, but ONNX Runtime needs CUDA 13"
    return Fault("fail", "cuda libraries", text, "pip install 'vaetools[cuda]'")


def old_driver(bench: Bench) -> Fault:
    bench.driver(12040)
    text = "supports CUDA 12.4, ONNX Runtime needs 13"
    return Fault("fail", "cuda driver", text, "apt-get install -y nvidia-driver-580")


def altered_model(bench: Bench) -> Fault:
    """The models that vaetools comes with, of which one differs in a byte."""
    shipped = Path(vaetools_models.__path__[0])
    copies = bench.folder / "models" / "vaetools_models"
    shutil.copytree(shipped, copies, ignore=shutil.ignore_patterns("photo-*"))
    graph = copies / "mnist-mlp" / "decode.onnx"
    data = bytearray(graph.read_bytes())
    data[-1] ^= 1
    graph.write_bytes(data)
    bench.path.insert(1, str(copies.parent))
    cure = "pip install --force-reinstall --no-deps vaetools"
    return Fault("fail", "model mnist-mlp", "its sha256 is not the one", cure)


def read_only_cache(bench: Bench) -> Fault:
    """Not even root can make a folder there."""
    bench.env["XDG_CACHE_HOME"] = "/proc/self/fdinfo" if os.geteuid() == 0 else str(bench.folder)
    if os.geteuid() != 0:
        (bench.folder / "vaetools").mkdir(mode=0o500)
    return Fault("note", "cache", "cannot be written", "export XDG_CACHE_HOME=/tmp/cache")


def no_space(bench: Bench) -> Fault:
    """As a quota: every write beyond 64 kB fails."""
    bench.causes += (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
    )
    return Fault("fail", "disk", "no space for this folder", "df -h ")


def broken_plugin(bench: Bench) -> Fault:
    plugins = bench.folder / "plugins"
    plugins.mkdir()
    (plugins / "luckless.py").write_text("raise RuntimeError('no luck')")
    bench.options = ["--plugins-dir", str(plugins)]
    cure = f"rm -r {plugins / 'luckless.py'}"
    return Fault("fail", "plugin luckless", "RuntimeError: no luck", cure)


FAULTS = {
    "both wheels of ONNX Runtime": both_runtimes,
    "missing cuDNN": missing_cudnn,
    "wrong major version of CUDA": wrong_cuda,
    "old driver": old_driver,
    "bad sha256": altered_model,
    "read-only cache": read_only_cache,
    "no space": no_space,
    "broken plugin": broken_plugin,
    "missing codec of Pillow": missing_codec,
    "clashing wheels of OpenCV": clashing_opencv,
}
