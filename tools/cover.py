"""Bring to the cover what chapters show: the figure that one draws in, and parts of pictures.

    python tools/cover.py

All of it is read from the stored outputs of chapters, so the cover shows their networks and their
pictures and no others: run this after ``tools/refresh.py``. ``tests/book/test_cover.py`` fails
where the two differ. What others show of a link to the book, ``book/_static/social.png``, is made
of the same.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

BOOK = Path(__file__).resolve().parents[1] / "book"
COVER, SOCIAL = BOOK / "cover", BOOK / "_static" / "social.png"

#: Where the figure that one draws in is made.
DRAWN = "foundations/first-steps"

#: A picture of the cover: chapter, name and size of a figure in it, and the boxes (left, top,
#: right, bottom) that are put side by side.
PARTS = {
    "before-after": (
        "applications/image-denoising",
        "fig-image-denoising-seams",
        (990, 270),
        [(10, 29, 241, 260), (503, 29, 734, 260)],
    ),
    "anomalies": (
        "applications/anomaly-detection",
        "fig-anomaly-first",
        (705, 212),
        [(264, 5, 553, 207)],
    ),
    "map": ("applications/maps", "fig-maps-four", (640, 649), [(331, 33, 629, 292)]),
    "compress": (
        "applications/compression",
        "fig-compression-crops",
        (1090, 281),
        [(11, 30, 212, 231), (879, 30, 1080, 231)],
    ),
    "search": (
        "applications/retrieval",
        "fig-retrieval-query",
        (691, 277),
        [(96, 5, 384, 165)],
    ),
    "generate": (
        "variations/variational",
        "fig-variational-map",
        (764, 390),
        [(430, 10, 752, 237)],
    ),
    "understand": (
        "foundations/definition",
        "fig-definition-copies",
        (671, 274),
        [(84, 6, 372, 268)],
    ),
}


def cells(chapter: str) -> list[dict[str, Any]]:
    """The cells of a chapter that have outputs."""
    found = json.loads((BOOK / f"{chapter}.ipynb").read_text("utf8"))["cells"]
    return [cell for cell in found if cell.get("outputs")]


def drawn() -> str:
    """The figure that one draws in, as its chapter has it."""
    figures = [
        "".join(output["data"]["text/html"])
        for cell in cells(DRAWN)
        for output in cell["outputs"]
        if "aebook-live" in "".join(output.get("data", {}).get("text/html", ""))
    ]
    if len(figures) != 1:
        raise ValueError(f"{DRAWN} shows {len(figures)} live figures, expected one")
    return figures[0]


def figure(chapter: str, name: str) -> Image.Image:
    """A figure of a chapter, by its name."""
    for cell in cells(chapter):
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == name:
            (data,) = (o["data"] for o in cell["outputs"] if "image/png" in o.get("data", {}))
            picture = Image.open(io.BytesIO(base64.b64decode("".join(data["image/png"]))))
            white = Image.new("RGBA", picture.size, "white")
            return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    raise ValueError(f"{chapter} has no figure {name}")


def picture(name: str) -> Image.Image:
    """A picture of the cover: parts of a chapter's figure, side by side."""
    chapter, label, size, boxes = PARTS[name]
    whole = figure(chapter, label)
    if whole.size != size:
        raise ValueError(
            f"{label} has {whole.size} pixels, and its boxes are for {size}: choose them again"
        )
    parts = [np.asarray(whole.crop(box)) for box in boxes]
    gap = np.full((len(parts[0]), 14, 3), 255, np.uint8)
    return Image.fromarray(np.hstack([piece for part in parts for piece in (part, gap)][:-1]))


def social() -> Image.Image:
    """What others show of a link: 1200 by 630 pixels."""
    whole = Image.new("RGB", (1200, 630), "white")
    pen = ImageDraw.Draw(whole)

    def write(place: tuple[int, int], text: str, size: int, colour: str) -> None:
        font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
        pen.text(place, text, colour, font)

    # the mark of logo.svg, 64 units wide
    left, top, unit = 70, 50, 1.6
    for colour, points in (
        ("#14506b", [(4, 5), (25, 22), (25, 42), (4, 59)]),
        ("#c2570c", [(28, 22), (36, 22), (36, 42), (28, 42)]),
        ("#2f86a6", [(60, 5), (39, 22), (39, 42), (60, 59)]),
    ):
        pen.polygon([(left + unit * x, top + unit * y) for x, y in points], colour)
    write((200, 50), "Autoencoders", 64, "#14506b")
    write((202, 128), "a book in which every claim is run", 31, "#333333")
    pair = picture("before-after")
    pair = pair.resize((pair.width * 360 // pair.height, 360), Image.Resampling.LANCZOS)
    at = (whole.width - pair.width) // 2
    whole.paste(pair, (at, 195))
    write((at, 565), "before", 28, "#333333")
    write((at + pair.width // 2 + 11, 565), "after", 28, "#333333")
    return whole


def main() -> None:
    """Write the cover's figure and pictures."""
    COVER.mkdir(exist_ok=True)
    (COVER / "draw.html").write_text(drawn() + "\n", "utf8")
    for name in PARTS:
        picture(name).save(COVER / f"{name}.png", optimize=True)
    social().save(SOCIAL, optimize=True)


if __name__ == "__main__":
    main()
