"""Molecules as text: a model, its scores, a baseline, and search by codes."""

from aebook.applications.molecules import measures
from aebook.applications.molecules.code_search import Found, search
from aebook.applications.molecules.model import (
    Alphabet,
    from_selfies,
    language_model,
    sample,
    split_selfies,
    split_smiles,
    to_selfies,
    variational,
    warm_up,
)
from aebook.applications.molecules.ngram import NGram

__all__ = [
    "Alphabet",
    "Found",
    "NGram",
    "from_selfies",
    "language_model",
    "measures",
    "sample",
    "search",
    "split_selfies",
    "split_smiles",
    "to_selfies",
    "variational",
    "warm_up",
]
