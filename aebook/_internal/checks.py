"""Arguments that several functions take: their checks, and the way to NumPy."""

from __future__ import annotations

import importlib
import inspect
import math
import numbers
import sys
from collections.abc import Collection
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "COMPLEX",
    "INTEGERS",
    "array",
    "as_array",
    "as_many",
    "check_arguments",
    "check_image",
    "counted",
    "is_number",
    "need",
    "number",
    "odd_tensor",
    "one_of",
    "plain_tensor",
    "rows",
    "shown",
    "symbols",
    "tensors",
    "unmasked",
    "whole",
    "whole_numbers",
]

#: Beyond this, as far as floats go, no number is meant.
LARGEST = sys.float_info.max
#: What to do with integers where numbers are expected.
INTEGERS = (
    "of images, divide bytes by 255 and 16 bits by 65535 "
    "(x.float() / 255); numbers of symbols need an encoder that begins with an nn.Embedding"
)
#: What is said of complex numbers.
COMPLEX = (
    "got complex numbers, expected real ones: give size and phase, or real and imaginary part, "
    "as in np.concatenate([x.real, x.imag], 1)"
)
#: Floating point of a byte, which is stored and not computed with.
FLOAT8 = {
    kind
    for kind in vars(torch).values()
    if isinstance(kind, torch.dtype) and kind.is_floating_point and kind.itemsize == 1
}
#: Types without arithmetic, and those that hold their numbers.
WIDER = {
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
}


def as_array(values: Any) -> NDArray[Any]:
    """NumPy's view of an array, a tensor of any kind on any device, or a list."""
    if isinstance(values, Tensor):
        tensor = plain_tensor(values)
        # which NumPy has not
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        return tensor.cpu().resolve_neg().numpy()
    kinds = Tensor | np.ma.MaskedArray
    if isinstance(values, list | tuple) and any(isinstance(part, kinds) for part in values):
        values = [as_array(part) if isinstance(part, kinds) else part for part in values]
    values = unmasked(values)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"got {shown('values', values)}, expected numbers in an array: {error}"
        ) from error


def plain_tensor(tensor: Tensor) -> Tensor:
    """A tensor without gradients, of a type that can be computed with."""
    if (odd := odd_tensor(tensor)) and tensor.dtype not in FLOAT8:
        raise ValueError(odd)
    if tensor.dtype in WIDER:
        return _within(tensor.detach().to(WIDER[tensor.dtype]))
    return tensor.detach().float() if tensor.dtype in FLOAT8 else tensor.detach()


def odd_tensor(tensor: Tensor) -> str | None:
    """What is wrong with a tensor that cannot be computed with, or None."""
    kind, plain = cast(tuple[Any, Any], (type(tensor), Tensor))
    if kind is not plain and kind.__torch_dispatch__ is not plain.__torch_dispatch__:
        # but for those with which PyTorch traces a computation
        if kind.__name__ == "MaskedTensor":
            return "got a masked tensor, expected one without masks: fill it, x.to_tensor(value)"
        if not tensor.is_nested and not kind.__module__.startswith("torch._subclasses"):
            return f"got a {kind.__name__}, expected a plain tensor: take out what it holds"
    if tensor.is_nested:
        return "got a nested tensor, expected one of one shape: pad it, x.to_padded_tensor(0.0)"
    if tensor.layout is not torch.strided or tensor.is_quantized:
        kind, way = tensor.layout, "x.to_dense(), or a sparse matrix of SciPy"
        if tensor.is_quantized:
            kind, way = "quantized", "x.dequantize()"
        return f"got a {kind} tensor, expected a dense one: use {way}"
    if tensor.device.type == "meta":
        return "got a meta tensor, expected values, which a meta tensor has not"
    if tensor.dtype.is_complex:
        return COMPLEX
    if tensor.dtype in FLOAT8:
        return f"got a tensor of {tensor.dtype}, expected numbers to compute with: use x.float()"
    return None


def unmasked(values: Any) -> Any:
    """What a masked array holds, which NumPy gives out mask or no mask; anything else as it is."""
    if not isinstance(values, np.ma.MaskedArray):
        return values
    if masked := int(np.ma.getmaskarray(values).sum()):
        raise ValueError(
            f"got a masked array with {masked} masked entries, expected none: fill them, "
            "x.filled(value), or leave these samples out"
        )
    return values.data


