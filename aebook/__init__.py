"""Autoencoders: one equation, one class.

>>> import aebook
>>> images, labels = aebook.datasets.fashion_mnist()
>>> objective = aebook.variants.plain((784, 256, 32))
>>> history = aebook.fit(objective, images, epochs=10)
>>> codes = aebook.encode(objective.model, images)

Modules are loaded when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aebook import (
        applications,
        boltzmann,
        bottlenecks,
        claims,
        concrete,
        core,
        corruptions,
        data,
        datasets,
        distances,
        estimators,
        hashing,
        inference,
        jacobian,
        live,
        metrics,
        networks,
        penalties,
        plots,
        processes,
        recurrent,
        sparse,
        storage,
        theory,
        timings,
        training,
        variants,
    )
    from aebook.core import Autoencoder, Loss, Objective
    from aebook.inference import decode, encode, reconstruct
    from aebook.storage import load, save
    from aebook.training import History, evaluate, fit, lbfgs

__version__ = "0.1.0"

# where the names of the package itself live
_OFFERED = {
    "core": ("Autoencoder", "Loss", "Objective"),
    "inference": ("decode", "encode", "reconstruct"),
    "storage": ("load", "save"),
    "training": ("History", "evaluate", "fit", "lbfgs"),
}
_HOMES = {name: room for room, names in _OFFERED.items() for name in names}

__all__ = [
    "Autoencoder",
    "History",
    "Loss",
    "Objective",
    "applications",
    "boltzmann",
    "bottlenecks",
    "claims",
    "concrete",
    "core",
    "corruptions",
    "data",
    "datasets",
    "decode",
    "distances",
    "encode",
    "estimators",
    "evaluate",
    "fit",
    "hashing",
    "inference",
    "jacobian",
    "lbfgs",
    "live",
    "load",
    "metrics",
    "networks",
    "penalties",
    "plots",
    "processes",
    "reconstruct",
    "recurrent",
    "save",
    "sparse",
    "storage",
    "theory",
    "timings",
    "training",
    "variants",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"aebook.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name in __all__:
        return import_module(f"aebook.{name}")
    raise AttributeError(f"module 'aebook' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
