"""Real data sets, small enough to ship, and loaders for the full ones.

Everything here works without a network; only ``full=True`` may need one. Sources, licences and
checksums of what ships are in the ``README.md`` beside this file.
"""

from aebook.datasets.images import FASHION_MNIST_CLASSES, Images, fashion_mnist, mnist

__all__ = ["FASHION_MNIST_CLASSES", "Images", "fashion_mnist", "mnist"]
