"""Checks of images: unchanged files, masks, copies for a data set, lines on the terminal."""

from __future__ import annotations

import re
import sys

import numpy as np
import PIL.Image
from public_tool import (
    Check,
    Desk,
    SkipError,
    collector,
    encoded,
    expect,
    gradient,
    pixels,
    red_pixels,
    red_square,
    save,
    square_mask,
)

CHECKS: list[Check] = []
check = collector(CHECKS)


def outside(before: np.ndarray, after: np.ndarray, margin: int = 0) -> float:
    """Percentage of pixels that changed outside of the mask and a margin around it."""
    far = np.ones(before.shape[:2], bool)
    far[38 - margin : 52 + margin, 58 - margin : 72 + margin] = False
    return float(100 * (before != after).any(axis=2)[far].mean())


@check("F11a", "an inpainted lossless WebP changes within its mask only")
def _(desk: Desk) -> None:
    square_mask(desk)
    save(desk / "a.webp", red_square(), lossless=True)
    desk.done("inpaint a.webp -o o.webp --mask m.png")
    changed = outside(pixels(desk / "a.webp"), pixels(desk / "o.webp"))
    expect(changed == 0, f"{changed:.1f} % of the other pixels changed")
    expect(red_pixels(pixels(desk / "o.webp")) == 0, "the hole is still red")


@check("F11b", "an inpainted JPEG changes within the blocks of its mask only")
def _(desk: Desk) -> None:
    square_mask(desk)
    for quality, subsampling in ((98, 0), (90, 2)):
        save(desk / "a.jpg", red_square(), quality=quality, subsampling=subsampling)
        desk.done(f"inpaint a.jpg -o o{quality}.jpg --mask m.png")
        changed = outside(pixels(desk / "a.jpg"), pixels(desk / f"o{quality}.jpg"), margin=24)
        expect(changed == 0, f"quality {quality}: {changed:.1f} % of the far pixels changed")


@check("F11c", "a PNG that is called .jpg changes within its mask only, or a line says so")
def _(desk: Desk) -> None:
    square_mask(desk)
    save(desk / "a.png", red_square()).rename(desk / "a.jpg")
    ended = desk.done("inpaint a.jpg -o out/ --mask m.png")
    (made,) = (path for path in (desk / "out").iterdir() if not path.name.startswith("."))
    changed = outside(pixels(desk / "a.jpg"), pixels(made))
    expect(changed == 0 or "a.jpg" in ended.err, f"{changed:.1f} % of the other pixels changed")


def copied(desk: Desk, line: str, source: str = "a.jpg", made: str = "out/a.jpg") -> None:
    ended = desk.done(line)
    same = (desk / source).read_bytes() == (desk / made).read_bytes()
    expect(same, f"another file: {ended.err.strip()}")


@check("F11d", "an image without a mask is copied byte for byte")
def _(desk: Desk) -> None:
    save(desk / "a.jpg", red_square(), quality=90)
    (desk / "masks").mkdir()
    copied(desk, "inpaint a.jpg -o out/ --mask masks --missing-mask copy")


@check("F11e", "an image with an empty mask is copied byte for byte, also a WebP")
def _(desk: Desk) -> None:
    save(desk / "m.png", np.zeros((120, 160), np.uint8))
    save(desk / "a.jpg", red_square(), quality=90)
    save(desk / "b.webp", red_square(), quality=80)
    copied(desk, "inpaint a.jpg -o out/ --mask m.png")
    copied(desk, "inpaint b.webp -o outb/ --mask m.png", "b.webp", "outb/b.webp")


@check("F11f", "an image that is not denoised is copied byte for byte")
def _(desk: Desk) -> None:
    save(desk / "a.jpg", red_square(), quality=90)
    copied(desk, "denoise a.jpg -o out/ --sigma 25 --strength 0")
    copied(desk, "denoise a.jpg -o zero/ --sigma 0", made="zero/a.jpg")


@check("F13", "every epoch of a data loader with forked workers has other copies")
def _(desk: Desk) -> None:
    ended = desk.python(
        """
import sys
try:
    import torch
    from torch.utils.data import DataLoader, Dataset
except ImportError:
    sys.exit(77)
import numpy as np, vaetools
model = vaetools.open(device="cpu").registry.open("mnist-conv")
move = vaetools.DictTransform(vaetools.LatentJitter(model), seed=0)
class Digits(Dataset):
    def __len__(self): return 4
    def __getitem__(self, i):
        image = np.full((28, 28), 40 * i, np.uint8); image[8:20, 8:20] = 200
        return torch.from_numpy(move(image=image)["image"])
loader = DataLoader(Digits(), num_workers=2, multiprocessing_context="fork")
epochs = [b"".join(x.numpy().tobytes() for x in loader) for _ in range(3)]
print("different" if len(set(epochs)) == 3 else "equal")
"""
    )
    if ended.code == 77:
        raise SkipError("torch is not installed")
    expect(ended.out.strip() == "different", ended.out.strip() or ended.err[-300:])


