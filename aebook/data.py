"""From data in whatever form it came to batches on the right device, and results back in that form.

A **tuple** of two is a pair ``(x, target)``; a list never is, neither as data nor as a message nor
as a batch. What cannot be taken is refused by name, with what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    TensorDataset,
)

from aebook import processes
from aebook._internal.checks import array, whole
from aebook._internal.devices import computed_in, has_room
from aebook._internal.loaders import collate_own, collated, collating, in_order, samples_of
from aebook._internal.reading import check_weights, is_table, library, read, rows, some

__all__ = [
    "Data",
    "Form",
    "InMemory",
    "Loaded",
    "Order",
    "batched",
    "blocks",
    "check_alone",
    "gathered",
    "like",
    "messages",
    "vectors",
]


class _Table(Protocol):
    """A table of pandas or polars."""

    def to_numpy(self) -> np.ndarray: ...


class _Rows(Protocol):
    """An array that is read in parts, as h5py and zarr have them."""

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, rows: Any, /) -> Any: ...


Data = (
    Tensor
    | np.ndarray
    | sparse.sparray
    | sparse.spmatrix
    | _Table
    | _Rows
    | tuple[Any, Any]
    | Dataset
    | DataLoader
)

#: One batch: messages, targets (None where they are the messages), and weights if there are any.
Batch = tuple[Tensor, Tensor | None] | tuple[Tensor, Tensor | None, Tensor]


class Order:
    """Which samples make which batch, and which of them are this process's; a sampler of batches.

    Parameters
    ----------
    samples
        N.
    batch_size
        Samples a batch, in all processes together.
    shuffle
        Draw a new order at every pass, from PyTorch's global generator. Processes have to agree on
        it, and then ``key`` decides.

    Examples
    --------
    >>> from aebook.data import Order
    >>> list(Order(5, batch_size=2, shuffle=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, samples: int, batch_size: int, shuffle: bool) -> None:
        self.samples, self.batch_size, self.shuffle = samples, batch_size, shuffle
        self.key = 0
        _check_count(samples, shuffle)

    def __len__(self) -> int:
        """How many batches."""
        if processes.members().size > 1:
            return len(self._divided(torch.arange(self.samples)))
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Go through the batches once."""
        return (batch.tolist() for batch in self.draw())

    def draw(self, device: torch.device | None = None) -> Sequence[Tensor]:
        """The batches of one pass, as numbers of samples on a device."""
        order = torch.arange(self.samples)
        if self.shuffle and processes.members().size == 1:
            # drawn on the CPU, so that every device sees the same order
            order = torch.randperm(self.samples)
        elif self.shuffle:
            # each process has noise of its own, and yet all agree on the order
            generator = torch.Generator().manual_seed(self.key)
            order = torch.randperm(self.samples, generator=generator)
        return self._divided(order if device is None else order.to(device))

    def _divided(self, order: Tensor) -> Sequence[Tensor]:
        """Of each batch the part that is this process's, or its batches."""
        rank, size = processes.members()
        whole = order.split(self.batch_size)
        if not self.shuffle:
            return whole[rank::size]
        # a rest with less than one for each process goes to the batch before
        if len(whole) > 1 and len(whole[-1]) < size:
            whole = (*whole[:-2], torch.cat(whole[-2:]))
        return [batch[rank::size] for batch in whole]


class InMemory:
    """Batches of tensors, or of arrays that are read a batch at a time.

    Parameters
    ----------
    x, target
        Messages and, if there are any, targets: what :meth:`Form.take` gave.
    weight
        What each sample counts, (N,), or None.
    order
        Which samples make which batch.
    form
        Type and device.

    Examples
    --------
    >>> from aebook.data import Form, InMemory, Order
    >>> order, form = Order(5, 2, shuffle=False), Form(torch.float32, torch.device("cpu"))
    >>> batches = InMemory(torch.arange(5.0), None, None, order, form)
    >>> [x.tolist() for x, target in batches]
    [[0.0, 1.0], [2.0, 3.0], [4.0]]
    """

    def __init__(
        self, x: Any, target: Any | None, weight: Tensor | None, order: Order, form: Form
    ) -> None:
        self.x, self.target, self.weight = x, target, weight
        self.order, self.form, self.key = order, form, 0
        self.samples, self.batch_size = order.samples, order.batch_size
        # what is judged by its extremes; read in parts, only the first pass finds them
        self._judged = x if target is None else target
        self._found, self._fresh = (math.inf, -math.inf), not isinstance(self._judged, Tensor)

    def __len__(self) -> int:
        """How many batches."""
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        """Go through the data once."""
        self.order.key = self.key
        parts = [part for part in (self.x, self.target) if part is not None]
        there = all(isinstance(p, Tensor) and p.device == self.form.device for p in parts)
        for chosen in self.order.draw(self.form.device if there else None):
            x = self.chosen(chosen)
            target = None if self.target is None else self._take(self.target, chosen)
            if self.weight is None:
                yield x, target
            else:
                yield x, target, self._take(self.weight, chosen)
        self._fresh = False

    @property
    def extremes(self) -> tuple[float, float]:
        """Least and largest value of the targets; read in parts, of the first pass so far."""
        return self._whole if isinstance(self._judged, Tensor) else self._found

    @cached_property
    def _whole(self) -> tuple[float, float]:
        return _wider((math.inf, -math.inf), self._judged)

    def chosen(self, numbers: Tensor) -> Tensor:
        """Some of the messages, by their numbers, on the device."""
        return self._take(self.x, numbers)

    def _take(self, values: Any, chosen: Tensor) -> Tensor:
        if isinstance(values, Tensor):
            return self.form.move(values[chosen.to(values.device)])
        taken = self.form.take(rows(values, chosen.numpy()), 1, chosen)
        if self._fresh and values is self._judged:
            self._found = _wider(self._found, taken)
        return self.form.move(taken)


class Loaded:
    """Batches that a loader brings.

    Parameters
    ----------
    loader
        Of messages, or of pairs.
    samples
        How many it has; None for a stream, of which nobody knows.
    batch_size
        Samples a batch, in all processes together.
    shuffle
        Whether this is training.
    form
        Type and device.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from aebook.data import Form, Loaded
    >>> loader, form = DataLoader(torch.rand(5, 8), 2), Form(torch.float32, torch.device("cpu"))
    >>> batches = Loaded(loader, samples=5, batch_size=2, shuffle=False, form=form)
    >>> [tuple(x.shape) for x, target in batches]
    [(2, 8), (2, 8), (1, 8)]
    """

    def __init__(
        self,
        loader: DataLoader,
        samples: int | None,
        batch_size: int | None,
        shuffle: bool,
        form: Form,
    ) -> None:
        self.loader, self.samples, self.batch_size = loader, samples, batch_size
        self.shuffle, self.form, self.key = shuffle, form, 0
        #: Least and largest value of the targets that the first pass has brought so far.
        self.extremes = math.inf, -math.inf
        self._fresh = True

    def __len__(self) -> int:
        """How many batches; TypeError for a stream of unknown length."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        """Go through the data once."""
        batch = None
        for batch in self._own():
            x, *targets = (
                self.form.take(_whole(part), 2 - k, where="a batch") for k, part in enumerate(batch)
            )
            _check_targets(x, *targets)
            if not len(x):
                raise ValueError("got a batch without samples, expected at least one")
            if self._fresh:
                self.extremes = _wider(self.extremes, (targets or [x])[0])
            # what is put together here is new, what others bring may be memory of theirs
            fresh = self.loader.collate_fn is collate_own
            x, *targets = (self.form.move(part, copy=not fresh) for part in (x, *targets))
            yield x, targets[0] if targets else None
        if batch is None and (processes.members().size == 1 or self.shuffle):
            raise ValueError(
                "got no data: the loader ended before its first batch"
                if self._fresh
                else "got data that can be gone through only once: the loader ended before the "
                "first batch of its second pass; expected an IterableDataset whose __iter__ starts "
                "anew and does not return the same iterator again"
            )
        self._fresh = False

    def _own(self) -> Iterator[tuple[Any, ...]]:
        """What the loader gives to this process."""
        rank, size = processes.members()
        loader = _alike(collated(self.loader))
        if isinstance(self.loader.sampler, DistributedSampler):
            self.loader.sampler.set_epoch(self.key)
        elif isinstance(self.loader.batch_sampler, Order):
            self.loader.batch_sampler.key = self.key
        elif size > 1 and self.shuffle:
            return _divided(loader, rank, size)
        elif size > 1:
            return islice(loader, rank, None, size)
        return loader


class Form(NamedTuple):
    """What messages become: floating-point ones of a type, integers as they are, on a device."""

    dtype: torch.dtype
    """The floating-point type."""
    device: torch.device
    """Where they go."""

    @classmethod
    def of(cls, network: nn.Module) -> Form:
        """What a network takes: the type and the device of its weights.

        Parameters
        ----------
        network
            Of one without any, the default type, on the CPU.
        """
        weight = next(network.parameters(), torch.empty(0))
        return cls(computed_in(network), weight.device)

    def take(
        self, values: Any, least: int, numbers: Tensor | None = None, *, where: str = "data"
    ) -> Any:
        """A finite tensor of what was given, or the thing itself where that is read in parts.

        Parameters
        ----------
        values
            A tensor, an array, a table, a sparse matrix.
        least
            Dimensions that it has at least.
        numbers
            Numbers of these samples among all, for messages of errors.
        where
            What they are, for the same.
        """
        tensor = read(values)
        if len(tensor.shape) < least:
            raise ValueError(
                f"got {where} of shape {tuple(tensor.shape)}, expected (samples, ...): "
                "for a single message use x[None]"
            )
        if 0 in tensor.shape[1:]:
            raise ValueError(
                f"got {where} of shape {tuple(tensor.shape)}, expected at least one number a sample"
            )
        if isinstance(tensor, Tensor):
            self._check_finite(tensor, numbers)
        return tensor

    def move(self, tensor: Tensor, copy: bool = False) -> Tensor:
        """The tensor on the device, and of the type if it is of floating point or truth values."""
        plain = tensor.is_floating_point() or tensor.dtype == torch.bool
        # from a GPU to the CPU it would be read before it has come
        there = self.device.type != "cpu"
        dtype = self.dtype if plain else tensor.dtype
        return tensor.to(self.device, dtype, non_blocking=there, copy=copy)

    def _check_finite(self, tensor: Tensor, numbers: Tensor | None) -> None:
        if not (tensor.is_floating_point() and tensor.numel()):
            return
        # the extremes are NaN or infinite if anything is, and are found much faster
        extremes = torch.stack(tensor.aminmax())
        if extremes.to(self.dtype).isfinite().all():
            return
        if extremes.isfinite().all():
            low, high = extremes.tolist()
            raise ValueError(
                f"got data from {low:.4g} to {high:.4g}, expected what {self.dtype} can hold, up "
                f"to {torch.finfo(self.dtype).max:.4g}: divide by a number, or compute in double "
                "precision, model.double()"
            )
        rows = (~tensor.to(self.dtype).isfinite()).flatten(1 if tensor.dim() > 1 else 0)
        rows = rows.any(1) if rows.dim() > 1 else rows
        first = int(rows.int().argmax())
        first = first if numbers is None else int(numbers[first])
        raise ValueError(
            f"got data of which {int(rows.sum())} of {len(tensor)} samples have NaN or infinite "
            f"values, the first is number {first}; expected finite ones: "
            "clean the data or fill what is missing first"
        )


def batched(
    data: Data,
    batch_size: int | None,
    *,
    shuffle: bool,
    default: int,
    dtype: torch.dtype,
    device: torch.device,
    weights: Any | None = None,
    ordered: bool = False,
    resident: bool = True,
) -> InMemory | Loaded:
    """Batches ``(x, target)`` of data in whatever form; the target is None where it is x itself.

    Processes that work together (:func:`aebook.processes.together`) divide the data. In training
    (``shuffle``) each gets a part of every batch, the same number of batches for all; else each
    gets whole batches in turn.

    Parameters
    ----------
    data
        One of these:

        - a tensor or array (N, ...) of any float type and byte order, without NaN, infinite or
          masked entries. Integers stay integers, for an encoder that takes numbers of symbols; of
          images they have to be divided first. Truth values become 0 and 1. It is moved to the
          device once and indexed there, which is faster than a loader, if it leaves half of the
          device's free memory free; else a batch at a time.
        - an array that is read in parts: memory-mapped, or anything with ``shape``, ``dtype`` and
          slices, as h5py and zarr have it. Each batch is read when its turn comes.
        - a sparse matrix of SciPy, made dense a batch at a time, or a table of pandas or polars.
          All their numbers become floating point; a column of anything else is refused by name.
        - a pair ``(x, target)`` of these, a tuple.
        - a ``Dataset`` of messages or of pairs, or a ``DataLoader``, which in several processes
          needs a ``DistributedSampler`` to train with. Messages are put together here where a
          loader has no ``collate_fn`` of its own; one that has returns a tensor, an array, or a
          pair of them, a tuple.
    batch_size
        Samples a batch; more than N are N. None: ``default``.
    shuffle
        Draw a new order at every pass, from PyTorch's global generator. A ``DataLoader`` keeps its
        own order.
    default
        The batch size that None means.
    dtype, device
        Floating-point messages are converted to this; integers stay.
    weights
        What each sample counts, (N,), numbers 0 or more and not all 0; batches are then triples
        ``(x, target, weight)`` with weights of mean 1 over the data.
    ordered
        Bring every sample once in the order of the data, even from a loader that shuffles or drops
        the last batch; one with a sampler of its own is refused.
    resident
        Whether tensors and arrays go to the device at once; else as they are, a batch at a time.

    Examples
    --------
    >>> from aebook.data import batched
    >>> pair = np.random.rand(5, 8), np.random.rand(5, 3)
    >>> given = {"dtype": torch.float32, "device": torch.device("cpu")}
    >>> batches = batched(pair, 2, shuffle=True, default=64, **given)
    >>> [(tuple(x.shape), tuple(target.shape)) for x, target in batches]
    [((2, 8), (2, 3)), ((2, 8), (2, 3)), ((1, 8), (1, 3))]
    """
    size = None if batch_size is None else whole("batch_size", batch_size)
    form = Form(dtype, device)
    if isinstance(data, TensorDataset) and type(data).__getitem__ is TensorDataset.__getitem__:
        tensors: Any = data.tensors
        data = tensors if len(tensors) > 1 else tensors[0]
    if isinstance(data, DataLoader | Dataset):
        if weights is not None:
            raise ValueError(
                f"got sample_weight with a {type(data).__name__}, expected tensors or arrays, "
                "whose order it has: give these, or draw each sample as often as it counts, by "
                "torch.utils.data.WeightedRandomSampler"
            )
        return _loaded(data, size, shuffle, default, form, ordered)
    x, *targets = (form.take(part, 2 - k) for k, part in enumerate(_parts(data)))
    _check_targets(x, *targets)
    # a sparse matrix has a shape and no length
    samples = x.shape[0]
    if resident:
        x, *targets = _resident([x, *targets], form)
    weight = None if weights is None else form.move(_relative(check_weights(weights, samples)))
    order = Order(samples, _size(size, samples, default), shuffle)
    return InMemory(x, targets[0] if targets else None, weight, order, form)


def gathered(
    data: Data, *, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """All of the data at once, in order: messages, and targets if there are any; not to be changed.

    Parameters
    ----------
    data, dtype, device
        As in :func:`batched`.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from aebook.data import gathered
    >>> loader = DataLoader(torch.rand(5, 8), batch_size=2)
    >>> x, target = gathered(loader, dtype=torch.float64, device=torch.device("cpu"))
    >>> x.shape, x.dtype, target
    (torch.Size([5, 8]), torch.float64, None)
    """
    kind: Any = {"dtype": dtype, "device": device, "ordered": True}
    batches = batched(data, None, shuffle=False, default=1024, **kind)
    if isinstance(batches, InMemory) and isinstance(batches.x, Tensor):
        x, target = batches.x, batches.target
        if target is None or isinstance(target, Tensor):
            return batches.form.move(x), None if target is None else batches.form.move(target)
    xs, targets = zip(*batches, strict=True)
    return torch.cat(xs), None if targets[0] is None else torch.cat(targets)


def messages(data: Data, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """All messages at once, in order, for what has no use for targets; pairs are refused.

    Parameters
    ----------
    data, dtype, device
        As in :func:`batched`.

    Examples
    --------
    >>> from aebook.data import messages
    >>> bits = np.array([[True, False], [False, True]])
    >>> messages(bits, dtype=torch.float32, device=torch.device("cpu"))
    tensor([[1., 0.],
            [0., 1.]])
    """
    x, target = gathered(data, dtype=dtype, device=device)
    check_alone(target)
    return x


def vectors(data: Data) -> Tensor:
    """All messages as the rows of a matrix in double precision, (N, m), on the CPU.

    Parameters
    ----------
    data
        As in :func:`batched`, vectors alone.

    Examples
    --------
    >>> from scipy import sparse
    >>> from aebook.data import vectors
    >>> vectors(sparse.csr_array(np.eye(2)))
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64)
    """
    x = messages(data, dtype=torch.float64, device=torch.device("cpu")).double()
    array("data", x, "(N, m)", finite=False)
    return x


def blocks(data: Data, size: int = 4096) -> Iterator[Tensor]:
    """The same a few rows at a time where they are read in parts; all at once where they are not.

    Parameters
    ----------
    data
        As in :func:`batched`, vectors alone.
    size
        Rows of a block, or more; the last has what is left.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from aebook.data import blocks
    >>> loader = DataLoader(torch.rand(10, 2), batch_size=3)
    >>> [tuple(block.shape) for block in blocks(loader, size=5)]
    [(6, 2), (4, 2)]
    """
    kind: Any = {"dtype": torch.float64, "device": torch.device("cpu"), "ordered": True}
    batches = batched(data, None, shuffle=False, default=size, resident=False, **kind)
    if isinstance(batches, InMemory) and isinstance(batches.x, Tensor):
        yield vectors(data)
        return
    held, rows = [], 0
    for x, *others in batches:
        check_alone(others[0])
        array("data", x, f"(N, {held[0].shape[1] if held else 'm'})", finite=False)
        held.append(x.double())
        rows += len(x)
        if rows >= size:
            yield torch.cat(held)
            held, rows = [], 0
    if held:
        yield torch.cat(held)


def check_alone(target: Tensor | None) -> None:
    """Refuse a target.

    Parameters
    ----------
    target
        That of a batch.
    """
    if target is not None:
        raise ValueError(
            "got pairs of messages and targets, expected messages alone: there is nothing here to "
            "compare with targets; leave them out"
        )


def like(data: Data, values: Tensor, prefix: str = "z") -> Any:
    """Results in the kind that the data came in.

    Parameters
    ----------
    data
        What the results are of; of a pair the messages count.
    values
        One entry a message, (N, ...).
    prefix
        The name of a table's columns, numbered from 0: ``z0``, ``z1``, ...

    Returns
    -------
    Tensor, ndarray or table
        A tensor for a tensor, on its device, and for a ``Dataset`` or ``DataLoader``. For a table
        of pandas or polars a table with its index, and with its columns where there are as many
        and ``prefix`` is ``"x"``; or, for one number a message, a series. An array for all others.

    Examples
    --------
    >>> from aebook.data import like
    >>> like(np.zeros((2, 8)), torch.tensor([[1.0], [2.0]]))
    array([[1.],
           [2.]], dtype=float32)
    """
    x: Any = data[0] if isinstance(data, tuple) else data
    if isinstance(x, Tensor):
        return values.to(x.device)
    if isinstance(x, Dataset | DataLoader):
        return values
    # NumPy has no bfloat16
    values = values.float() if values.dtype == torch.bfloat16 else values
    array = values.detach().cpu().numpy()
    if not is_table(x):
        return array
    package, columns = library(x), None
    if array.ndim > 1:
        array = array.reshape(len(array), -1)
        same = prefix == "x" and array.shape[1] == len(x.columns)
        columns = x.columns if same else [f"{prefix}{k}" for k in range(array.shape[1])]
    if hasattr(x, "iloc"):
        named = {} if columns is None else {"columns": columns}
        return (package.Series if columns is None else package.DataFrame)(
            array, index=x.index, **named
        )
    if columns is None:
        return package.Series(values=array)
    return package.DataFrame(array, schema=list(columns))


def _wider(extremes: tuple[float, float], values: Tensor) -> tuple[float, float]:
    """Least and largest value, of these values too."""
    low, high = (float(value) for value in values.aminmax())
    return min(low, extremes[0]), max(high, extremes[1])


def _resident(parts: list[Any], form: Form) -> list[Any]:
    """Tensors on the device and of its type; as they are where they would fill it."""
    away = [part for part in parts if isinstance(part, Tensor) and part.device != form.device]
    size = sum(
        part.numel() * (form.dtype if part.is_floating_point() else part.dtype).itemsize
        for part in away
    )
    room = has_room(size, form.device)
    return [
        form.move(part)
        if isinstance(part, Tensor) and (room or part.device == form.device)
        else part
        for part in parts
    ]


def _relative(weights: np.ndarray) -> Tensor:
    """Weights of mean 1."""
    relative = torch.from_numpy(weights)
    # first by the largest, so that no sum overflows
    relative = relative / relative.amax()
    return relative / relative.mean()


# Loaders


def _loaded(
    data: DataLoader | Dataset,
    size: int | None,
    shuffle: bool,
    default: int,
    form: Form,
    ordered: bool,
) -> Loaded:
    members = processes.members()
    stream = isinstance(data.dataset if isinstance(data, DataLoader) else data, IterableDataset)
    if isinstance(data, DataLoader):
        if size is not None:
            raise ValueError(
                f"got batch_size={size} and a DataLoader, which brings its own: "
                "leave batch_size out"
            )
        if members.size > 1 and shuffle and not isinstance(data.sampler, DistributedSampler):
            raise ValueError(
                f"got a DataLoader in {members.size} processes, each of which would go through "
                "all of it: give the Dataset itself, which is then divided, or a DataLoader "
                "with sampler=torch.utils.data.DistributedSampler(dataset)"
            )
        samples = None if stream else samples_of(data.dataset)
        if samples is not None:
            _check_count(samples, shuffle)
        loader = collating(in_order(data) if ordered else data)
        return Loaded(loader, samples, data.batch_size, shuffle, form)
    own: dict[str, Any] = {"collate_fn": collate_own}
    if ordered:
        # what only reads takes nothing from the global generator
        own["generator"] = torch.Generator()
    if stream:
        loader = DataLoader(data, size or default, **own)
        return Loaded(loader, None, size or default, shuffle, form)
    count = samples_of(data)
    order = Order(count, _size(size, count, default), shuffle)
    if members.size > 1:
        loader = DataLoader(data, batch_sampler=order, **own)
    else:
        loader = DataLoader(data, order.batch_size, shuffle=shuffle, **own)
    return Loaded(loader, order.samples, order.batch_size, shuffle, form)


def _parts(data: Any) -> tuple[Any, ...]:
    """Messages, and targets if there are any, of data or of a batch."""
    # a sparse matrix may be a dict
    if isinstance(data, dict) and not sparse.issparse(data):
        raise ValueError(
            f"got a dict with the keys {some([repr(key) for key in data])}, expected messages, or "
            "a pair of messages and targets: take what is meant, x or a tuple (x, target); a "
            "DataLoader does by collate_fn, a Dataset by what it returns"
        )
    if not isinstance(data, tuple):
        return (data,)
    if len(data) not in (1, 2):
        raise ValueError(
            f"got {len(data)} parts, expected messages, or a pair of messages and targets"
        )
    return tuple(data)


def _whole(part: Any) -> Any:
    """A tensor of what a batch holds, also where that is sparse or read in parts."""
    values = read(part)
    if isinstance(values, Tensor) or not values.shape:
        return values
    return read(rows(values, np.arange(values.shape[0])))


def _check_targets(x: Any, *targets: Any) -> None:
    # a sparse matrix has a shape and no length
    if targets and targets[0].shape[0] != x.shape[0]:
        raise ValueError(
            f"got {x.shape[0]} messages and {targets[0].shape[0]} targets; expected one target a "
            "message"
        )


def _check_count(samples: int, shuffle: bool) -> None:
    size = processes.members().size
    if samples == 0:
        raise ValueError("got no data: expected at least one sample")
    if shuffle and samples < size:
        raise ValueError(
            f"got {samples} samples for {size} processes, expected at least one each: start fewer"
        )


def _size(batch_size: int | None, samples: int, default: int) -> int:
    return max(1, min(batch_size or default, samples))


def _alike(stream: Any) -> Iterator[tuple[Any, ...]]:
    """The parts of each batch; all have targets, or none has."""
    count = None
    for batch in stream:
        parts = _parts(batch)
        if count not in (None, len(parts)):
            raise ValueError(
                "got a loader of batches with targets and of some without, expected one kind: give "
                "every message a target, or none"
            )
        count = len(parts)
        yield parts


def _together(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(pair) for pair in zip(a, b, strict=True))


def _divided(stream: Any, rank: int, size: int) -> Iterator[tuple[Any, ...]]:
    """The part of each batch of a stream; a rest too small for all goes to the batch before."""
    held = rest = None
    for batch in stream:
        parts = tuple(map(_whole, batch))
        rest = parts if rest is None else _together(rest, parts)
        if len(rest[0]) >= size:
            if held is not None:
                yield tuple(part[rank::size] for part in held)
            held, rest = rest, None
    if rest is not None:
        held = rest if held is None else _together(held, rest)
    if held is not None:
        if len(held[0]) < size:
            raise ValueError(f"got a stream of {len(held[0])} samples for {size} processes")
        yield tuple(part[rank::size] for part in held)
