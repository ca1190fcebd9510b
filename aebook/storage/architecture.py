"""Architectures as plain values: from a model to a description, and back.

A description is a tree of dictionaries with one node a module: its kind, the arguments that made
it, its children in order. Kinds are PyTorch's layers in :data:`KINDS`, the classes of this package
that state their ``arguments()``, and nothing else; arguments are numbers, strings and sequences of
these, so a description cannot run code. A module of any other class is described by its name alone,
and whoever builds the model gives it.
"""

from __future__ import annotations

import importlib
import inspect
import math
import numbers
import typing
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from aebook._internal.checks import number, whole
from aebook._internal.contract import taken
from aebook.core import Autoencoder
from aebook.networks import Chain, Transposed
from aebook.sparse import UnitColumns

__all__ = ["KINDS", "build", "describe", "tensors"]

_TORCH = """
    Linear Bilinear Embedding RNN GRU LSTM RNNCell GRUCell LSTMCell
    Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
    Identity Sequential Flatten Unflatten Upsample PixelShuffle PixelUnshuffle
    MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d
    AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d
    BatchNorm1d BatchNorm2d BatchNorm3d GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d
    LayerNorm RMSNorm Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout
    CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish
    PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmax2d Softmin Softplus Softshrink Softsign
    Tanh Tanhshrink Threshold
"""

#: PyTorch's layers that a description may ask for, by the name that stands for them in files.
KINDS: dict[str, type[nn.Module]] = {
    f"torch.nn.{name}": getattr(nn, name) for name in _TORCH.split()
}
_NAMES = {cls: name for name, cls in KINDS.items()}
_CONTAINERS = (Autoencoder, Chain, nn.Sequential)

# levels of containers within containers; Python's own limit would be reached at some hundreds
_DEPTH = 100

# arguments of PyTorch's layers that say how far or how large without a weight to show for it, and
# the largest that is believed; those that number dimensions, of which a tensor has 64 at most; and
# those that may be 0
_SIDES = {"dilation", "downscale_factor", "kernel_size", "output_padding", "output_size", "padding"}
_SIDES |= {"scale_factor", "size", "stride", "upscale_factor"}
_LONGEST = 2**16
_DIMENSIONS = {"dim", "end_dim", "start_dim"}
_MAY_BE_0 = {"output_padding", "padding", "padding_idx", "proj_size"}


def describe(module: nn.Module) -> dict[str, Any]:
    """The description of a module, as values that JSON knows.

    Raises
    ------
    ValueError
        If what :func:`build` would make of it is not the same, for instance because of a hook, of
        a setting that no argument gives, or of weights that two layers share.

    Examples
    --------
    >>> from aebook.storage.architecture import describe
    >>> description = describe(torch.nn.Linear(8, 2))
    >>> description["kind"], description["arguments"]["in_features"]
    ('torch.nn.Linear', 8)
    """
    node = _describe(module, "", {})
    custom = dict(_custom(node, ""))
    try:
        twin = build(node, {path: module.get_submodule(path) for path in custom})
        differ = _difference(module, twin)
    except ValueError as error:
        differ = str(error)
    if differ:
        raise ValueError(f"the model could not be built again from its description: {differ}")
    return node


