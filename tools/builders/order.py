"""A mixed and balanced order that needs no random generator."""

from collections.abc import Sequence

import numpy as np


def balanced(keys: Sequence[bytes], labels: np.ndarray, count: int) -> np.ndarray:
    """Choose and order the same number of members of each class, by their hashes.

    Within its class, a member's place is the rank of its hash: a mixed order without a random
    stream, which might change between versions. The first `count` of each class are taken. Blocks
    then take one member of each class, so that every prefix that is a multiple of the number of
    classes is balanced. Within a block, the order is that of the second half of the hashes: the
    first half would follow the ranks of the classes, and the same class would lead for many
    blocks on end.

    Parameters
    ----------
    keys
        One SHA-256 (32 bytes) for each member, all different.
    labels
        The class of each member, of shape (N,).
    count
        How many to take of each class.

    Returns
    -------
    numpy.ndarray
        Indices of the members, of shape (count · classes,).
    """
    by_class = [
        sorted(np.flatnonzero(labels == label), key=keys.__getitem__)[:count]
        for label in np.unique(labels)
    ]
    if short := [len(members) for members in by_class if len(members) < count]:
        raise ValueError(f"a class has {short[0]} members, expected at least {count}")
    blocks = [
        sorted(block, key=lambda index: keys[index][16:]) for block in zip(*by_class, strict=True)
    ]
    return np.concatenate(blocks)