def shown(name: str, value: Any) -> str:
    """What came, in few words: ``k=2.5``, or ``x=Linear(...)``."""
    if value is None or isinstance(value, str | bytes | numbers.Number | np.generic):
        return f"{name}={value!r:.60}"
    if isinstance(value, list | tuple | dict) and len(said := f"{name}={value!r}") < 60:
        return said
    if isinstance(value, type) or inspect.isroutine(value) or inspect.ismodule(value):
        return f"{name}={getattr(value, '__name__', value)}, a {type(value).__name__}"
    return f"{name}={type(value).__name__}(...)"


def is_number(value: Any) -> bool:
    """Whether it is a finite number that is no truth value and fits a machine's arithmetic."""
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool | np.bool_)
        and not (isinstance(value, int) and abs(int(value)) > LARGEST)
        and math.isfinite(value)
    )


def whole(
    name: str, value: Any, least: int = 1, most: int | None = None, *, advice: str = ""
) -> int:
    """A whole number as an int: 3, 3.0 and NumPy's 3, but no truth value."""
    fits = is_number(value) and value == int(value) and value >= least
    if not fits or (most is not None and value > most):
        asked = f", {least} or more" if most is None else f" from {least} to {most}"
        asked += f": {advice}" if advice else ""
        raise ValueError(f"got {shown(name, value)}, expected a whole number{asked}")
    return int(value)


def whole_numbers(name: str, values: Any, count: int) -> tuple[int, ...]:
    """``count`` or more whole numbers, each 1 or more."""
    try:
        checked = tuple(whole(name, value) for value in values)
    except (TypeError, ValueError):
        checked = ()
    if len(checked) < count:
        raise ValueError(
            f"got {shown(name, values)}, expected at least {count} whole numbers, each 1 or more"
        )
    return checked


def number(
    name: str,
    value: Any,
    least: float | None = None,
    most: float | None = None,
    *,
    below: float = math.inf,
) -> float:
    """A finite number as a float: ``least`` or more, or, without it, above 0; up to a limit."""
    fits = is_number(value) and (value > 0 if least is None else value >= least)
    if not fits or value >= below or (most is not None and value > most):
        asked = " above 0" if least is None else f", {least} or more"
        asked += "" if most is None else f" and at most {most}"
        asked += "" if below == math.inf else f" and less than {below}"
        raise ValueError(f"got {shown(name, value)}, expected a finite number{asked}")
    return float(value)


def one_of(name: str, value: Any, choices: Collection[Any]) -> None:
    """Refuse what is none of the choices."""
    if not any(value is choice or _equal(value, choice) for choice in choices):
        *first, last = map(repr, choices)
        expected = f"{', '.join(first)} or {last}" if first else last
        raise ValueError(f"got {shown(name, value)}, expected {expected}")


def tensors(**arguments: Any) -> None:
    """Refuse, by name, what is no tensor, and tensors that cannot be computed with."""
    for name, value in arguments.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"got {shown(name, value)}, expected a tensor: use torch.as_tensor(...)"
            )
        if odd := odd_tensor(value):
            raise ValueError(odd)


#: Kinds of numbers, as NumPy has them.
_KINDS = {"numbers": "biuf", "floating point": "f", "integers": "iu", "truth values": "b"}


def array(
    name: str,
    values: NDArray[Any] | Tensor,
    form: str = "...",
    of: str = "numbers",
    *,
    finite: bool = True,
    empty: bool = False,
    least: float | None = None,
    most: float | None = None,
    advice: str = "",
) -> None:
    """Refuse an array or a tensor of another form, or with other values.

    Parameters
    ----------
    name
        What it is called in the message.
    values
        What came.
    form
        ``"(N, 2, ...)"``: a letter is any length, a number this one, and dots are any more.
    of
        The kind of its numbers, or the name of their type.
    finite, empty
        Whether all have to be finite, and whether there may be none.
    least, most
        Between which they lie.
    advice
        What to do.
    """
    # NumPy and PyTorch name types alike, but for what stands before
    kind, shape = str(values.dtype).removeprefix("torch."), tuple(values.shape)
    numpy = np.dtype("float32" if kind == "bfloat16" else kind)
    fits = numpy.kind in _KINDS[of] if of in _KINDS else kind == of
    sides = [side for side in form.strip("()").replace(" ", "").split(",") if side]
    more = sides[-1:] == ["..."]
    sides = sides[: len(sides) - more]
    fits = fits and (len(shape) >= len(sides) if more else len(shape) == len(sides))
    fits = fits and all(n == int(s) for n, s in zip(shape, sides, strict=False) if s.isdigit())
    fits, said = fits and (empty or 0 not in shape), ","
    if fits and 0 not in shape and (finite or least is not None or most is not None):
        if isinstance(values, Tensor):
            # together, since a GPU waits where a number is read
            low, high = torch.stack(values.detach().aminmax()).tolist()
        else:
            low, high = float(values.min()), float(values.max())
        said = f" from {low:.4g} to {high:.4g},"
        fits = (math.isfinite(low) and math.isfinite(high)) or not finite
        fits = fits and (least is None or low >= least) and (most is None or high <= most)
    if not fits:
        asked = "" if form == "..." else f"{form} of "
        asked += f"finite {of}" if finite and of == "numbers" else of
        asked += ", all finite" if finite and of == "floating point" else ""
        if least is not None:
            asked += f", {least} or more" if most is None else f", from {least} to {most}"
        asked += "" if empty or 0 not in shape else ", one or more"
        asked += f": {advice}" if advice else ""
        raise ValueError(f"got {name} of shape {shape} and {kind}{said} expected {asked}")


