"""Arguments are what their annotations say: one check of types for every function that people call.

What a type cannot say, a range, a shape, which values a table may have, each function says itself.
Nothing that runs in a step of training is checked here.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import numbers
import operator
import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from torch import Tensor, nn

from aebook._internal.checks import as_array, is_number, odd_tensor, shown, unmasked

__all__ = ["checked", "explained", "taken"]

# what PyTorch and NumPy say when there is not enough memory on the CPU, or never would be
_TOO_LARGE = re.compile(
    "^(.*DefaultCPUAllocator|Storage size calc|.*integer.* overflow|array is too big|empty.*unpack)"
)

# what PyTorch says when the parts of an objective do not fit the data or each other, and what to do
_REASONS = {
    "index out of range in self": (
        "whole numbers that the layer knows: nn.Embedding(n, ...) takes those from 0 to n - 1"
    ),
    "Expected more than 1 value per channel when training": (
        "two samples or more in a batch where batches are normalised: give more samples, take "
        "nn.LayerNorm or aebook.networks.Standardised, or freeze the layer in evaluation mode"
    ),
    "shapes cannot be multiplied|Given groups=|size mismatch|must match the size of tensor"
    "|Expected [^.]*input|shape '.*' is invalid for input|normalized_shape": (
        "data of the shape that the encoder takes, a decoder that takes its code, and "
        "reconstructions with the shape of the targets"
    ),
    "same dtype|expected scalar type|(weight|bias) type|Found dtype|for argument #.*scalar types": (
        "numbers of one type: floating point for layers of floating point (integers as x.float(), "
        "bytes divided by 255), and all parts of the model alike (model.float())"
    ),
    "does not require grad|Inference tensors|inference tensor": (
        "a loss that depends on what is trained: leave detach(), torch.no_grad() and "
        "torch.inference_mode() out of the model, the distance and the penalties"
    ),
}

# what it says of a step that no number of its type can hold
_TOO_FAR = re.compile("cannot be converted to type .* without overflow")

Function = TypeVar("Function", bound=Callable[..., Any])


class Numbers:
    """What NumPy takes for an array of numbers."""


# names of annotations that are resolved otherwise than they are written
_NAMES: dict[str, Any] = {"ArrayLike": Numbers, "Data": Any}
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "text",
    bytes: "bytes",
    Tensor: "a tensor: use torch.as_tensor(...)",
    np.ndarray: "an array of numbers",
    Numbers: "an array of numbers",
    types.NoneType: "None",
}
# by name, since a check knows none of the rooms above it
_ADVICE = {
    "Autoencoder": (
        "an Autoencoder: for an objective give objective.model, and wrap networks in "
        "aebook.Autoencoder(encoder, decoder)"
    ),
    "Chain": "a Chain, as networks.mlp makes it",
    "Gaussian": "bottlenecks.Gaussian, which has a posterior: use variants.variational",
    "Objective": "an Objective: wrap a model in aebook.Objective(model)",
    "PathLike": "a path",
}


def checked(function: Function) -> Function:
    """Refuse, by name, what is not of the type that an argument is annotated with.

    Whole numbers and others of NumPy become Python's, arrays and columns of texts lists. What asks
    for more memory than there is is refused too.
    """

    @functools.cache
    def annotated() -> tuple[inspect.Signature, dict[str, Any]]:
        return inspect.signature(function), get_type_hints(function, localns=_NAMES)

    @functools.wraps(function)
    def careful(*args: Any, **named: Any) -> Any:
        signature, hints = annotated()
        try:
            bound = signature.bind(*args, **named)
        except TypeError:
            # one too many or too few, which Python says with the function's name
            return function(*args, **named)
        for name, value in bound.arguments.items():
            hint, kind = hints.get(name, Any), signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                value = tuple(taken(name, entry, hint) for entry in value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                value = {key: taken(key, entry, hint) for key, entry in value.items()}
            else:
                value = taken(name, value, hint)
            bound.arguments[name] = value
        try:
            return function(*bound.args, **bound.kwargs)
        except (MemoryError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            own = MemoryError | OverflowError
            if not isinstance(error, own) and not _TOO_LARGE.search(str(error)):
                raise
            given = ", ".join(shown(name, value) for name, value in bound.arguments.items())
            raise ValueError(f"got {given}, expected what fits into memory: {error}") from error

    return cast(Function, careful)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Within it, what PyTorch says of parts that do not fit is said with what to do."""
    try:
        yield
    except (IndexError, RuntimeError, ValueError) as error:
        if isinstance(error, ValueError) and not str(error).startswith(
            "Expected more than 1 value"
        ):
            # our own, which say what to do
            raise
        if _TOO_FAR.search(str(error)):
            raise ValueError(
                f"a step is too large for the type of the weights ({error}): lower lr, or what the "
                "schedule gives"
            ) from error
        for sign, expected in _REASONS.items():
            if re.search(sign, str(error)):
                first = str(error).splitlines()[0]
                raise ValueError(
                    f"the model and the data do not fit ({first}), expected {expected}"
                ) from error
        raise


