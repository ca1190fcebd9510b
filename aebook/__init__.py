"""Autoencoders: one equation, one class.

>>> import aebook
>>> images, labels = aebook.datasets.fashion_mnist()
>>> objective = aebook.variants.plain((784, 256, 32))
>>> history = aebook.fit(objective, images, epochs=10)
>>> codes = objective.model.encode(images)
"""

from aebook import (
    applications,
    bottlenecks,
    concrete,
    core,
    corruptions,
    datasets,
    dimension,
    distances,
    estimators,
    jacobian,
    linear,
    metrics,
    networks,
    onnx,
    partition,
    penalties,
    plots,
    pretraining,
    rbm,
    recurrent,
    schedules,
    score,
    sparse,
    storage,
    training,
    variants,
    variational,
)
from aebook.core import Autoencoder, Loss, Objective
from aebook.full_batch import lbfgs
from aebook.history import History
from aebook.storage import load, save
from aebook.training import evaluate, fit

__version__ = "0.1.0"

__all__ = [
    "Autoencoder",
    "History",
    "Loss",
    "Objective",
    "applications",
    "bottlenecks",
    "concrete",
    "core",
    "corruptions",
    "datasets",
    "dimension",
    "distances",
    "estimators",
    "evaluate",
    "fit",
    "jacobian",
    "lbfgs",
    "linear",
    "load",
    "metrics",
    "networks",
    "onnx",
    "partition",
    "penalties",
    "plots",
    "pretraining",
    "rbm",
    "recurrent",
    "save",
    "schedules",
    "score",
    "sparse",
    "storage",
    "training",
    "variants",
    "variational",
]
