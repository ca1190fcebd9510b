"""Fingerprints: what a run was made with, as plain values that another process finds again.

A checkpoint keeps the fingerprint of its run, so that another one is refused by naming what
differs. It knows modules by their classes, attributes and children; functions by their names and,
where they are not PyTorch's or this package's, by their code, defaults and what they close over;
objects by their classes and attributes, those of a class that somebody wrote for the run included;
tensors and arrays by type, shape and SHA-256. Of what is trained it knows the shape alone, of a
class that is handed over as such the name.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import numbers
import sys
import types
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

__all__ = ["Plain", "difference", "fingerprint"]

Plain = None | bool | int | float | str

#: Of longer lists and tables not each entry is noted, but one digest of all.
MANY = 100

# what every module has, and PyTorch notes for itself
_COMMON = vars(nn.Module()).keys()
# whose functions a name is enough for, and whose objects say nothing about a run
_LIBRARY = sys.stdlib_module_names
_KNOWN = {"aebook", "torch"} | _LIBRARY
# what a module calls before and after its own, forwards and backwards
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
# functions that compute the types of arguments
_ANNOTATIONS = {"__annotate__", "__annotate_func__"}


def fingerprint(**values: Any) -> dict[str, Plain]:
    """Plain values by path, ``{"objective.model.encoder.0.map.in_features": 784, …}``.

    Parameters
    ----------
    **values
        What a run was given, by name.
    """
    notes: dict[str, Plain] = {}
    seen: dict[int, tuple[str, Any]] = {}
    for name, value in values.items():
        _note(name, value, notes, seen)
    return notes


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """What two fingerprints differ in, the first few in words; nothing if they are the same."""
    pairs = [(name, theirs.get(name), ours.get(name)) for name in {**theirs, **ours}]
    # 1 is 1.0, and NaN is NaN
    found = [f"{name} {a} ≠ {b}" for name, a, b in pairs if a != b and str(a) != str(b)]
    return "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if found[5:] else "")


def _note(path: str, value: Any, notes: dict[str, Plain], seen: dict[int, tuple[str, Any]]) -> None:
    plain = _plain(value)
    if plain is None or isinstance(plain, bool | int | float | str):
        notes[path] = plain
        return
    if id(value) in seen:
        notes[path] = f"the same as {seen[id(value)][0]}"
        return
    # a tuple is a value, of which there may be one or two. Beside the path is the thing itself,
    # since the id of what is gone could be another's
    if not isinstance(value, tuple):
        seen[id(value)] = (path, value)
    if isinstance(value, Mapping | tuple | list | AbstractSet) and len(value) > MANY:
        inner: dict[str, Plain] = {}
        for name, part in _parts(value):
            _note(name, part, inner, seen)
        digest = hashlib.sha256(repr(inner).encode()).hexdigest()[:16]
        notes[path] = f"{type(value).__name__} of {len(value)} {digest}"
        return
    for name, part in _parts(value):
        if name:
            _note(f"{path}.{name}", part, notes, seen)
        else:
            notes[path] = part


def _plain(value: Any) -> Any:
    """A number, a text or a tensor as a plain value; the value itself if it is none of these."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, numbers.Integral):
        return str(int(value)) if abs(int(value)) >> 63 else int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Tensor | np.ndarray | np.generic) or sparse.issparse(value):
        return _digest(value)
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()[:16]
    if isinstance(value, type):
        return _name(value)
    if isinstance(value, torch.dtype | torch.device | complex | slice | range):
        return str(value)
    return value


