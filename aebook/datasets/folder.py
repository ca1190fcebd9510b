"""A folder of images of one's own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from aebook._internal.checks import array, check_arguments, number
from aebook._internal.contract import checked, taken

__all__ = ["ImageFolder"]

#: Tag of a TIFF.
BITS_PER_SAMPLE = 258
#: Endings of the files that are taken for images.
ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


class ImageFolder(Dataset):
    """The images in a folder and in the folders below it, read one by one as they are needed.

    Each is turned as its camera says, scaled so that its shorter side has ``size`` pixels, and cut
    to the square in its middle. There may be more of them than fit into memory. If they do fit,
    ``torch.stack(list(images))`` is faster from the second epoch on.

    Black is 0 and white is 1: a byte is divided by 255, a number of 16 bits by 65,535, and
    floating point is taken as it is if it lies in [0, 1]. Of whole numbers of 32 bits nobody knows
    what is white: give ``white``. What is transparent lies on white, as on a page. Of several
    pictures in one file the first is taken. Colours of 16 bits are refused: Pillow, by which files
    are read, drops half of them; greys it reads whole.

    Parameters
    ----------
    folder
        Where they are. Files in formats of pictures are taken, in the order of their paths;
        hidden ones are not.
    size
        Side of the square in pixels.
    grey
        One channel in place of three.
    white
        Which number is white, in all files whose greys are finer than bytes: 4095 for a camera of
        12 bits. None: as above.

    Raises
    ------
    ValueError
        If there is no such folder, or no image in it; when it is read, if a file is no image or
        one whose values are not as above.

    Examples
    --------
    >>> images = aebook.datasets.ImageFolder("photographs", size=64)
    >>> images[0].shape
    torch.Size([3, 64, 64])
    >>> history = aebook.fit(objective, images, epochs=10)
    """

    @checked
    def __init__(
        self,
        folder: str | os.PathLike[str],
        size: int,
        grey: bool = False,
        white: float | None = None,
    ) -> None:
        check_arguments(size=size)
        self.white = None if white is None else number("white", white)
        root = Path(folder)
        if not root.is_dir():
            raise ValueError(f"got folder={str(folder)!r}, expected a folder that exists")
        self.size, self.mode = int(size), "L" if grey else "RGB"
        #: Paths of the images, in the order of the messages.
        self.paths: list[Path] = sorted(
            path
            for path in root.rglob("*")
            if path.suffix.lower() in ENDINGS
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
        )
        if not self.paths:
            raise ValueError(
                f"got {str(folder)!r}, which has no image, expected files that end in "
                f"{', '.join(sorted(ENDINGS))}"
            )

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """An image, float32 in [0, 1] of shape (C, size, size)."""
        path = self.paths[taken("index", index, int)]
        try:
            with Image.open(path) as file:
                image = _opaque(file, self.mode, self.white)
        except Exception as error:
            # what Pillow raises for bytes that are none of its own may be anything
            raise ValueError(
                f"{path} cannot be read as an image ({error}): remove or replace it"
            ) from error
        square = ImageOps.fit(image, (self.size, self.size), Image.Resampling.BICUBIC)
        pixels = np.asarray(square, np.float32).reshape(self.size, self.size, -1)
        # bytes end where they end, and what is no byte may overshoot at an edge
        pixels = pixels.clip(0, 1) if square.mode == "F" else pixels / 255
        pixels = pixels.repeat(len(self.mode) // pixels.shape[2], axis=2)
        return torch.from_numpy(pixels).permute(2, 0, 1)


def _opaque(file: Image.Image, mode: str, white: float | None) -> Image.Image:
    """A picture upright, in bytes of that mode or, if it has finer greys, in numbers up to 1."""
    finer = file.mode == "F" or file.mode.startswith("I")
    if not finer and any(map(_halved, getattr(file, "tile", ()))):
        raise ValueError(
            "it has colours of 16 bits, of which only half can be read; expected 8 bits a colour, "
            "or 16 bits of grey"
        )
    image = ImageOps.exif_transpose(file)
    if finer:
        return Image.fromarray(_greys(image, file, white))
    if image.mode.upper().endswith("A") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _halved(tile: Any) -> bool:
    """Whether Pillow will make bytes of what has more bits, by what it hands to its decoder."""
    codec, *_, arguments = tile
    raw, *more = arguments if isinstance(arguments, tuple) else (arguments,)
    # "RGB;16B" and the like, but not the five and six bits of a bitmap's "BGR;16"
    wide = isinstance(raw, str) and re.search(r";16[A-Z]", raw)
    return bool(wide) or (codec.startswith("ppm") and more[0] > 255)


def _greys(image: Image.Image, file: Image.Image, white: float | None) -> NDArray[np.float32]:
    # older versions of Pillow read 16 bits as 32
    if white is None and image.mode == "I" and file.format not in ("PNG", "PPM"):
        raise ValueError(
            "it has whole numbers of 32 bits, expected 8, 16 or floating point, or white=..., the "
            "number that is white"
        )
    # 12 bits, in a TIFF
    bits = getattr(file, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
    most = white or (1 if image.mode == "F" else 2**bits - 1)
    values = np.array(image)
    if "transparency" in image.info:
        values[values == image.info["transparency"]] = most
    advice = f"scale it, or say which number is white, white={values.max():.4g}"
    array("pixels", values, least=0, most=most, advice=advice)
    return values.astype(np.float32) / most