MASKS = {
    "a": ("black on transparent", "RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
    "b": ("red on transparent", "RGBA", (255, 0, 0, 255), (0, 0, 0, 0)),
    "c": ("white on transparent white", "RGBA", (255, 255, 255, 255), (255, 255, 255, 0)),
    "d": ("labels 0 and 1", "L", 1, 0),
}


def mask_check(letter: str) -> None:
    title, mode, inside, around = MASKS[letter]

    @check(f"F14{letter}", f"a mask of {title} is filled")
    def _(desk: Desk) -> None:
        image = red_square()
        save(desk / "a.png", image)
        mask = PIL.Image.new(mode, (160, 120), around)
        mask.paste(inside, (58, 38, 72, 52))
        save(desk / "M.png", mask)
        ended = desk.done("inpaint a.png -o o.png --mask M.png")
        after = pixels(desk / "o.png")
        expect(red_pixels(after) == 0, f"{red_pixels(after)} red pixels: {ended.err.strip()}")
        expect(outside(image, after) == 0, "pixels outside of the hole changed")


for _letter in MASKS:
    mask_check(_letter)


def masked_folder(desk: Desk) -> None:
    for name in "abc":
        add_masked(desk, name)
    desk.done("inpaint in -o out --mask masks")


def add_masked(desk: Desk, name: str) -> None:
    save(desk / f"in/{name}.png", red_square())
    square_mask(desk)
    (desk / "masks").mkdir(exist_ok=True)
    (desk / "m.png").rename(desk / f"masks/{name}.png")


def counted(desk: Desk, done: int, skipped: int) -> None:
    said = desk.done("inpaint in -o out --mask masks").err
    expect(re.search(rf"\b{done} done", said) or done == 0, said)
    expect(
        re.search(rf"\b{skipped} skipped", said)
        and (done or not re.search(r"[1-9]\d* done", said)),
        said,
    )


@check("F15a", "a .DS_Store among the masks repeats nothing")
def _(desk: Desk) -> None:
    masked_folder(desk)
    (desk / "masks/.DS_Store").write_bytes(b"x")
    counted(desk, 0, 3)


@check("F15b", "one more image and mask are one more image to do")
def _(desk: Desk) -> None:
    masked_folder(desk)
    add_masked(desk, "d")
    counted(desk, 1, 3)


def remedied(desk: Desk, line: str) -> None:
    """A command works, or with the flags that its error names."""
    ended = desk.vaetools(line)
    if ended.code == 0:
        return
    flags = re.findall(r"(--[a-z-]+(?: [a-z]+)?)", ended.err)
    expect(flags, f"no remedy: {ended.err.strip()}")
    again = desk.vaetools(f"{line} {flags[0]}")
    expect(again.code == 0, f"{ended.err.strip()} -> {again.err.strip()}")


@check("F16a", "a GIF is denoised, or the remedy of the error works")
def _(desk: Desk) -> None:
    save(desk / "still.gif", gradient()[..., 0])
    remedied(desk, "denoise still.gif -o out/ --sigma 4")


@check("F16b", "transparency for a JPEG is refused with a remedy that works")
def _(desk: Desk) -> None:
    alpha = np.full((120, 160), 200, np.uint8)
    save(desk / "rgba.png", np.dstack([red_square(), alpha]))
    square_mask(desk)
    ended = desk.vaetools("inpaint rgba.png -o x.jpg --mask m.png")
    if ended.code == 0:
        return
    expect(ended.refused(), ended.err)
    for flag in re.findall(r"--[a-z-]+", ended.err):
        expect(flag in desk.done("inpaint --help").out, f"{flag} is no flag of inpaint")


@check("F19", "a full disk behind stdout is E070, and what is done stays done")
def _(desk: Desk) -> None:
    save(desk / "a.png", gradient())
    command = f"{sys.executable} -m vaetools denoise a.png -o out --sigma 0 --json > /dev/full"
    ended = desk.run(["bash", "-c", command])
    expect(ended.code != 0 and "E070" in ended.err and "E099" not in ended.err, ended.err.strip())
    expect((desk / "out/a.png").is_file(), "the result is gone")


@check("F20", "a damaged JPEG is named")
def _(desk: Desk) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    data = bytearray(encoded(noise // 2 + gradient(200, 300) // 2, quality=85))
    middle = len(data) // 2
    data[middle : middle + 1500] = bytes(1500)
    (desk / "in/bad.jpg").write_bytes(data)
    save(desk / "in/good.jpg", gradient())
    ended = desk.vaetools("denoise in -o out/ --sigma 4")
    expect("bad.jpg" in ended.err, f"not named: {ended.err.strip()}")
    bare = [
        line
        for line in ended.err.splitlines()
        if "orrupt JPEG data" in line and "bad.jpg" not in line
    ]
    expect(not bare, bare)
    expect((desk / "out/good.jpg").is_file(), "the other one is not done")