def build(node: Any, parts: Mapping[str, nn.Module] | None = None) -> nn.Module:
    """The module that a description describes, without memory for its tensors (device "meta").

    Parameters
    ----------
    node
        What :func:`describe` returned, or what claims to be that.
    parts
        The modules of other classes, by their path, as in ``module.named_modules()``.

    Raises
    ------
    ValueError
        If a kind is unknown, arguments do not suit it, or a part is missing or not asked for.

    Examples
    --------
    >>> from aebook.storage.architecture import build, describe
    >>> layer = build(describe(torch.nn.Linear(8, 2)))
    >>> layer.weight.shape, layer.weight.device
    (torch.Size([2, 8]), device(type='meta'))
    """
    parts = {} if parts is None else dict(parts)
    try:
        asked = dict(_custom(node, ""))
    except Exception as error:
        raise ValueError(f"its description makes no sense ({error!r:.200})") from error
    for path, part in parts.items():
        if path not in asked:
            raise ValueError(f"got the part {path!r}, expected {_list(asked)}: leave it out")
        if not isinstance(part, nn.Module):
            raise ValueError(f"got {part!r} as the part {path!r}, expected an instance of a module")
    for path, cls in asked.items():
        if path not in parts:
            raise ValueError(
                f"its {path} is a {cls}, a class of which aebook knows only the name: make one "
                f"with the arguments that it had, and give {{{path!r}: {cls.split('.')[-1]}(...)}}"
            )
        # by its name alone, since a class may have moved to another module
        given = parametrize.type_before_parametrizations(parts[path]).__name__
        if given != cls.split(".")[-1]:
            raise ValueError(f"got a {given} as the part {path!r}, expected a {cls}")
    try:
        with torch.device("meta"):
            return _build(node, "", {}, parts)
    except _Unknown:
        raise
    except Exception as error:
        # constructors may raise anything for arguments that make no sense
        raise ValueError(f"its description makes no sense ({error!r:.200})") from error


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers to save, each once, by its name in ``module.state_dict()``.

    Examples
    --------
    >>> from aebook.storage.architecture import tensors
    >>> model = aebook.variants.plain((8, 2), tied=True).model
    >>> {name: tuple(tensor.shape) for name, tensor in tensors(model).items()}
    {'encoder.0.map.weight': (2, 8), 'encoder.0.map.bias': (2,), 'decoder.0.map.bias': (8,)}
    """
    found: dict[str, Tensor] = {}
    seen = set()
    for name, value in module.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise ValueError(f"got {name} of type {type(value).__name__}, expected only tensors")
        if id(value) not in seen:
            found[name] = value
        seen.add(id(value))
    return found


class _Unknown(ValueError):
    """A kind that is not in the table."""


def _describe(module: nn.Module, path: str, seen: dict[nn.Module, str]) -> dict[str, Any]:
    cls = parametrize.type_before_parametrizations(module)
    # a container that comes twice is described twice, and its layers are then the same
    if module in seen and cls not in _CONTAINERS:
        return {"same": seen[module]}
    columns = _unit_columns(module)
    if (kind := _kind(cls)) is None or (parametrize.is_parametrized(module) and columns is None):
        for name, inner in module.named_modules(prefix=path):
            seen.setdefault(inner, name)
        return {"custom": f"{cls.__module__}.{cls.__qualname__}"}
    node: dict[str, Any] = {"kind": kind, "arguments": _arguments(module, cls)}
    if columns is not None:
        node["unit_columns"] = columns
    if isinstance(module, Transposed):
        source = module.source
        if source not in seen:
            raise ValueError(
                f"got a decoder whose {path or 'layer'} is tied to a layer that is not part of "
                "what is saved, expected the whole Autoencoder"
            )
        node["source"] = seen[source]
    elif cls in _CONTAINERS:
        children: dict[str, Any] = module._modules
        node["children"] = {
            name: _describe(child, _join(path, name), seen) for name, child in children.items()
        }
    seen.setdefault(module, path)
    return node


def _build(
    node: Mapping[str, Any], path: str, built: dict[str, nn.Module], parts: Mapping[str, nn.Module]
) -> nn.Module:
    if path.count(".") >= _DEPTH:
        raise _Unknown(f"it is nested more than {_DEPTH} levels deep")
    if "same" in node:
        return built[node["same"]]
    if "custom" in node:
        built.update(parts[path].named_modules(prefix=path))
        return parts[path]
    cls = _class(node["kind"])
    if cls is None:
        raise _Unknown(f"it asks for a {node['kind']!r:.100}, which this version does not know")
    arguments = {name: _tuples(value) for name, value in node["arguments"].items()}
    # an argument such as device could ask for memory that no tensor in the file accounts for
    if surplus := arguments.keys() - _names(cls):
        raise _Unknown(f"it gives {sorted(surplus)!r:.100} to {node['kind']}, which takes no such")
    arguments = _checked(cls, arguments)
    if cls in _CONTAINERS:
        children = {
            name: _build(child, _join(path, name), built, parts)
            for name, child in node["children"].items()
        }
        if cls is Autoencoder:
            return Autoencoder(**children)
        if cls is Chain:
            return Chain(arguments["shape"], *children.values())
        return nn.Sequential(OrderedDict(children))
    if issubclass(cls, Transposed):
        source = cast(nn.Linear, built[node["source"]])
        # next to its weight, which is real if the layer is in a part that was given
        with source.weight.device:
            module: nn.Module = cls(source, **arguments)
    else:
        module = cls(**arguments)
    if "unit_columns" in node:
        parametrize.register_parametrization(module, "weight", UnitColumns(node["unit_columns"]))
    # containers are not among them: layers within layers that are the same would grow without end
    built[path] = module
    return module


def _custom(node: Mapping[str, Any], path: str) -> list[tuple[str, str]]:
    """Paths and class names of the parts that are not built but given."""
    if "custom" in node:
        return [(path, str(node["custom"]))]
    children = node.get("children", {}).items()
    return [found for name, child in children for found in _custom(child, _join(path, name))]


def _kind(cls: type[nn.Module]) -> str | None:
    """The name that stands for a class in files, if there is one."""
    if cls in _NAMES:
        return _NAMES[cls]
    name = f"{cls.__module__}.{cls.__qualname__}"
    return name if _class(name) is cls else None


def _class(kind: str) -> type[nn.Module] | None:
    """The class that a name stands for: a layer of PyTorch, or one of ours with arguments."""
    if kind in KINDS:
        return KINDS[kind]
    home, _, name = kind.rpartition(".")
    if home.partition(".")[0] != "aebook":
        return None
    try:
        found = getattr(importlib.import_module(home), name, None)
    except ImportError:
        return None
    ours = isinstance(found, type) and issubclass(found, nn.Module) and hasattr(found, "arguments")
    return found if ours else None


def _names(cls: type[nn.Module]) -> set[str]:
    """Arguments of a class that describe it: not where its tensors are, and of which type."""
    # recurrent layers take what their common base takes
    signature = inspect.signature(nn.RNNBase if issubclass(cls, nn.RNNBase) else cls.__init__)
    names = {
        p.name
        for p in signature.parameters.values()
        if p.kind is not p.VAR_POSITIONAL
        and p.kind is not p.VAR_KEYWORD
        and p.name not in ("self", "device", "dtype", "encoder", "bottleneck", "decoder", "source")
        and not p.name.startswith("_")
    }
    if issubclass(cls, nn.RNNBase):
        names -= {"mode", "proj_size"}
        names |= {nn.LSTM: {"proj_size"}, nn.RNN: {"nonlinearity"}}.get(cls, set())
    return names


def _checked(cls: type[nn.Module], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the types that a constructor states, which PyTorch's do not ask for.

    No number is NaN, none that counts something is below zero, and none is beyond what a layer
    can have.
    """
    stated = typing.get_type_hints((nn.RNNBase if issubclass(cls, nn.RNNBase) else cls).__init__)
    found = {}
    for name, value in arguments.items():
        hint = stated.get(name, Any)
        endless = hint is float and value in (math.inf, -math.inf)
        found[name] = value if endless else taken(name, value, hint)
        if hint is float:
            continue
        for part in _leaves(found[name]):
            if name in _DIMENSIONS:
                whole(name, part, least=-64, most=63)
            elif name in _SIDES:
                number(name, part, least=0 if name in _MAY_BE_0 else None, most=_LONGEST)
            elif type(part) is int:
                least = 0 if name in _MAY_BE_0 or cls not in _NAMES else 1
                whole(name, part, least=least, most=2**31 - 1)
    return found


