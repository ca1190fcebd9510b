"""Anomalies: scores, thresholds, and training on data that hold some."""

from aebook.applications.anomaly.robust import (
    Decomposition,
    decompose,
    group_soft_threshold,
    soft_threshold,
)
from aebook.applications.anomaly.scores import (
    likelihood_regret,
    mahalanobis,
    negative_elbo,
    negative_log_likelihood,
    reconstruction_error,
    reconstruction_probability,
)
from aebook.metrics import threshold

__all__ = [
    "Decomposition",
    "decompose",
    "group_soft_threshold",
    "likelihood_regret",
    "mahalanobis",
    "negative_elbo",
    "negative_log_likelihood",
    "reconstruction_error",
    "reconstruction_probability",
    "soft_threshold",
    "threshold",
]
