"""A folder of images of one's own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from aebook._internal.checks import array, check_arguments
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
    floating point is taken as it is if it lies in [0, 1]. Whole numbers of 32 bits are refused,
    since nobody knows what is white. What is transparent lies on white, as on a page. Of several
    pictures in one file the first is taken, and of colours with 16 bits the first eight.

    Parameters
    ----------
    folder
        Where they are. Files in formats of pictures are taken, in the order of their paths;
        hidden ones are not.
    size
        Side of the square in pixels.
    grey
        One channel in place of three.

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
    def __init__(self, folder: str | os.PathLike[str], size: int, grey: bool = False) -> None:
        check_arguments(size=size)
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
                image = _opaque(file, self.mode)
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


def _opaque(file: Image.Image, mode: str) -> Image.Image:
    """A picture upright, in bytes of that mode or, if it has finer greys, in numbers up to 1."""
    image = ImageOps.exif_transpose(file)
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_greys(image, file))
    if image.mode.upper().endswith("A") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _greys(image: Image.Image, file: Image.Image) -> NDArray[np.float32]:
    values = np.asarray(image).astype(np.float32)
    if image.mode == "F":
        array("pixels", values, least=0, most=1, advice="scale it")
        return values
    # older versions of Pillow read 16 bits as 32
    if image.mode == "I" and file.format not in ("PNG", "PPM"):
        raise ValueError("it has whole numbers of 32 bits, expected 8, 16 or floating point")
    # 12 bits, in a TIFF
    bits = getattr(file, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
    values[values == image.info.get("transparency", -1)] = 2**bits - 1
    return values / (2**bits - 1)