def _digest(value: Any) -> str:
    """Type, shape and what is in it, but for what is trained."""
    name = f"{type(value).__name__} {value.dtype} {tuple(value.shape)}"
    if isinstance(value, Tensor):
        if value.requires_grad or value.is_meta or value.layout is not torch.strided:
            return name
        flat = value.detach().cpu().contiguous().flatten()
        parts = [flat.view(torch.uint8).numpy() if flat.numel() else b""]
    elif sparse.issparse(value):
        rows = sparse.csr_array(value)
        parts = [rows.data, rows.indices, rows.indptr]
    else:
        parts = [np.ascontiguousarray(value)]
        if value.dtype.hasobject:
            return name
    digest = hashlib.sha256()
    for part in parts:
        digest.update(memoryview(cast(Any, part)))
    return f"{name} {digest.hexdigest()[:16]}"


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value consists of, by name; under no name, what it is."""
    if isinstance(value, functools.partial):
        yield "", "partial"
        yield from {"function": value.func, "arguments": value.args, **value.keywords}.items()
    elif isinstance(value, types.MethodType):
        yield "", _name(value)
        yield from {"function": value.__func__, "self": value.__self__}.items()
    elif isinstance(value, types.FunctionType):
        yield "", _name(value)
        if _root(value) not in _KNOWN or "<" in value.__qualname__:
            yield from _code(value)
    elif isinstance(value, Mapping):
        yield "", f"{type(value).__name__} of {len(value)}"
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, tuple | list):
        yield "", f"{type(value).__name__} of {len(value)}"
        names = getattr(value, "_fields", map(str, range(len(value))))
        yield from zip(names, value, strict=True)
    elif isinstance(value, AbstractSet):
        yield "", f"{type(value).__name__} of {len(value)}"
        yield from ((str(k), part) for k, part in enumerate(sorted(value, key=repr)))
    elif isinstance(value, nn.Module):
        yield from _module(value)
    else:
        yield "", _name(value if callable(value) and hasattr(value, "__name__") else type(value))
        home = type(value).__module__
        if _root(type(value)) not in _LIBRARY and not home.startswith("torch._"):
            yield from _object(value)


def _module(module: nn.Module) -> Iterator[tuple[str, Any]]:
    yield "", _name(type(module))
    private = "_" if _root(type(module)) in _KNOWN else "__"
    names = [n for n in vars(module) if n not in _COMMON and not n.startswith(private)]
    yield from ((name, vars(module)[name]) for name in names)
    for name, value in module.named_parameters(recurse=False):
        # what is frozen was given, and what is trained has been learnt since
        yield name, value
        yield f"{name} is trained", value.requires_grad
    yield from module.named_children()
    for name in _HOOKS:
        # by a number each, which counts those of all modules
        if hooks := list(getattr(module, name, {}).values()):
            yield name, hooks
    yield from _class(type(module), {*names, *module._parameters, *module._modules})


def _object(value: Any) -> Iterator[tuple[str, Any]]:
    held = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = getattr(cls, "__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                held[name] = getattr(value, name)
    yield from held.items()
    yield from _class(type(value), set(held))


def _class(cls: type, held: set[str]) -> Iterator[tuple[str, Any]]:
    """The code and attributes of a class that is not PyTorch's or this package's.

    What an object has itself stands before them, and a class's before those of its bases.
    """
    for base in cls.__mro__:
        if _root(base) in _KNOWN:
            continue
        for name, value in vars(base).items():
            function = _function(value)
            label = name if function is None else f"{name}()"
            if label in held:
                label = f"{base.__qualname__}.{label}"
            held.add(label)
            if function is not None and _installed(base):
                yield label, _bytes(function.__code__)
            elif function is not None and name not in _ANNOTATIONS:
                yield label, function
            elif not (name.startswith("__") or _installed(base)):
                yield label, value


def _function(value: Any) -> types.FunctionType | None:
    """The function that somebody wrote and a decorator of Python's made something else of."""
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, functools.cached_property):
        value = value.func
    elif not isinstance(value, types.FunctionType | type):
        # a static or class method, or one whose results are kept
        value = getattr(value, "__wrapped__", value)
    return value if isinstance(value, types.FunctionType) else None


def _code(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    yield "code", _bytes(code)
    yield "defaults", [function.__defaults__, function.__kwdefaults__]
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        value = cell.cell_contents if cell != types.CellType() else None
        yield from _read(name, value, code, set())
    for name in sorted(_globals(code)):
        value = function.__globals__.get(name)
        if value is not None:
            yield from _read(name, value, code, set())


def _read(
    name: str, value: Any, code: types.CodeType, modules: set[int]
) -> Iterator[tuple[str, Any]]:
    """What a function reads under a name; of a module of the user's what it may read of it."""
    if not isinstance(value, types.ModuleType):
        yield name, value
    elif id(value) not in modules and not _installed(value):
        modules.add(id(value))
        for attribute in sorted(_names(code) & vars(value).keys()):
            yield from _read(f"{name}.{attribute}", vars(value)[attribute], code, modules)


def _installed(value: Any) -> bool:
    """Whether a module or class came with a package: what it keeps to itself says nothing."""
    module = value if isinstance(value, types.ModuleType) else sys.modules.get(value.__module__)
    root = getattr(module, "__name__", "").partition(".")[0]
    # what is run as a script is of Python's by name alone
    if root in _KNOWN - {"__main__"}:
        return True
    return not {"site-packages", "dist-packages"}.isdisjoint(
        Path(getattr(module, "__file__", None) or "").parts
    )


def _bytes(code: types.CodeType) -> bytes:
    """What a function does, but for where it is written."""
    found = [code.co_code, repr(code.co_names).encode()]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.append(_bytes(constant))
        else:
            # a set has another order in another process
            ordered = sorted(constant, key=repr) if isinstance(constant, frozenset) else constant
            found.append(repr(ordered).encode())
    return b"\0".join(found)


def _globals(code: types.CodeType) -> set[str]:
    names = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    inner = [_globals(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return names.union(*inner)


def _names(code: types.CodeType) -> set[str]:
    inner = [_names(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*inner)


def _root(value: Any) -> str:
    return str(getattr(value, "__module__", None)).partition(".")[0]


def _name(value: Any) -> str:
    # not the repr, whose address is another in the next process
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    name = str(name or type(value).__qualname__)
    # a script's own things move to another module when it is imported, and their code is known
    known = _root(value) in _KNOWN - {"builtins"}
    return f"{value.__module__}.{name}" if known else name
