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
import traceback
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

# what an accelerator, a compiler or a lack of memory says
_MACHINE = re.compile("^(CUDA|cuDNN|HIP|MPS|NCCL|Xla)|out of memory|backend='|Inductor")

# how PyTorch's compiler passes on what an operation said
_QUOTED = re.compile(r"got (\w+\(.*\))$", re.MULTILINE)

# what follows upon a forward pass, and where PyTorch has it
_STEPS = {"the gradient": "torch.autograd", "the optimiser": "torch.optim"}

# what modules raise for what they cannot take
_FAILURES = (
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    ZeroDivisionError,
)

_SHAPES = (
    "data of the shape that the encoder takes, a decoder that takes its code, and reconstructions "
    "with the shape of the targets"
)

# of some of what they say the reason is known, and what to do
_REASONS = {
    "index out of range in self": (
        "whole numbers that the layer knows: nn.Embedding(n, ...) takes those from 0 to n - 1"
    ),
    "Expected more than 1 value per channel when training": (
        "two samples or more in a batch where batches are normalised: give more samples, take "
        "nn.LayerNorm or aebook.networks.Standardised, or freeze the layer in evaluation mode"
    ),
    "same dtype|expected scalar type|(weight|bias) type|Found dtype|for argument #.*scalar types": (
        "numbers of one type: floating point for layers of floating point (integers as x.float(), "
        "bytes divided by 255), and all parts of the model alike (model.float())"
    ),
    "does not require grad|Inference tensors|inference tensor": (
        "a loss that depends on what is trained: leave detach(), torch.no_grad() and "
        "torch.inference_mode() out of the model, the distance and the penalties"
    ),
    "on the same device": (
        "all tensors on one device: what a part holds beside parameters moves with it as a buffer "
        "(register_buffer)"
    ),
    "does not support (dense|sparse) gradients": (
        "an optimiser for the gradients that the model has: torch.optim.Adam, say"
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
    """Within it, what fails as a model computes is said with where, on what, and what to do."""
    try:
        yield
    except _FAILURES as error:
        said, place = str(error).strip(), _place(error)
        if _TOO_FAR.search(said) and (place is None or place in _STEPS):
            raise ValueError(
                f"a step is too large for the type of the weights ({error}): lower lr, or what the "
                "schedule gives"
            ) from error
        if place is None or _TOO_LARGE.search(said) or _MACHINE.search(said):
            raise
        # what a compiler only quotes, or the first line
        quoted = _QUOTED.search(said) if type(error).__name__ == "TorchRuntimeError" else None
        first = f"{type(error).__name__}: {said.partition(chr(10))[0]}".removesuffix(": ")
        first = quoted[1] if quoted else first
        expected = (expected for sign, expected in _REASONS.items() if re.search(sign, said))
        raise ValueError(
            f"the model and the data do not fit ({place}: {first}), "
            f"expected {next(expected, _SHAPES)}"
        ) from error


def _place(error: Exception) -> str | None:
    """The innermost module that an error passed, and the shapes that it was given, in words.

    Read off the error, so that no step has to note where it is. None for a refusal of our own, and
    for what passed no module, gradient or optimiser: a callback, a schedule, a data set.
    """
    root, inner, step, given, home = None, None, None, "", ""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    # behind our own and the function that asked, which may be a method of a module
    for frame in frames[2:]:
        home, local = frame.f_globals.get("__name__", ""), frame.f_locals
        owner = local.get("self")
        if isinstance(owner, nn.Module) and owner is not inner:
            root, inner = owner if root is None else root, owner
            names = frame.f_code.co_varnames[1 : frame.f_code.co_argcount]
            values = local.get("args", [local.get(name) for name in names])
            given = " and ".join(_form(value) for value in values if value is not None)
        elif found := next((name for name in _STEPS if home.startswith(_STEPS[name])), None):
            root, inner, step = None, None, found
    if isinstance(error, ValueError) and home.partition(".")[0] == "aebook":
        return None
    if root is None or inner is None:
        return step
    path = next((name for name, part in root.named_modules() if part is inner), "")
    return f"{path} {type(inner).__name__}({inner.extra_repr():.60}) given {given}".strip()


def _form(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


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
