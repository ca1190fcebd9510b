"""Trained models that ship with the package.

How each was trained, on what, and how well it does is in ``weights/README.md`` beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from torch import nn

from aebook.datasets.files import sha256
from aebook.storage import load as load_file

__all__ = ["SHIPPED", "load"]

#: Models that ship with the package, and the SHA-256 of their files.
SHIPPED: Mapping[str, str] = {}


def load(name: str, parts: Mapping[str, nn.Module] | None = None) -> nn.Module:
    """Load a trained model that ships with the package, in evaluation mode.

    Parameters
    ----------
    name
        One of the names in :data:`SHIPPED`.
    parts
        Parts of the model of classes that :func:`aebook.load` does not know, as there.

    Raises
    ------
    ValueError
        If there is no such model, or the parts do not fit it.
    OSError
        If the file is missing or is not the one that was shipped.
    """
    if name not in SHIPPED:
        raise ValueError(f"got {name!r}, expected one of {sorted(SHIPPED)}")
    source = resources.files(__package__) / "weights" / f"{name}.safetensors"
    with resources.as_file(source) as path:
        try:
            digest = sha256(path.read_bytes())
        except OSError as error:
            raise OSError(f"cannot read {path} ({error}): reinstall aebook") from error
        if digest != SHIPPED[name]:
            raise OSError(
                f"{path} is damaged: its SHA-256 is {digest}, "
                f"but the file that ships has {SHIPPED[name]}: reinstall aebook"
            )
        return load_file(path, parts)
