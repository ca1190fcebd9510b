"""Models in files, without pickle: weights as safetensors, the architecture as JSON."""

from aebook.storage import architecture, onnx
from aebook.storage.models import load, save

__all__ = [
    "architecture",
    "load",
    "onnx",
    "save",
]
