"""What autoencoders are used for, one room a problem; extras are imported where they are needed."""

from aebook.applications import (
    anomaly,
    compression,
    detection,
    images,
    molecules,
    popularity,
    pretrained,
    retrieval,
    translation,
    words,
)

__all__ = [
    "anomaly",
    "compression",
    "detection",
    "images",
    "molecules",
    "popularity",
    "pretrained",
    "retrieval",
    "translation",
    "words",
]
