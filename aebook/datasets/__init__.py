"""Real data sets, small enough to ship, and loaders for the full ones.

Images, definitions with topics, and tables with anomalies. Everything here works without a
network; only ``full=True`` of the images may need one. Sources, licences and checksums of what
ships are in the ``README.md`` beside this file.
"""

from aebook.datasets.images import FASHION_MNIST_CLASSES, Images, fashion_mnist, mnist
from aebook.datasets.tables import SATELLITE_CLASSES, SHUTTLE_CLASSES, Table, satellite, shuttle
from aebook.datasets.text import GLOSS_TOPICS, Glosses, glosses

__all__ = [  # noqa: RUF022 - plain alphabetical order, as in every module
    "FASHION_MNIST_CLASSES",
    "GLOSS_TOPICS",
    "Glosses",
    "Images",
    "SATELLITE_CLASSES",
    "SHUTTLE_CLASSES",
    "Table",
    "fashion_mnist",
    "glosses",
    "mnist",
    "satellite",
    "shuttle",
]
