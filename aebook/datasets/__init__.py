"""Real data sets, small enough to ship, and loaders for the full ones.

Images, definitions with topics, molecules, texts in four languages, tables with anomalies, and an
electrocardiogram.
Everything here works without a network; only ``full=True`` of the images may need one. Sources,
licences and checksums of what ships are in the ``README.md`` beside this file. A folder of images
of one's own is an :class:`ImageFolder`.
"""

from aebook.datasets.chemistry import molecules
from aebook.datasets.folder import ImageFolder
from aebook.datasets.images import FASHION_MNIST_CLASSES, Images, fashion_mnist, mnist
from aebook.datasets.news import NEWS_COLUMNS, POST_COLUMNS, Posts, online_news, posts
from aebook.datasets.parallel import Segments, hanzi, segments
from aebook.datasets.series import Series, electrocardiogram
from aebook.datasets.tables import SATELLITE_CLASSES, SHUTTLE_CLASSES, Table, satellite, shuttle
from aebook.datasets.text import GLOSS_TOPICS, Glosses, glosses
from aebook.datasets.wordnet import NOUN_TOPICS, Nouns, nouns

__all__ = [  # noqa: RUF022 - plain alphabetical order, as in every module
    "FASHION_MNIST_CLASSES",
    "GLOSS_TOPICS",
    "Glosses",
    "ImageFolder",
    "Images",
    "NEWS_COLUMNS",
    "NOUN_TOPICS",
    "Nouns",
    "POST_COLUMNS",
    "Posts",
    "SATELLITE_CLASSES",
    "SHUTTLE_CLASSES",
    "Segments",
    "Series",
    "Table",
    "electrocardiogram",
    "fashion_mnist",
    "glosses",
    "hanzi",
    "mnist",
    "molecules",
    "nouns",
    "online_news",
    "posts",
    "satellite",
    "segments",
    "shuttle",
]