def taken(name: str, value: Any, hint: Any) -> Any:
    """The value as its annotation has it; a ValueError if it is none such.

    Parameters
    ----------
    name
        What it is called in the message: an argument, or ``"what read gave"``.
    value
        What came.
    hint
        The annotation; :class:`Numbers` stands for an array.
    """
    hint = getattr(hint, "__bound__", None) or hint
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind is Any or kind is object:
        return value
    if kind in (Union, types.UnionType):
        return _one(name, value, hint, parts)
    found, good = value, True
    if kind is Literal:
        good = not isinstance(value, bool) and isinstance(value, str | numbers.Integral)
        good = good and value in parts
    elif kind is int:
        if good := is_number(value) and value == int(value):
            found = int(value)
    elif kind is float:
        if good := is_number(value):
            found = value if isinstance(value, int) else float(value)
    elif kind is bool:
        if good := isinstance(value, bool | np.bool_):
            found = bool(value)
    elif kind is Callable:
        good = _can_be_called(value, parts)
    elif kind in (np.ndarray, Numbers):
        array = _array(value)
        good = array is not None
        found = array if kind is np.ndarray else value
    elif isinstance(kind, type) and issubclass(kind, Mapping):
        if good := isinstance(value, Mapping):
            of = parts or (Any, Any)
            for key, entry in value.items():
                taken(f"a key of {name}", key, of[0])
                taken(f"{name}[{key!r}]", entry, of[1])
    elif kind in (tuple, list, Sequence, Collection, Iterable):
        return _entries(name, value, hint, kind, parts)
    elif isinstance(kind, type):
        if (fields := getattr(kind, "_fields", None)) and type(value) is tuple:
            # what would be named may come without its names
            if good := len(value) == len(fields):
                found = kind(*value)
        else:
            good = isinstance(value, kind)
    if not good:
        raise ValueError(f"got {shown(name, value)}, expected {_expected(hint)}")
    if isinstance(found, Tensor) and (odd := odd_tensor(found)):
        raise ValueError(odd)
    return found


def _one(name: str, value: Any, hint: Any, parts: tuple[Any, ...]) -> Any:
    """The first of the alternatives that fits."""
    refused = []
    for part in parts:
        try:
            return taken(name, value, part)
        except ValueError as error:
            refused.append(error)
    if isinstance(value, list | tuple | dict):
        # which entry it was
        for error in refused:
            if f"got {name}[" in str(error) or "a key of" in str(error):
                raise error
    raise ValueError(f"got {shown(name, value)}, expected {_expected(hint)}")


def _entries(name: str, value: Any, hint: Any, kind: Any, parts: tuple[Any, ...]) -> Any:
    """A sequence, each of whose entries fits; other columns than lists and tuples become lists."""
    wrong = ValueError(f"got {shown(name, value)}, expected {_expected(hint)}")
    # what is in a set is in no order
    none = str | bytes | Mapping if kind is Iterable else str | bytes | Mapping | set | frozenset
    if isinstance(value, none) or not isinstance(value, Iterable):
        raise wrong
    if kind is Iterable and isinstance(value, Iterator):
        return (taken(f"{name}[{k}]", entry, parts[0]) for k, entry in enumerate(value))
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 0:
        raise wrong
    if kind is tuple and parts[-1:] != (...,):
        found = tuple(value)
        if parts and len(found) != len(parts):
            raise wrong
        pairs = enumerate(zip(found, parts or (Any,) * len(found), strict=True))
        return tuple(taken(f"{name}[{k}]", entry, part) for k, (entry, part) in pairs)
    part = parts[0] if parts else Any
    found = [taken(f"{name}[{k}]", entry, part) for k, entry in enumerate(value)]
    if isinstance(value, set | frozenset) or (
        isinstance(value, list | tuple) and all(map(operator.is_, found, value))
    ):
        return value
    return tuple(found) if isinstance(value, tuple) else found


def _can_be_called(value: Any, parts: tuple[Any, ...]) -> bool:
    """Whether it is a function; a module where one that makes modules is meant is none."""
    if not callable(value):
        return False
    takes, gives = cast(tuple[Any, Any], parts or (..., Any))
    if takes == []:
        return not isinstance(value, nn.Module)
    if isinstance(value, type) and takes is not ...:
        return not isinstance(gives, type) or issubclass(value, cast(type, gives))
    if takes is ...:
        return True
    try:
        inspect.signature(value.forward if isinstance(value, nn.Module) else value).bind(*takes)
    except ValueError:
        # written in C, it does not tell
        return True
    except TypeError:
        return False
    return True


def _array(value: Any) -> Any:
    """As an array of numbers or truth values, or None if it is none."""
    if value is None or isinstance(value, str | bytes):
        return None
    # which is said by its name
    value = unmasked(value)
    try:
        array = as_array(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    # True alone is no number
    kinds = "biuf" if array.ndim else "iuf"
    return array if array.dtype.kind in kinds else None


def _expected(hint: Any) -> str:
    """An annotation in words."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, types.UnionType):
        words = [_expected(part) for part in parts if part is not types.NoneType]
        words += ["None"] if types.NoneType in parts else []
        return " or ".join(dict.fromkeys(words))
    if kind is Literal:
        *first, last = map(repr, parts)
        return f"{', '.join(first)} or {last}" if first else last
    if kind is Callable:
        if parts and parts[0] == []:
            return "a class or function that makes a module, such as nn.ReLU without brackets"
        if parts and parts[0] is not ...:
            count = ("no argument", "one argument", "two arguments", "three arguments")
            return f"a function of {count[len(parts[0])]}"
        return "a function"
    if kind in _WORDS:
        return _WORDS[kind]
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return f"a dict, each value {_expected(parts[1])}" if parts else "a dict"
    if kind is tuple and parts and parts[-1] is not ...:
        return f"({', '.join(_expected(part) for part in parts)})"
    if kind in (tuple, list, Sequence, Collection, Iterable):
        return f"a list, each entry {_expected(parts[0])}" if parts else "a list"
    called = getattr(kind, "__name__", str(kind))
    if called in _ADVICE:
        return _ADVICE[called]
    return f"{'an' if called[0] in 'AEIOU' else 'a'} {called}"
