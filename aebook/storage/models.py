"""Models in files: weights as safetensors, the architecture as JSON beside them, no pickle.

>>> aebook.save(objective.model, "denoising.safetensors")
>>> model = aebook.load("denoising.safetensors")

What is saved is what is used after training. To train on, or to score anomalies, put the objective
around it again: ``aebook.Objective(model, distance=aebook.distances.bernoulli)``.

A file holds numbers and the names of known layers, nothing that runs, and any reader of safetensors
finds the tensors in it. Its metadata are one entry, ``aebook``: the format, the version that wrote
it, the description of :mod:`aebook.storage.architecture`, and the SHA-256 of the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from aebook._internal.contract import checked
from aebook._internal.devices import named
from aebook._internal.files import replace
from aebook.core import Objective
from aebook.storage import architecture

__all__ = ["load", "save"]

#: Raised by one whenever files come to be written that the version before would misread.
FORMAT = 1

# stands for the checksum in what the checksum is of
_BLANK = "0" * 64


@checked
def save(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model to a file, whole or not at all.

    Values, types, buffers and architecture are kept exactly; the loss, the optimiser and which
    parameters are frozen are not: ``fit(..., checkpoint=...)`` keeps a run.

    Parameters
    ----------
    model
        An :class:`aebook.Autoencoder`, or another module of a known class such as its encoder or a
        :class:`aebook.distances.Gaussian` with the σ that was learned. What ``torch.compile`` or
        data parallelism have wrapped around it is left out. Parts of it may be of any class: of
        these the file holds the name and the weights, see :func:`load`.
    path
        ``"name.safetensors"`` in a folder that exists.

    Raises
    ------
    ValueError
        If it is an :class:`aebook.Objective`, or would not come back the same: a hook on a layer,
        for instance, is code.
    OSError
        If the file cannot be written. What was there before is untouched.
    """
    model = _unwrapped(model)
    description = architecture.describe(model)
    if "custom" in description:
        raise ValueError(
            f"got a {description['custom']}, expected an aebook.Autoencoder: a class of which "
            "aebook knows only the name can be a part of one, not the whole"
        )
    found = architecture.tensors(model)
    for name, tensor in found.items():
        if is_lazy(tensor) or tensor.is_meta or tensor.layout is not torch.strided:
            raise ValueError(
                f"got {name} without values of its own: call the model once, then save"
            )
        if tensor.is_complex():
            raise ValueError(f"got {name} of type {tensor.dtype}, expected real numbers")
    # clones, so that views of a common storage are none
    found = {name: t.detach().cpu().clone().contiguous() for name, t in found.items()}
    metadata = {
        "sha256": _BLANK,
        "format": FORMAT,
        "aebook": _version(),
        "model": description,
    }
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    content = safetensors.torch.save(found, {"aebook": text})
    digest = hashlib.sha256(content).hexdigest()
    content = content.replace(_BLANK.encode(), digest.encode(), 1)
    replace(path, lambda file: file.write(content))


@checked
def load(
    path: str | os.PathLike[str],
    parts: Mapping[str, nn.Module] | None = None,
    *,
    device: str | torch.device = "cpu",
) -> Any:
    """Read a model from a file that :func:`save` wrote; no code in the file is run.

    Parameters
    ----------
    path
        The file.
    parts
        Those parts of the model whose classes are your own, by their path in the model:
        ``aebook.load(path, {"encoder": MyEncoder(784, 32)})``. Each is an instance made with the
        arguments that it had; its weights are overwritten.
    device
        Where the weights go.

    Returns
    -------
    torch.nn.Module
        The model in evaluation mode, most often an :class:`aebook.Autoencoder`. Its outputs are
        those of the model that was saved.

    Raises
    ------
    ValueError
        If the file is truncated, altered, of a newer version or of another program, asks for
        anything but known layers, or holds tensors that do not fit them.
    OSError
        If there is no such file, or it cannot be read.
    """
    device = named(device)
    metadata, found = _read(Path(path))
    parts = {} if parts is None else dict(parts)
    for part in parts.values():
        if isinstance(part, nn.Module):
            part.to(device)
    try:
        model = architecture.build(metadata.get("model"), parts)
        _check_match(architecture.tensors(model), found)
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}{_written_by(metadata)}") from error
    for module in model.modules():
        own = chain(module.parameters(recurse=False), module.buffers(recurse=False))
        if any(tensor.is_meta for tensor in own):
            module.to_empty(device=device, recurse=False)
    # data, and not the parameter itself: a part of one's own may hold it twice
    for name, tensor in architecture.tensors(model).items():
        tensor.data = found[name].to(device)
    return model.eval()


