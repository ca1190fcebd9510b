"""Fingerprints: what a run was made with, as plain values that another process finds again.

A checkpoint keeps the fingerprint of its run, so that another one is refused by naming what
differs. It knows modules by their classes, attributes and children; functions by their names and,
where they are not PyTorch's or this package's, by their code, defaults and what they close over;
objects by their classes and by what they would be pickled as, so that ``__getstate__`` says what an
object is where its attributes say more; what cannot be pickled by its attributes, or by how it
shows itself; tensors and arrays by type, shape and SHA-256. Of what is trained it knows the shape
alone, of a class that is handed over as such the name.

What changes as a run uses it, a cache, a counter, a file that is opened late, says nothing about
which run it is: :func:`settled` takes it out.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import numbers
import os
import re
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from aebook._internal.randomness import Generator, state_of

__all__ = ["MOVES", "Plain", "difference", "digest", "fingerprint", "noted", "settled"]

Plain = None | bool | int | float | str

# parts by name, and under no name what the whole is
Parts = Iterator[tuple[str | None, Any]]

#: Stands in a fingerprint for what changes as the run uses it.
MOVES = "changes as it is used"

#: Of longer lists and tables not each entry is noted, but one digest of all.
MANY = 100

# what every module has, and PyTorch notes for itself
_COMMON = vars(nn.Module()).keys()
# whose functions a name is enough for, and whose objects say nothing about a run
_LIBRARY = sys.stdlib_module_names
_KNOWN = {"aebook", "torch"} | _LIBRARY
# where a thing is, in how it shows itself
_ADDRESS = re.compile("(?: at)? 0x[0-9a-fA-F]+")
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
    return noted(**values)[0]


def noted(**values: Any) -> tuple[dict[str, Plain], list[Generator]]:
    """The same, and the generators of random numbers that were met, always in the same order.

    Parameters
    ----------
    **values
        What a run was given, by name.
    """
    notes: dict[str, Plain] = {}
    seen = _Seen(values)
    for name, value in values.items():
        _note(name, value, notes, seen)
    return notes, [value for _, value in seen.values() if isinstance(value, Generator)]


def settled(before: Mapping[str, Plain], after: Mapping[str, Plain]) -> dict[str, Plain]:
    """A fingerprint without what has changed since, as a run used it.

    Parameters
    ----------
    before, after
        Of the same values, before they were used and after.
    """
    moved = {name for name, *_ in _different(before, after)}
    kept = {name: value for name, value in before.items() if not _within(name, moved)}
    return kept | dict.fromkeys(sorted(moved), MOVES)


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """What two fingerprints differ in, the first few in words; nothing if they are the same."""
    moving = {name for name, value in theirs.items() if value == MOVES}
    pairs = _different(theirs, ours)
    found = [f"{name} {a} ≠ {b}" for name, a, b in pairs if not _within(name, moving)]
    return "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if found[5:] else "")


def _different(
    theirs: Mapping[str, Any], ours: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    for name in {**theirs, **ours}:
        a, b = theirs.get(name), ours.get(name)
        # 1 is 1.0, and NaN is NaN
        if a != b and str(a) != str(b):
            yield name, a, b


def _within(name: str, paths: AbstractSet[str]) -> bool:
    """Whether a path is one of these, or lies below one."""
    ends = [k for k, letter in enumerate(name) if letter == "."]
    return bool(paths) and any(name[:end] in paths for end in (*ends, len(name)))


class _Seen(dict[int, tuple[str, Any]]):
    """What was met, by its id, with its path; and the ids of what is learnt."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        modules = [value for value in values.values() if isinstance(value, nn.Module)]
        trained = [p for module in modules for p in module.parameters() if p.requires_grad]
        buffers = [buffer for module in modules for buffer in module.buffers()]
        self.learnt = {id(tensor) for tensor in (*trained, *buffers)}


