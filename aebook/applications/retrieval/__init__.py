"""Semantic hashing: from messages to bits, and to the nearest among millions of codes."""

from aebook.applications.retrieval.codes import Neighbours, hamming_distances
from aebook.applications.retrieval.faiss import FaissIndex
from aebook.applications.retrieval.hashers import (
    LinearHasher,
    itq,
    lsh,
    pca_sign,
    rerank,
)
from aebook.hashing import SemanticHasher, pack, unpack

__all__ = [
    "FaissIndex",
    "LinearHasher",
    "Neighbours",
    "SemanticHasher",
    "hamming_distances",
    "itq",
    "lsh",
    "pack",
    "pca_sign",
    "rerank",
    "unpack",
]