def _unwrapped(model: nn.Module) -> nn.Module:
    """The module inside the wrappers of torch.compile and of data parallelism."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, Objective):
            raise ValueError(
                "got an Objective, expected a model: save objective.model, and build the "
                "objective around the loaded model again. A learned σ is in objective.distance, "
                "which can be saved to a file of its own"
            )
        if not isinstance(model, nn.Module):
            raise ValueError(f"got a {type(model).__name__}, expected a model")
        if isinstance(model, parallel):
            model = model.module
        elif type(model).__name__ == "OptimizedModule":
            model = model.get_submodule("_orig_mod")
        else:
            break
    for path, part in model.named_modules():
        if isinstance(part, parallel) or type(part).__name__ == "OptimizedModule":
            raise ValueError(
                f"got a model whose {path} is wrapped in {type(part).__name__}, expected the "
                "module inside: put it back first, or wrap the whole model"
            )
    return model


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a file that is what it was when it was written."""
    content = path.read_bytes()
    try:
        # checks that the tensors fill the file exactly, before there is memory for any
        found = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        text = header.get("__metadata__", {}).get("aebook")
    except Exception as error:
        pickled = " It may be a pickle, which can run code and is never opened."
        raise ValueError(
            f"{path} is no safetensors file, or is truncated or altered: get it again."
            + (pickled if content[:2] == b"PK" or content[:1] == b"\x80" else "")
        ) from error
    if text is None:
        raise ValueError(
            f"{path} is a safetensors file, but not one that aebook wrote: build the model and "
            "use safetensors.torch.load_model"
        )
    try:
        metadata = json.loads(text)
        digest, version = metadata["sha256"], metadata["format"]
        if not isinstance(version, int) or version < 1 or not isinstance(metadata["aebook"], str):
            raise ValueError("a format is a number from 1, a version is text")
    except Exception as error:
        raise ValueError(f"{path} has metadata that are not aebook's: get it again") from error
    if version > FORMAT:
        raise ValueError(
            f"{path} has the format {version}, and this version reads up to {FORMAT}: "
            f"update aebook{_written_by(metadata)}"
        )
    blank = content.replace(str(digest).encode(), _BLANK.encode(), 1)
    if hashlib.sha256(blank).hexdigest() != digest:
        raise ValueError(f"{path} was altered after it was written: get it again")
    return metadata, found


def _written_by(metadata: Mapping[str, Any]) -> str:
    theirs, ours = metadata["aebook"], _version()
    return "" if theirs == ours else f" (written by aebook {theirs:.20}, this is {ours})"


def _version() -> str:
    # not known yet when this module is imported
    from aebook import __version__

    return __version__


def _check_match(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not those of the model."""
    if expected.keys() != found.keys():
        missing, surplus = expected.keys() - found.keys(), found.keys() - expected.keys()
        raise ValueError(
            f"got tensors {sorted(surplus)!r:.200} that the model has not, and not "
            f"{sorted(missing)!r:.200} that it has"
        )
    for name, tensor in expected.items():
        given = found[name]
        alike = given.is_floating_point() and tensor.is_floating_point()
        if given.shape != tensor.shape or not (alike or given.dtype == tensor.dtype):
            raise ValueError(
                f"got {name} as {given.dtype} {tuple(given.shape)}, expected "
                f"{tensor.dtype} {tuple(tensor.shape)}"
            )
