"""A folder of images of one's own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from aebook._internal.checks import check_arguments

__all__ = ["ImageFolder"]

#: Endings of the files that are taken for images.
ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


class ImageFolder(Dataset):
    """The images in a folder and in the folders below it, read one by one as they are needed.

    >>> images = aebook.datasets.ImageFolder("photographs", size=64)
    >>> history = aebook.fit(objective, images, epochs=10)

    Each is turned as its camera says, scaled so that its shorter side has ``size`` pixels, and cut
    to the square in its middle. There may be more of them than fit into memory. If they do fit,
    ``torch.stack(list(images))`` is faster from the second epoch on.

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
        If there is no such folder, or no image in it; when it is read, if a file is no image.
    """

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
        path = self.paths[index]
        try:
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file).convert(self.mode)
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(
                f"{path} cannot be read as an image ({error}): remove or replace it"
            ) from error
        square = ImageOps.fit(image, (self.size, self.size), Image.Resampling.BICUBIC)
        pixels = np.asarray(square, np.float32).reshape(self.size, self.size, -1) / 255
        return torch.from_numpy(pixels).permute(2, 0, 1)