def symbols(x: Any, below: int | None = None, *, empty: bool = True) -> None:
    """Refuse what are no messages of symbols: an int64 tensor (B, T) of 0 and above."""
    tensors(messages=x)
    most = None if below is None else below - 1
    array("messages", x, "(B, T)", "int64", least=0, most=most, empty=empty)


def counted(what: str, count: int, least: int = 1) -> None:
    """Refuse too few: ``counted("molecules", len(x))``."""
    if count < least:
        raise ValueError(f"got {count} {what}, expected {least} or more")


def as_many(advice: str = "", /, **counts: int) -> None:
    """Refuse what should be as many of each: ``as_many(values=len(a), times=len(b))``."""
    if len(set(counts.values())) > 1:
        got = " and ".join(f"{count} {name}" for name, count in counts.items())
        advice = f": {advice}" if advice else ""
        raise ValueError(f"got {got}, expected as many of each{advice}")


def rows(x: Any, width: int, dtype: torch.dtype | None = None) -> None:
    """Refuse what is no tensor (B, width), of a type or any floating-point one."""
    tensors(x=x)
    typed = x.is_floating_point() if dtype is None else x.dtype == dtype
    if x.dim() != 2 or x.shape[1] != width or not typed:
        advice = "" if typed or x.is_floating_point() else f": {INTEGERS}"
        raise ValueError(
            f"got a tensor of shape {tuple(x.shape)} and {x.dtype}, expected (B, {width}) and "
            f"{dtype or 'floating point'}{advice}"
        )


def check_arguments(**arguments: Any) -> None:
    """Refuse, by the name of an argument, a value that makes no sense for it; None is fine."""
    for name, value in arguments.items():
        if value is None:
            continue
        if name == "precision":
            one_of(name, value, (torch.bfloat16, torch.float16))
        elif name in ("lr", "clip", "tolerance"):
            number(name, value)
        else:
            count = whole(name, value, least=0 if name in ("epochs", "seed") else 1)
            if name == "seed" and count >> 64:
                raise ValueError(f"got seed={count}, expected a whole number from 0 to 2**64 - 1")


def check_image(name: str, shape: tuple[int, ...]) -> None:
    """Refuse a shape that is not that of one image: (H, W), or (H, W, C) with its channels last.

    There are up to 4 of them, or fewer than rows and columns: (3, H, W) and (N, H, W) are none.
    """
    last = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or 0 in shape or not (last <= 4 or last < min(shape[:2])):
        raise ValueError(
            f"got {name} of shape {tuple(shape)}, expected one image, (H, W) or (H, W, C), with "
            "the channels last: for channels first use x.permute(1, 2, 0) or np.moveaxis(x, 0, 2), "
            "and of a batch (N, C, H, W) give one after the other"
        )


def need(module: str, package: str, extra: str) -> ModuleType:
    """Import a module of a package that an extra installs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'this needs {package}, which is not installed: pip install "aebook[{extra}]"'
        ) from error


def _within(tensor: Tensor) -> Tensor:
    if tensor.numel() and int(tensor.amin()) < 0:
        raise ValueError("got integers of 2**63 or more, expected smaller ones")
    return tensor


def _equal(value: Any, choice: Any) -> bool:
    # an array would be compared entry by entry, and True is 1
    same = isinstance(value, bool) == isinstance(choice, bool) and value == choice
    return isinstance(same, bool | np.bool_) and bool(same)
