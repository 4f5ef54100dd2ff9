"""Write the tables and charts of docs/benchmarks.md, and tables elsewhere, from benchmarks/results/.

    python docs/make_benchmarks.py                    # pages and charts from the results
    python docs/make_benchmarks.py --take FILE.json …  # keep results of new runs first

Between `<!-- NAME -->` and `<!-- end NAME -->` on a page stands the table of that name.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "limitations.md")
CHARTS = ROOT / "docs" / "images"

sys.path.insert(0, str(ROOT / "benchmarks"))

COLOURS = {"JPEG": "#8a8f98", "WebP": "#2f9e6e", "AVIF": "#e08a1e", "JPEG XL": "#8b5fbf"}
OURS = "#0b57d0"


def take(file: Path) -> None:
    """Keep the result of a run: without single images, and without paths of the machine."""
    found = json.loads(file.read_text(encoding="utf-8"))
    for curve in found.get("curves", {}).values() if isinstance(found, dict) else ():
        for point in curve["points"]:
            del point["images"]
    text = re.sub(r"(?<=[ \"`'])/[\w./-]*/([\w.-]+)", r"\1", json.dumps(found, indent=1))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / file.name).write_text(f"{text}\n", encoding="utf-8")


def result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def signed(value: float) -> str:
    return f"{value:+.1f} %".replace("-", "−")


def ran(run: list[str]) -> list[str]:
    """How a result was made: the command, the date, the machine."""
    command, date, _, machine, *_ = run
    command = re.sub(r" --(out|published) [^\s`]+", "", command)
    text = f"{command}, {date.split()[0]}, {machine.rpartition(',')[0]}."
    return ["", *textwrap.wrap(text, 100, break_on_hyphens=False, break_long_words=False)]


def rates(curve: dict[str, Any]) -> list[tuple[float, float]]:
    return [(point["bpp"], point["psnr"]) for point in curve["points"]]


def codec_points() -> list[str]:
    """Rate, PSNR and MS-SSIM at each quality."""
    curves = result("codec")["curves"]
    points = curves["vaetools"]["points"]
    lines = [
        "| quality | " + " | ".join(str(point["level"]) for point in points) + " |",
        "|---" * (len(points) + 1) + "|",
    ]
    refined = curves.get("vaetools --refine 8", {"points": []})["points"]
    for prefix, rows in (("", points), ("`--refine 8`: ", refined)):
        for label, key, digits in (
            ("bits per pixel", "bpp", 3), ("PSNR, dB", "psnr", 2), ("MS-SSIM", "ms_ssim", 3)
        ):  # fmt: skip
            if rows:
                cells = " | ".join(f"{row[key]:.{digits}f}" for row in rows)
                lines.append(f"| {prefix}{label} | {cells} |")
    return lines


def codec_rates() -> list[str]:
    """BD-rates against the other codecs, with what produced them."""
    from bd_rate import bd_rate

    found = result("codec")
    curves = dict(found["curves"])
    ours = {name: curves.pop(name) for name in list(curves) if name.startswith("vaetools")}
    lines = [
        "| bits for the same PSNR, against | " + " | ".join(ours) + " |",
        "|---" + "|---:" * len(ours) + "|",
    ]
    for name, curve in curves.items():
        cells = (signed(bd_rate(rates(our), rates(curve))) for our in ours.values())
        lines.append(f"| {name} ({curve['settings']}) | {' | '.join(cells)} |")
    return lines + ran(found["run"])


def codec_short() -> list[str]:
    """One line for the README."""
    from bd_rate import bd_rate

    curves = result("codec")["curves"]
    against = ("JPEG", "WebP", "AVIF", "JPEG XL")
    cells = [signed(bd_rate(rates(curves["vaetools"]), rates(curves[name]))) for name in against]
    return [
        "| `compress`: bits for the PSNR of | " + " | ".join(against) + " |",
        "|---" + "|---:" * len(against) + "|",
        f"| Kodak, 24 images | {' | '.join(cells)} |",
    ]


def screenshots() -> list[str]:
    found = result("weak_spots")
    lines = [
        "| screenshot | `.vae`, kB | its PSNR, dB | lossless WebP, kB | lossy WebP of that PSNR, kB |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in found["screenshots"]:
        name = row["image"].rpartition(".")[0]
        if row["psnr"] is None:
            quality, lossy = "exact", ""
        else:
            quality, lossy = f"{row['psnr']:.1f}", _kilobytes(row["lossy_webp"])
        cells = f"{_kilobytes(row['vae'])} | {quality} | {_kilobytes(row['webp'])} | {lossy}"
        lines.append(f"| {name} | {cells} |")
    return lines + ran(found["run"])


def _kilobytes(size: int | None) -> str:
    return "not reached" if size is None else f"{size / 1000:.0f}"


def gradients() -> list[str]:
    lines = ["| smooth image | inpaint, dB | biharmonic, dB |", "|---|---:|---:|"]
    return lines + [
        f"| {row['image']} | {row['ours']:.1f} | {row['biharmonic']:.1f} |"
        for row in result("weak_spots")["gradients"]
    ]


def clean() -> list[str]:
    rows = result("weak_spots")["clean"]
    return [
        "| | " + " | ".join(f"`--sigma {row['sigma']}`" for row in rows) + " |",
        "|---" + "|---:" * len(rows) + "|",
        "| PSNR, dB | " + " | ".join(_psnr(row["psnr"]) for row in rows) + " |",
    ]


def _psnr(value: float) -> str:
    return "unchanged" if value >= 60 else f"{value:.1f}"


TABLES = {
    "codec-points": codec_points,
    "codec-rates": codec_rates,
    "codec-short": codec_short,
    "screenshots": screenshots,
    "gradients": gradients,
    "clean": clean,
}


def filled(text: str) -> str:
    """The page with its tables."""

    def table(match: re.Match[str]) -> str:
        lines = "\n".join(TABLES[match[1]]())
        return f"<!-- {match[1]} -->\n{lines}\n<!-- end {match[1]} -->"

    return re.sub(r"<!-- ([\w-]+) -->\n(?:(?!<!--).)*<!-- end \1 -->", table, text, flags=re.DOTALL)


def codec_chart() -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "vaetools", "svg.fonttype": "path"})
    from matplotlib import pyplot as plt

    curves = result("codec")["curves"]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for axis, key, title in zip(axes, ("psnr", "ms_ssim"), ("PSNR, dB", "MS-SSIM"), strict=True):
        for name, curve in curves.items():
            style = {"color": COLOURS.get(name, "#b8470f"), "lw": 1.2, "marker": ".", "ms": 4}
            if name.startswith("vaetools"):
                style = {"color": OURS, "lw": 2, "ls": ":" if "refine" in name else "-"}
            x = [point["bpp"] for point in curve["points"]]
            axis.plot(x, [point[key] for point in curve["points"]], label=name, **style)
        axis.set_xlabel("bits per pixel")
        axis.set_title(title, fontsize=10)
        axis.set_xlim(0, 1.7)
        axis.grid(alpha=0.3)
    axes[0].set_ylim(25, 40)
    axes[1].set_ylim(0.88, 1)
    axes[1].legend(fontsize=8, loc="lower right")
    figure.savefig(CHARTS / "codec-kodak.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--take", type=Path, nargs="+", default=[], metavar="FILE.json")
    for file in parser.parse_args().take:
        take(file)
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    codec_chart()


if __name__ == "__main__":
    main()