def _note(path: str, value: Any, notes: dict[str, Plain], seen: _Seen) -> None:
    if id(value) in seen.learnt:
        notes[path] = _kind(value)
        return
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
            _note(str(name), part, inner, seen)
        whole = hashlib.sha256(repr(inner).encode()).hexdigest()[:16]
        notes[path] = f"{type(value).__name__} of {len(value)} {whole}"
        return
    for name, part in _parts(value):
        if name is None:
            notes[path] = part
        else:
            _note(f"{path}.{name}", part, notes, seen)


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
        return digest(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return hashlib.sha256(bytes(value)).hexdigest()[:16]
    if isinstance(value, os.PathLike) and isinstance(path := os.fspath(value), str):
        return path
    if isinstance(value, type):
        return _name(value)
    if isinstance(value, np.dtype | torch.dtype | torch.device | complex | slice | range):
        return str(value)
    return value


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {value.dtype} {tuple(value.shape)}"


def digest(value: Any) -> Any:
    """Of a tensor, an array or a sparse matrix type, shape and SHA-256; others as they are."""
    kind = _kind(value)
    if isinstance(value, Tensor):
        if value.is_meta:
            return kind
        value = value.detach()
        if value.is_quantized:
            value = value.dequantize()
        if value.layout is not torch.strided or type(value) is not Tensor:
            return value
        flat = value.cpu().contiguous().flatten()
        parts = [flat.view(torch.uint8).numpy() if flat.numel() else b""]
    elif sparse.issparse(value):
        rows = sparse.csr_array(value)
        parts = [rows.data, rows.indices, rows.indptr]
    elif value.dtype.hasobject or isinstance(value, np.ma.MaskedArray):
        return value
    else:
        parts = [np.ascontiguousarray(value).reshape(-1).view(np.uint8)]
    found = hashlib.sha256()
    for part in parts:
        found.update(memoryview(cast(Any, part)))
    return f"{kind} {found.hexdigest()[:16]}"


def _parts(value: Any) -> Parts:
    """What a value consists of, by name; under no name, what it is."""
    if isinstance(value, functools.partial):
        yield None, "partial"
        yield from {"function": value.func, "arguments": value.args, **value.keywords}.items()
    elif isinstance(value, types.MethodType):
        yield None, _name(value)
        yield from {"function": value.__func__, "self": value.__self__}.items()
    elif isinstance(value, types.FunctionType):
        yield None, _name(value)
        if _root(value) not in _KNOWN or "<" in value.__qualname__:
            yield from _code(value)
    elif isinstance(value, Mapping | tuple | list | AbstractSet):
        yield None, f"{type(value).__name__} of {len(value)}"
        yield from _entries(value)
        # of a class that somebody made of one of these
        yield from getattr(value, "__dict__", {}).items()
    elif isinstance(value, nn.Module):
        yield from _module(value)
    elif isinstance(value, types.ModuleType):
        yield None, _name(value)
    elif (wrapped := getattr(value, "__dict__", {}).get("__wrapped__")) is not None:
        # a function that keeps its results
        yield None, _name(value)
        yield "function", wrapped
    elif hasattr(type(value), "to_numpy"):
        yield None, _name(type(value))
        yield from _columns(value)
    elif isinstance(value, Generator):
        yield None, _name(type(value))
        yield "state", state_of(value)
    else:
        yield None, _name(value if callable(value) and hasattr(value, "__name__") else type(value))
        yield from _object(value)


def _entries(value: Any) -> Parts:
    if isinstance(value, Mapping):
        for number, (key, part) in enumerate(value.items()):
            if isinstance(key, str):
                yield key, part
            else:
                # 1 is not "1"
                yield f"key {number}", key
                yield f"value {number}", part
    elif isinstance(value, AbstractSet):
        yield from ((str(k), part) for k, part in enumerate(sorted(value, key=_shown)))
    else:
        names = getattr(value, "_fields", map(str, range(len(value))))
        yield from zip(names, value, strict=True)


def _columns(table: Any) -> Parts:
    """The arrays of a table or a column, however it keeps them and what it keeps beside."""
    if hasattr(table, "index"):
        yield "index", np.asarray(table.index)
    if not hasattr(table, "columns"):
        yield "values", table.to_numpy()
        return
    yield "columns", list(table.columns)
    for k in range(table.shape[1]):
        yield str(k), (table.iloc[:, k] if hasattr(table, "iloc") else table[:, k]).to_numpy()


def _module(module: nn.Module) -> Parts:
    yield None, _name(type(module))
    private = "_" if _root(type(module)) in _KNOWN else "__"
    names = [n for n in vars(module) if n not in _COMMON and not n.startswith(private)]
    yield from ((name, vars(module)[name]) for name in names)
    for name, value in module.named_parameters(recurse=False):
        # what is frozen was given, and what is trained has been learnt since
        yield name, value
        yield f"{name} is trained", value.requires_grad
    yield from module.named_buffers(recurse=False)
    yield from module.named_children()
    for name in _HOOKS:
        # by a number each, which counts those of all modules
        if hooks := list(getattr(module, name, {}).values()):
            yield name, hooks
    yield from _class(type(module), {*names, *module._parameters, *module._modules})


def _object(value: Any) -> Parts:
    """What pickle would make an object from again; its attributes, or its look, if it cannot."""
    held = _pickled(value)
    if held is None:
        held = _attributes(value) or {"shown": _shown(value)}
    yield from held.items()
    yield from _class(type(value), set(held))


def _pickled(value: Any) -> dict[str, Any] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = value.__reduce_ex__(4)
    except Exception:
        return None
    if isinstance(made, str):
        # the name under which it is found says all
        return {}
    maker, arguments, state, items, pairs = cast(tuple[Any, ...], (*made, None, None, None)[:5])
    if isinstance(state, tuple) and all(isinstance(part, dict | None) for part in state):
        # attributes, and those that have slots
        state = {name: part for some in state for name, part in (some or {}).items()}
    held = dict(state) if isinstance(state, dict) else {"state": state}
    if not getattr(maker, "__name__", "").startswith("__newobj"):
        held["made by"] = _name(maker)
    # most are made of their class alone
    rest = tuple(part for part in arguments if part is not type(value))
    more = {"arguments": rest, "items": tuple(items or ()), "pairs": dict(pairs or ())}
    held |= {name: part for name, part in more.items() if part}
    return {name: part for name, part in held.items() if name != "state" or part is not None}


def _attributes(value: Any) -> dict[str, Any]:
    held = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = getattr(cls, "__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                held[name] = getattr(value, name)
    return held


def _shown(value: Any) -> str:
    """How a thing shows itself, but for its address."""
    try:
        return _ADDRESS.sub("", repr(value))
    except Exception:
        return type(value).__name__


def _class(cls: type, held: set[str]) -> Parts:
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


def _code(function: types.FunctionType) -> Parts:
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


def _read(name: str, value: Any, code: types.CodeType, modules: set[int]) -> Parts:
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
