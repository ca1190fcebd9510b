"""What is known about autoencoders, one module a theory: as formulas that can be computed."""

from aebook.theory import code_length, dimension, likelihood, linear, score

__all__ = ["code_length", "dimension", "likelihood", "linear", "score"]
