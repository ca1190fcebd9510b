"""Restricted Boltzmann machines: one, a stack of them, their partition function."""

from aebook.boltzmann import partition
from aebook.boltzmann.rbm import RBM, pretrain, unroll

__all__ = [
    "RBM",
    "partition",
    "pretrain",
    "unroll",
]
