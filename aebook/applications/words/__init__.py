"""Vectors of words, and similarity on a graph of meanings."""

from aebook.applications.words.taxonomy import common_ancestor, depths, path_similarity, wu_palmer
from aebook.applications.words.vectors import (
    cooccurrence,
    neighbours,
    ppmi,
    singular_vectors,
    tokens,
    vocabulary,
    word_autoencoder,
    word_messages,
)

__all__ = [
    "common_ancestor",
    "cooccurrence",
    "depths",
    "neighbours",
    "path_similarity",
    "ppmi",
    "singular_vectors",
    "tokens",
    "vocabulary",
    "word_autoencoder",
    "word_messages",
    "wu_palmer",
]
