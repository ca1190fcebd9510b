"""What autoencoders are used for: retrieval by short codes, and the detection of anomalies."""

from aebook.applications import anomaly, hamming, retrieval, robust

__all__ = ["anomaly", "hamming", "retrieval", "robust"]
