"""What is known about autoencoders, one module a theory: as formulas that can be computed."""

from aebook.theory import dimension, likelihood, linear, score

__all__ = ["dimension", "likelihood", "linear", "score"]
