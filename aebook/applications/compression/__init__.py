"""Lossy compression of images: a transform coder, its bytes, and its rivals."""

from aebook.applications.compression import compressors, rate_distortion
from aebook.applications.compression.bitstream import Codec, tables
from aebook.applications.compression.transform import (
    Analysis,
    Quantiser,
    Synthesis,
    rate,
    slope,
    transform_coder,
)

__all__ = [
    "Analysis",
    "Codec",
    "Quantiser",
    "Synthesis",
    "compressors",
    "rate",
    "rate_distortion",
    "slope",
    "tables",
    "transform_coder",
]
