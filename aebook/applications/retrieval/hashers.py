r"""Semantic hashing: messages of like contents at nearby addresses.

A hasher turns a message into p bits, :math:`1[f(x) > t]`. Two messages are as far apart as the
number of bits in which they differ, their Hamming distance. In
:class:`aebook.hashing.SemanticHasher` the map f is an encoder that was trained (Salakhutdinov &
Hinton 2009); :func:`lsh`, :func:`pca_sign` and :func:`itq` are the linear maps that it has to beat.
What finds the nearest codes among millions is
:class:`aebook.applications.retrieval.faiss.FaissIndex`.

>>> from aebook.applications.retrieval import FaissIndex, SemanticHasher
>>> objective = aebook.variants.binary((784, 256, 32))
>>> history = aebook.fit(objective, images, epochs=10)
>>> hasher = SemanticHasher(objective.model, images)
>>> index = FaissIndex(32)
>>> index.add(hasher.encode(images))
>>> distances, ids = index.search(hasher.encode(queries), k=10)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.preprocessing import normalize

from aebook._internal.checks import array, as_many, check_arguments, whole
from aebook._internal.contract import checked
from aebook._internal.reading import matrix
from aebook.applications.retrieval.codes import check_ids
from aebook.data import Data, vectors
from aebook.hashing import pack
from aebook.theory.linear import principal_components

__all__ = ["LinearHasher", "itq", "lsh", "pca_sign", "rerank"]


class LinearHasher(NamedTuple):
    r"""Bits of a linear map, :math:`1[W^\top x > t]`."""

    directions: np.ndarray
    """The columns of W, (m, p)."""
    thresholds: np.ndarray
    """t, (p,)."""

    def bits(self, x: Data) -> np.ndarray:
        """Bits of messages (N, m), as booleans (N, p)."""
        x = _matrix(x)
        array("messages", x, f"(N, {len(self.directions)})", advice="as the hasher was made from")
        return x @ self.directions > self.thresholds

    def encode(self, x: Data) -> np.ndarray:
        """Codes of messages (N, m): eight bits a byte, uint8 (N, ⌈p / 8⌉)."""
        return pack(self.bits(x))


@checked
def lsh(x: Data, bits: int, *, seed: int = 0) -> LinearHasher:
    r"""Locality-sensitive hashing: random directions :math:`W_{ij} \sim N(0, 1)`.

    Two messages differ in each bit with a probability that is their angle, seen from the mean,
    divided by π (Charikar 2002). It learns nothing but where the middle is.

    Parameters
    ----------
    x
        The collection, (N, m), whatever :func:`aebook.fit` takes; thresholds are the projections
        of its mean.
    bits
        p, 1 or more; more than m will do.
    seed
        Seed of the directions.

    Examples
    --------
    >>> from aebook.applications.retrieval import lsh
    >>> x = torch.randn(100, 8)
    >>> hasher = lsh(x, bits=12)
    >>> hasher.bits(x).shape, hasher.encode(x).shape
    ((100, 12), (100, 2))
    """
    x = _matrix(x)
    directions = np.random.default_rng(whole("seed", seed, least=0)).standard_normal(
        (x.shape[1], whole("bits", bits))
    )
    return LinearHasher(directions, x.mean(0) @ directions)


@checked
def pca_sign(x: Data, bits: int) -> LinearHasher:
    r"""One bit for each principal component: on which side of the mean a message falls.

    Parameters
    ----------
    x
        The collection, (N, m).
    bits
        p, at most min(N, m).

    Examples
    --------
    >>> from aebook.applications.retrieval import pca_sign
    >>> x = torch.tensor([[-3.0, -3.0], [-1.0, -1.0], [2.0, 2.0], [2.0, 2.0]])
    >>> bits = pca_sign(x, bits=1).bits(x).flatten()
    >>> bool(bits[0] == bits[1]), bool(bits[1] != bits[2]), bool(bits[2] == bits[3])
    (True, True, True)
    """
    x = _matrix(x)
    directions = principal_components(x, whole("bits", bits)).components.numpy()
    return LinearHasher(directions, x.mean(0) @ directions)


@checked
def itq(x: Data, bits: int, *, iterations: int = 50, seed: int = 0) -> LinearHasher:
    r"""Iterative quantisation: principal components, rotated to fit the corners of a cube.

    :math:`\min_{B, R} \|B - VR\|_F^2` over signs B and rotations R, with V the principal
    coordinates: for a given R the best B are the signs of VR, for a given B the best R is the
    polar factor of :math:`V^\top B` (Gong & Lazebnik 2011). It finds a local minimum. Codes of an
    autoencoder may be given in place of messages: they too are determined only up to such maps.

    Parameters
    ----------
    x
        The collection, (N, m).
    bits
        p, at most min(N, m).
    iterations
        How often B and R take turns, 0 or more; with 0 the rotation is a random one.
    seed
        Seed of the first rotation.

    Examples
    --------
    >>> from aebook.applications.retrieval import itq
    >>> x = torch.randn(100, 8)
    >>> hasher = itq(x, bits=4)
    >>> hasher.bits(x).shape, hasher.encode(x).shape
    ((100, 4), (100, 1))
    """
    x = _matrix(x)
    iterations = whole("iterations", iterations, least=0)
    components = principal_components(x, whole("bits", bits)).components.numpy()
    v = (x - x.mean(0)) @ components
    rng = np.random.default_rng(whole("seed", seed, least=0))
    rotation, _ = np.linalg.qr(rng.standard_normal((bits, bits)))
    for _ in range(int(iterations)):
        signs = np.where(v @ rotation > 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(v.T @ signs)
        rotation = left @ right
    directions = components @ rotation
    return LinearHasher(directions, x.mean(0) @ directions)


@checked
def rerank(
    queries: Any, documents: Any, shortlists: Sequence[ArrayLike], k: int | None = None
) -> list[np.ndarray]:
    r"""Put each query's shortlist in order of falling cosine similarity.

    A short code finds a few hundred candidates without looking at the rest, and their full
    vectors, TF-IDF for instance, say which are best (Salakhutdinov & Hinton 2009).

    Parameters
    ----------
    queries, documents
        Vectors, (Q, m) and (N, m), arrays or SciPy's sparse matrices.
    shortlists
        For each query the row numbers of its candidates in ``documents``, any number of them.
    k
        How many to keep of each, 1 or more; None: all.

    Returns
    -------
    list of ndarray
        Row numbers, best first; equals in the order in which they came.

    Examples
    --------
    >>> from aebook.applications.retrieval import rerank
    >>> documents = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> rerank(np.array([[2.0, 0.0]]), documents, [[1, 2, 0]])
    [array([0, 2, 1])]
    """
    queries = matrix("queries", queries)
    documents = matrix("documents", documents)
    widths = {"numbers a query": queries.shape[1], "a document": documents.shape[1]}
    as_many("transform both with the same vectoriser", **widths)
    as_many(shortlists=len(shortlists), queries=queries.shape[0])
    check_arguments(k=k)
    queries, documents = normalize(queries), normalize(documents)
    ordered = []
    for number, shortlist in enumerate(shortlists):
        rows = check_ids(shortlist)
        array("row numbers", rows, least=0, most=documents.shape[0] - 1, empty=True)
        query = queries[[number]]
        query = query.toarray()[0] if issparse(query) else query[0]
        cosine = documents[rows] @ query
        ordered.append(rows[np.argsort(-cosine, kind="stable")][:k])
    return ordered


def _matrix(x: Data) -> np.ndarray:
    return vectors(x).numpy()
