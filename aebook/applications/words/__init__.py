"""Vectors of words, and similarity on a graph of meanings."""

from aebook.applications.words.taxonomy import common_ancestor, depths, path_similarity, wu_palmer
from aebook.applications.words.vectors import (
    cooccurrence,
    messages,
    neighbours,
    ppmi,
    singular_vectors,
    tokens,
    vocabulary,
    word_autoencoder,
)

__all__ = [
    "common_ancestor",
    "cooccurrence",
    "depths",
    "messages",
    "neighbours",
    "path_similarity",
    "ppmi",
    "singular_vectors",
    "tokens",
    "vocabulary",
    "word_autoencoder",
    "wu_palmer",
]