def _leaves(value: Any) -> Iterator[Any]:
    """The numbers in it."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _arguments(module: Any, cls: type[nn.Module]) -> dict[str, Any]:
    if hasattr(module, "arguments"):
        given = module.arguments()
    else:
        given = {name: getattr(module, name) for name in _names(cls) if hasattr(module, name)}
        if "bias" in given and not isinstance(given["bias"], bool):
            given["bias"] = given["bias"] is not None
    return {name: _plain(value) for name, value in sorted(given.items())}


def _unit_columns(module: nn.Module) -> int | None:
    """Along which dimension the weight is normalised, if that is how it is parametrised."""
    if not parametrize.is_parametrized(module):
        return None
    parametrizations: Any = module.parametrizations
    lists = dict(parametrizations.items())
    if lists.keys() == {"weight"} and [type(p) for p in lists["weight"]] == [UnitColumns]:
        return lists["weight"][0].along
    return None


def _difference(module: nn.Module, twin: nn.Module) -> str:
    """What a module has that its twin has not, in words; nothing if they are the same."""
    ours, theirs = (dict(m.named_modules(remove_duplicate=False)) for m in (module, twin))
    if ours.keys() != theirs.keys():
        return f"its modules would be {_list(theirs)} and not {_list(ours)}"
    for path, one in ours.items():
        other = theirs[path]
        if one is other:
            continue
        if one._forward_hooks or one._forward_pre_hooks:
            return f"{path or 'the model'} has hooks, which are code: remove them"
        mine, its = _settings(one), _settings(other)
        for name in mine.keys() | its.keys():
            if name not in mine or name not in its or mine[name] != its[name]:
                got, expected = mine.get(name), its.get(name)
                return f"{path or 'the model'} has {name}={got!r:.100} and not {expected!r:.100}"
    names, expected = tensors(module).keys(), tensors(twin).keys()
    if names != expected:
        return f"the tensors {_list(names ^ expected)} are shared by layers, or not where they were"
    return ""


def _settings(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module beside tensors, modules and what PyTorch notes for itself."""
    return {
        name: _tuples(value)
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "training"
    }


def _plain(value: Any) -> Any:
    """An argument as JSON has it."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Tensor):
        return value.item()
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    raise ValueError(f"got the argument {value!r:.100}, expected numbers, strings or sequences")


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _list(names: Any) -> str:
    names = sorted(map(str, names))
    return (", ".join(names[:5]) + (", ..." if names[5:] else "")) or "none"
