"""Where the parts of the repository are that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
PLUGINS = ROOT / "tests" / "plugins"  # drop-in plugins
SHARED = ROOT.parent / "shared"  # evaluation data, where there is any
