"""Figures that answer: in a notebook, in the book, or as a page of their own, without a server."""

from aebook.live.figures import Live, explore, sketch

__all__ = ["Live", "explore", "sketch"]
