"""Compression: a lossy transform coder of images and its rivals; exact messages by bits-back."""

from aebook.applications.compression import bits_back, compressors, rate_distortion
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
    "bits_back",
    "compressors",
    "rate",
    "rate_distortion",
    "slope",
    "tables",
    "transform_coder",
]
