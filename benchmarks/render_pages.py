"""Rendered training images for the photo codec: text, plots, windows, gradients and flat backgrounds.

They are lossless and free of noise, which photographs never are. Example:

    python benchmarks/render_pages.py rendered/ --photos photos/ --count 100

writes `rendered/text-000.png` and so on. Fonts are those that ship with matplotlib. The same seed gives
the same images.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 512
OVER = 3
"""Shapes are drawn this many times larger and reduced, so that their edges are smooth."""

FONTS = sorted(
    path
    for path in (Path(mpl.get_data_path()) / "fonts/ttf").glob("*.ttf")
    if path.name.startswith(("DejaVuSans", "DejaVuSerif", "STIXGeneral"))
    and "Display" not in path.name
)
WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an
they which one you were all her she there would their we him been has when who will no more if out so up
these image value function return data model number result table figure method system process memory
Monday 2026 1,024 3.14159 50% (a) [1] x=y+z; if __name__ for i in range(10): def main()->None
""".split()  # noqa: SIM905 - a list of words is longer

Colour: TypeAlias = tuple[int, int, int]


def colour(rng: random.Random, low: int = 0, high: int = 255) -> Colour:
    """A random colour whose channels are in low … high."""
    return rng.randint(low, high), rng.randint(low, high), rng.randint(low, high)


def theme(rng: random.Random) -> tuple[Colour, Colour, Colour]:
    """(background, ink, accent) of a page, light or dark."""
    light = rng.choice([(255, 255, 255), (255, 255, 255), colour(rng, 225, 255)])
    dark = rng.choice([(0, 0, 0), (30, 30, 30), colour(rng, 0, 60)])
    accent = colour(rng, 20, 230)
    return (light, dark, accent) if rng.random() < 0.7 else (dark, light, accent)


def sentence(rng: random.Random, count: int) -> str:
    """`count` random words."""
    return " ".join(rng.choice(WORDS) for _ in range(count))


def font(rng: random.Random, size: int) -> ImageFont.FreeTypeFont:
    """A random font."""
    return ImageFont.truetype(rng.choice(FONTS), size)


def write_lines(
    draw: ImageDraw.ImageDraw, rng: random.Random, box: tuple[int, int, int, int], ink: Colour
) -> None:
    """Fill a box with lines of text of one font."""
    left, top, right, bottom = box
    size = rng.choice([9, 10, 11, 12, 13, 14, 16, 18, 22, 28])
    chosen = font(rng, size)
    height = round(size * rng.uniform(1.2, 1.6))
    for y in range(top, bottom - height, height):
        if rng.random() < 0.08:
            continue
        words: list[str] = []
        while draw.textlength(" ".join(words), chosen) < right - left and len(words) < 40:
            words.append(rng.choice(WORDS))
        draw.text((left, y), " ".join(words[: -1 if rng.random() < 0.9 else -4]), ink, chosen)


def text_page(rng: random.Random) -> Image.Image:
    """Headings and one to three columns."""
    ground, ink, accent = theme(rng)
    page = Image.new("RGB", (SIDE, SIDE), ground)
    draw = ImageDraw.Draw(page)
    top = 16
    if rng.random() < 0.6:
        draw.text((20, top), sentence(rng, 3).title(), accent, font(rng, rng.randint(20, 44)))
        top += 64
    columns = rng.choice([1, 1, 2, 3])
    width = (SIDE - 20) // columns
    for column in range(columns):
        left = 20 + column * width
        if rng.random() < 0.15:
            draw.rectangle((left, top, left + width - 20, SIDE - 20), fill=colour(rng))
            continue
        write_lines(draw, rng, (left, top, left + width - 16, SIDE - 8), ink)
    return page


