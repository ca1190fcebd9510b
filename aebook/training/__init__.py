"""Training: one loop for every objective, L-BFGS on all data at once, layer by layer."""

from aebook.training import schedules
from aebook.training.full_batch import lbfgs
from aebook.training.greedy import layerwise
from aebook.training.history import History
from aebook.training.loop import evaluate, fit
from aebook.training.temperature import annealing, fit_until_converged, temperature_at

__all__ = [
    "History",
    "annealing",
    "evaluate",
    "fit",
    "fit_until_converged",
    "layerwise",
    "lbfgs",
    "schedules",
    "temperature_at",
]
