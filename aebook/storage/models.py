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

import os
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from aebook._internal import files, sealed
from aebook._internal.contract import checked
from aebook._internal.devices import named
from aebook.core import Objective
from aebook.storage import architecture

__all__ = ["load", "save"]

#: Raised by one whenever files come to be written that the version before would misread.
FORMAT = 1


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
        If it is an :class:`aebook.Objective`, has weights that are not finite, or would not come
        back the same: a hook on a layer, for instance, is code.
    OSError
        If the file cannot be written. What was there before is untouched.

    Examples
    --------
    >>> objective = aebook.variants.plain((8, 2))
    >>> aebook.save(objective.model, "plain.safetensors")
    >>> model, x = aebook.load("plain.safetensors"), torch.rand(5, 8)
    >>> torch.equal(model.encode(x), objective.model.encode(x))
    True
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
    _check_finite(found, found)
    sealed.write(path, "model", FORMAT, description, found)


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
        anything but known layers, or holds tensors that do not fit them, or values that no model
        has, such as NaN; and if a part is of another class than the one that was saved.
    OSError
        If there is no such file, or it cannot be read.

    Examples
    --------
    >>> aebook.save(aebook.variants.k_sparse((8, 20), k=3).model, "k_sparse.safetensors")
    >>> model = aebook.load("k_sparse.safetensors")
    >>> model.bottleneck, model.training
    (TopK(k=3, by='value', alpha=1.0), False)
    """
    device = named(device)
    content = files.content(path)
    description, found, theirs = sealed.read(path, "model", FORMAT, content, "get it again")
    parts = {} if parts is None else dict(parts)
    for part in parts.values():
        if isinstance(part, nn.Module):
            part.to(device)
    try:
        model = architecture.build(description, parts)
        _check_match(architecture.tensors(model), found)
        _check_finite(architecture.tensors(model), found)
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}{_written_by(theirs)}") from error
    for module in model.modules():
        own = chain(module.parameters(recurse=False), module.buffers(recurse=False))
        if any(tensor.is_meta for tensor in own):
            module.to_empty(device=device, recurse=False)
    # data, and not the parameter itself: a part of one's own may hold it twice
    for name, tensor in architecture.tensors(model).items():
        tensor.data = found[name].to(device)
    try:
        _check_settings(model)
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}{_written_by(theirs)}") from error
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


def _written_by(theirs: str) -> str:
    ours = sealed.version()
    return "" if theirs == ours else f" (written by aebook {theirs:.20}, this is {ours})"


def _check_finite(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not finite, and NaN anywhere; a buffer may hold infinity."""
    for name, tensor in expected.items():
        learnt = isinstance(tensor, nn.Parameter)
        # 8 bits have no such question of their own
        values = found[name].float() if found[name].itemsize == 1 else found[name]
        if not (values.isfinite() if learnt else ~values.isnan()).all():
            raise ValueError(f"{name} has values that are not finite, expected finite ones")


def _check_settings(model: nn.Module) -> None:
    """Refuse settings, which lie in buffers, that no constructor would have put there."""
    for name, part in model.named_modules():
        module: Any = part
        if getattr(module, "settings", ()) and hasattr(module, "arguments"):
            with torch.device("meta"):
                try:
                    type(module)(**module.arguments())
                except ValueError as error:
                    raise ValueError(f"{name or 'the model'} makes no sense: {error}") from error


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