def plot(rng: random.Random) -> Image.Image:
    """A plot with axes, lines, bars or an image."""
    generator = np.random.default_rng(rng.randrange(2**32))
    with style.context("dark_background" if rng.random() < 0.3 else "default"):
        figure = Figure(figsize=(5.12, 5.12), dpi=100, layout="constrained")
        for axes in np.ravel(figure.subplots(rng.choice([1, 1, 2]), rng.choice([1, 2]))):
            kind = rng.choice(["line", "bar", "scatter", "image"])
            if kind == "line":
                axes.plot(generator.normal(size=(60, rng.randint(1, 4))).cumsum(axis=0))
            elif kind == "bar":
                axes.bar(range(8), generator.uniform(1, 9, 8), color=np.divide(colour(rng), 255))
            elif kind == "scatter":
                axes.scatter(*generator.normal(size=(2, 80)), s=rng.choice([4, 20, 60]))
            else:
                field = generator.normal(size=(6, 6))
                axes.imshow(field, cmap=rng.choice(["viridis", "gray", "coolwarm"]))
            axes.set(title=sentence(rng, 2), xlabel=rng.choice(WORDS))
            axes.grid(visible=rng.random() < 0.4)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def window(rng: random.Random) -> Image.Image:
    """A desktop with windows, buttons, lists and icons."""
    ground, ink, accent = theme(rng)
    page = gradient(rng) if rng.random() < 0.4 else Image.new("RGB", (SIDE, SIDE), colour(rng))
    draw = ImageDraw.Draw(page)
    for _ in range(rng.randint(1, 3)):
        left, top = rng.randint(-40, 200), rng.randint(-40, 200)
        right, bottom = left + rng.randint(200, 460), top + rng.randint(160, 420)
        radius = rng.choice([0, 0, 6, 12])
        draw.rounded_rectangle((left, top, right, bottom), radius, ground, colour(rng))
        draw.rectangle((left + 1, top + 1, right - 1, top + 26), fill=accent)
        draw.text((left + 10, top + 5), sentence(rng, 3), ground, font(rng, 13))
        for number in range(3):
            x = right - 18 - 20 * number
            draw.ellipse((x, top + 7, x + 12, top + 19), fill=colour(rng))
        write_lines(draw, rng, (left + 80, top + 36, right - 8, bottom - 40), ink)
        for number in range((bottom - top - 60) // 30):
            y = top + 36 + 30 * number
            draw.rounded_rectangle((left + 8, y, left + 68, y + 22), radius, colour(rng), ink)
            draw.text((left + 14, y + 4), rng.choice(WORDS)[:7], ground, font(rng, 11))
    return page


def gradient(rng: random.Random) -> Image.Image:
    """A smooth field without noise, rounded to 8 bits: linear, radial or of several colours."""
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    total = np.zeros((SIDE, SIDE, 3))
    weight = np.zeros((SIDE, SIDE, 1))
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        share = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) + 0.7) / 1.4
        share = np.clip(share, 0, 1)[..., None] ** rng.uniform(0.6, 1.6)
        total = share * colour(rng) + (1 - share) * np.array(colour(rng))
        weight += 1
    else:
        for _ in range(rng.randint(2, 5)):
            distance = (x - rng.random()) ** 2 + (y - rng.random()) ** 2
            near = np.exp(-distance / rng.uniform(0.05, 0.5))[..., None] + 0.02
            total += near * colour(rng)
            weight += near
    return Image.fromarray(np.rint(np.clip(total / weight, 0, 255)).astype(np.uint8))


def shapes(rng: random.Random) -> Image.Image:
    """Flat or graded shapes with smooth edges: vector art."""
    page = gradient(rng) if rng.random() < 0.6 else Image.new("RGB", (SIDE, SIDE), colour(rng))
    for _ in range(rng.randint(2, 9)):
        mask = Image.new("L", (SIDE * OVER, SIDE * OVER))
        draw = ImageDraw.Draw(mask)
        centre = rng.randrange(SIDE * OVER), rng.randrange(SIDE * OVER)
        points = [
            tuple(c + rng.randint(-SIDE, SIDE) * OVER // 3 for c in centre)
            for _ in range(rng.randint(3, 6))
        ]
        kind = rng.choice(["polygon", "ellipse", "line"])
        if kind == "polygon":
            draw.polygon(points, fill=255)
        elif kind == "ellipse":
            radius = rng.randint(20, SIDE) * OVER // 3
            draw.circle(centre, radius, fill=255)
        else:
            draw.line(points, fill=255, width=rng.randint(1, 8) * OVER)
        paint = gradient(rng) if rng.random() < 0.4 else Image.new("RGB", page.size, colour(rng))
        page.paste(paint, mask=mask.resize(page.size, Image.Resampling.BOX))
    return page


def studio(rng: random.Random, photos: list[Path]) -> Image.Image:
    """Part of a photograph before a flat or graded background without noise."""
    page = gradient(rng) if rng.random() < 0.5 else Image.new("RGB", (SIDE, SIDE), colour(rng))
    photo = Image.open(rng.choice(photos)).convert("RGB")
    scale = 1.2 * SIDE / min(photo.size)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
    photo = photo.crop((0, 0, SIDE, SIDE))
    mask = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(mask)
    left, top = rng.randint(60, 220), rng.randint(40, 220)
    box = (left, top, left + rng.randint(120, 280), SIDE + rng.randint(-120, 60))
    (draw.ellipse if rng.random() < 0.6 else draw.rectangle)(box, fill=255)
    page.paste(photo, mask=mask.filter(ImageFilter.GaussianBlur(rng.choice([0, 1, 2, 12]))))
    return page


def main() -> None:
    """Write the images."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, help="photographs for studio images")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds: dict[str, Callable[[random.Random], Image.Image]] = {
        "text": text_page,
        "plot": plot,
        "window": window,
        "gradient": gradient,
        "shapes": shapes,
    }
    if options.photos:
        files = sorted(p for p in options.photos.rglob("*") if p.suffix in (".jpg", ".png"))
        kinds["studio"] = lambda rng: studio(rng, files)
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(options.count):
        name = list(kinds)[number % len(kinds)]
        image = kinds[name](random.Random(f"{options.seed} {number}"))
        image.save(options.out / f"{name}-{number:03d}.png", optimize=True)


if __name__ == "__main__":
    main()
