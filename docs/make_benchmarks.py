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
from statistics import fmean
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "limitations.md")
CHARTS = ROOT / "docs" / "images"

sys.path.insert(0, str(ROOT / "benchmarks"))

COLOURS = {"JPEG": "#8a8f98", "WebP": "#2f9e6e", "AVIF": "#e08a1e", "JPEG XL": "#8b5fbf"}
OURS = "#0b57d0"
REFINED = "vaetools --refine 8"


def take(file: Path) -> None:
    """Keep the result of a run: without single images, and without paths of the machine."""
    found = json.loads(file.read_text(encoding="utf-8"))
    for curve in found.get("curves", {}).values():
        for point in curve["points"]:
            del point["images"]
    for method in found.get("methods", {}).values():
        if "psnr" in method:
            method["psnr"] = {kind: fmean(scores) for kind, scores in method["psnr"].items()}
    found.pop("images", None)
    text = re.sub(r"(?<=[ \"`'])/[\w./-]*/([\w.-]+)", r"\1", json.dumps(found, indent=1))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / file.name).write_text(f"{text}\n", encoding="utf-8")


def result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def signed(value: float) -> str:
    return f"{value:+.1f} %".replace("-", "−")


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A table whose columns, apart from the first, are aligned to the right."""
    rule = "|---" + "|---:" * (len(head) - 1) + "|"
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def paragraph(text: str) -> list[str]:
    return ["", *textwrap.wrap(text, 100, break_on_hyphens=False, break_long_words=False)]


def ran(found: dict[str, Any]) -> list[str]:
    """How a result was made: the command, the date, the machine."""
    command, date, _, machine, *_ = found["run"]
    command = re.sub(r" --(out|published|json) [^\s`]+", "", command)
    text = f"{command}, {date.split()[0]}, {machine.rpartition(',')[0]}."
    return paragraph(text)


def rates(curve: dict[str, Any]) -> list[tuple[float, float]]:
    return [(point["bpp"], point["psnr"]) for point in curve["points"]]


def codec_curves() -> dict[str, Any]:
    """The curves of `codec.json`, then those of the run with refinement, at fewer qualities."""
    curves: dict[str, Any] = result("codec")["curves"] | result("codec_refined")["curves"]
    return curves


def codec_points() -> list[str]:
    """Rate, PSNR and MS-SSIM at each quality."""
    curves = codec_curves()
    refined = {point["level"]: point for point in curves[REFINED]["points"]}
    points = {point["level"]: point for point in curves["vaetools"]["points"]}
    rows = []
    for prefix, found in (("", points), ("`--refine 8`: ", refined)):
        for label, key, digits in (
            ("bits per pixel", "bpp", 3), ("PSNR, dB", "psnr", 2), ("MS-SSIM", "ms_ssim", 3)
        ):  # fmt: skip
            cells = [f"{found[q][key]:.{digits}f}" if q in found else "" for q in points]
            rows.append([f"{prefix}{label}", *cells])
    return table(["quality", *map(str, points)], rows)


def codec_rates() -> list[str]:
    """BD-rates against the other codecs, with what produced them."""
    from bd_rate import bd_rate

    curves = codec_curves()
    ours = {name: curves.pop(name) for name in list(curves) if name.startswith("vaetools")}
    rows = [
        [
            f"{name} ({curve['settings']})",
            *(signed(bd_rate(rates(our), rates(curve))) for our in ours.values()),
        ]
        for name, curve in curves.items()
    ]
    lines = table(["bits for the same PSNR, against", *ours], rows)
    return lines + ran(result("codec")) + ran(result("codec_refined"))


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
    return lines + ran(found)


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


DENOISERS = {
    "scikit-image NLM": "scikit-image NLM",
    "wavelets": "wavelets (BayesShrink)",
    "OpenCV NLM": "OpenCV NLM",
}
"""Labels of the methods in `denoise.json`, in the order of the rows."""

INPAINTERS = {
    "biharmonic": "biharmonic (scikit-image)",
    "Navier-Stokes": "Navier-Stokes (OpenCV)",
    "Telea": "Telea (OpenCV)",
}

HOLES = {
    "scratch": "scratches, 1–3 px",
    "text": "text",
    "dust": "dust",
    "brush": "strokes, 8–16 px",
    "block": "squares, 32 px",
}


def denoisers() -> list[str]:
    """PSNR of all methods, coverage of the intervals, and camera noise."""
    from denoise_report import PUBLISHED

    found = result("denoise")
    ours = found["methods"][found["ours"]]
    levels = list(ours["float"])
    auto = {f"{row['level']:g}": row["auto"] for row in found["blind"]}
    none = ["" for _ in levels]

    def cells(figures: dict[str, float]) -> list[str]:
        return [f"{figures[level]:.2f}" for level in levels]

    def both(method: dict[str, Any]) -> list[str]:
        return cells(method["float"]) + cells(method["clipped"])

    rows = [
        ["photo-denoise, noise level given", *both(ours)],
        ["photo-denoise, noise level estimated", *none, *cells(auto)],
        *([label, *both(found["methods"][name])] for name, label in DENOISERS.items()),
        [f"published: {PUBLISHED[0][0]}", *cells(PUBLISHED[0][1]), *none],
    ]
    head = ["", *(f"σ {level}" for level in levels), *(f"σ {level}, 8 bit" for level in levels)]
    held = [row[protocol] for row in found["intervals"] for protocol in ("float", "clipped")]
    real = found["real"]
    text = (
        f"The 90 % intervals contain {min(held):.0f} to {max(held):.0f} % of the true values. "
        f"Camera noise (cc15, {real['pairs']} pairs): {real['input']:.1f} dB become "
        f"{real['photo']:.1f} dB with `--sigma photo`."
    )
    return table(head, rows) + paragraph(text) + ran(found)


def inpainters() -> list[str]:
    """PSNR of all methods within holes, and coverage of the intervals."""
    found = result("inpaint")
    methods = {kind: row["psnr"] for kind, row in found["methods"].items()}
    best = {kind: max(methods, key=lambda name: methods[name][kind]) for kind in HOLES}

    def row(name: str, label: str) -> list[str]:
        figures = {kind: f"{methods[name][kind]:.2f}" for kind in HOLES}
        return [label, *(f"**{t}**" if best[kind] == name else t for kind, t in figures.items())]

    rows = [row(found["ours"], "photo-inpaint"), *(row(*item) for item in INPAINTERS.items())]
    held = [sample["held"] for sample in found["samples"].values()]
    text = f"The 90 % intervals contain {min(held):.0f} to {max(held):.0f} % of the true values."
    return table(["", *HOLES.values()], rows) + paragraph(text) + ran(found)


def restoration_short() -> list[str]:
    """Two lines for the README."""
    denoise, inpaint = result("denoise"), result("inpaint")
    from denoise_report import PUBLISHED

    name, figures = PUBLISHED[0]
    scores = {method: row["float"]["25"] for method, row in denoise["methods"].items()}
    ours = scores.pop(denoise["ours"])
    best = max(scores, key=lambda method: scores[method])
    rows = [["`denoise`, σ 25, CBSD68", f"{ours:.2f}", f"{scores[best]:.2f}"]]
    rows[0].append(f"{best}; published {name}: {figures['25']:.2f}")
    scores = {method: row["psnr"]["scratch"] for method, row in inpaint["methods"].items()}
    ours = scores.pop(inpaint["ours"])
    best = max(scores, key=lambda method: scores[method])
    rows.append(["`inpaint`, scratches, Kodak", f"{ours:.2f}", f"{scores[best]:.2f}"])
    rows[1].append(f"{best}; of the holes only")
    lines = table(["PSNR in dB", "ours", "best classical method tried", ""], rows)
    return [line.replace("|---:|---:|---:|", "|---:|---:|---|") for line in lines]


def digits() -> list[str]:
    """Bounds of the models of digits."""
    found = result("mnist")
    rows = [
        [
            f"`{row['model']}`",
            f"{row['megabytes']:.1f} MB",
            f"{row['active']} of {row['latents']}",
            f"{-row['elbo']:.2f}",
            f"**{-row['iwae']:.2f}**",
        ]
        for row in found["models"]
    ]
    head = ["model", "size", "active latents", "−ELBO", f"−IWAE, K = {found['samples']}"]
    return table(head, rows) + ran(found)


TABLES = {
    "codec-points": codec_points,
    "codec-rates": codec_rates,
    "codec-short": codec_short,
    "screenshots": screenshots,
    "gradients": gradients,
    "clean": clean,
    "denoise": denoisers,
    "inpaint": inpainters,
    "restoration-short": restoration_short,
    "digits": digits,
}


def filled(text: str) -> str:
    """The page with its tables."""

    def replaced(match: re.Match[str]) -> str:
        lines = "\n".join(TABLES[match[1]]())
        return f"<!-- {match[1]} -->\n{lines}\n<!-- end {match[1]} -->"

    return re.sub(
        r"<!-- ([\w-]+) -->\n(?:(?!<!--).)*<!-- end \1 -->", replaced, text, flags=re.DOTALL
    )


def codec_chart() -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "vaetools", "svg.fonttype": "path"})
    from matplotlib import pyplot as plt

    curves = codec_curves()
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for axis, key, title in zip(axes, ("psnr", "ms_ssim"), ("PSNR, dB", "MS-SSIM"), strict=True):
        for name, curve in curves.items():
            style = {"color": COLOURS.get(name, "#b8470f"), "lw": 1.2, "marker": ".", "ms": 4}
            if name.startswith("vaetools"):
                few = {"ls": "", "marker": "o", "ms": 5, "mfc": "none"}  # too far apart for a line
                style = {"color": OURS, "lw": 2, **(few if name == REFINED else {})}
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
