"""Render the letters A-J at 8x8 from the fonts that come with matplotlib, into `noisy_letters.npz`.

    python docs/make_noisy_letters.py

Font rasters change between versions, so the file is shipped and this script only documents it. It was made with
matplotlib 3.11.2 (DejaVu, STIX and Computer Modern: free licences that allow it) and Pillow 13.0.0. It needs both,
and is no plugin: nothing imports it.
"""

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FACES = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmsy10", "cmti10", "cmtt10"),
)
LETTERS = "ABCDEFGHIJ"
PER_LETTER = 180
SIZE, CELL = 8, 4
CANVAS = SIZE * CELL


def glyph(letter: str, face: str, pen: int) -> Image.Image:
    """Draw a letter some 120 pixels high, its strokes made thicker by `pen` pixels, cut to its box."""
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    font = ImageFont.truetype(str(file), 160, layout_engine=ImageFont.Layout.BASIC)
    image = Image.new("L", (400, 400))
    ImageDraw.Draw(image).text((100, 100), letter, fill=255, font=font, stroke_width=pen)
    return image.crop(image.getbbox())


def render(letter: str, face: str, random: np.random.RandomState) -> np.ndarray:
    """Draw a letter as the digits were drawn: 32x32, shifted, turned and stretched a little, then means of 4x4."""
    image = glyph(letter, face, random.randint(2, 8))
    image = image.rotate(random.uniform(-10, 10), Image.Resampling.BICUBIC, expand=True)
    height = random.randint(24, CANVAS - 1)
    width = int(np.clip(height * image.width / image.height * random.uniform(0.8, 1.1), 6, CANVAS - 1))
    image = image.resize((width, height), Image.Resampling.BOX)
    canvas = Image.new("L", (CANVAS, CANVAS))
    shift = random.randint(-2, 3, size=2)
    canvas.paste(image, ((CANVAS - width) // 2 + int(shift[0]), (CANVAS - height) // 2 + int(shift[1])))
    blocks = np.asarray(canvas, np.int64).reshape(SIZE, CELL, SIZE, CELL).sum((1, 3))
    return ((2 * blocks + CELL**2) // (2 * CELL**2)).astype(np.uint8)


def main() -> None:
    """Render 180 of each letter, the faces in turn, in one seeded order."""
    random = np.random.RandomState(0)
    labels = np.repeat(np.arange(len(LETTERS)), PER_LETTER)
    faces = np.tile(np.arange(PER_LETTER) % len(FACES), len(LETTERS))
    images = np.stack([render(LETTERS[i], FACES[f], random) for i, f in zip(labels, faces, strict=True)])
    order = random.permutation(len(labels))
    path = Path(__file__).parents[1] / "plugins" / "datasets" / "noisy_letters.npz"
    np.savez_compressed(path, images=images[order], labels=labels[order].astype(np.uint8))


if __name__ == "__main__":
    main()
