"""From data in whatever form it came to batches ``(x, target)`` on the right device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from itertools import islice
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, TensorDataset

from aebook import processes
from aebook._internal.checks import whole

__all__ = ["Data", "Form", "InMemory", "Loaded", "Order", "batched"]


class _Table(Protocol):
    """A table of pandas or polars."""

    def to_numpy(self) -> np.ndarray: ...


Data = (
    Tensor
    | np.ndarray
    | sparse.sparray
    | sparse.spmatrix
    | _Table
    | tuple[Any, Any]
    | Dataset
    | DataLoader
)

# what is read, or made dense, a batch at a time
_Lazy = np.memmap | sparse.csr_array


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
    """

    def __init__(self, samples: int, batch_size: int, shuffle: bool) -> None:
        self.samples, self.batch_size, self.shuffle = samples, batch_size, shuffle
        self.members, self.key = processes.members(), 0
        _check_count(samples, shuffle)

    def __len__(self) -> int:
        """How many batches."""
        if self.members.size > 1:
            return len(self._divided(torch.arange(self.samples)))
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Go through the batches once."""
        return (batch.tolist() for batch in self.draw())

    def draw(self, device: torch.device | None = None) -> Sequence[Tensor]:
        """The batches of one pass, as numbers of samples on a device."""
        order = torch.arange(self.samples)
        if self.shuffle and self.members.size == 1:
            # drawn on the CPU, so that every device sees the same order
            order = torch.randperm(self.samples)
        elif self.shuffle:
            # each process has noise of its own, and yet all agree on the order
            generator = torch.Generator().manual_seed(self.key)
            order = torch.randperm(self.samples, generator=generator)
        return self._divided(order if device is None else order.to(device))

    def _divided(self, order: Tensor) -> Sequence[Tensor]:
        """Of each batch the part that is this process's, or its batches."""
        rank, size = self.members
        whole = order.split(self.batch_size)
        if not self.shuffle:
            return whole[rank::size]
        # a rest with less than one for each process goes to the batch before
        if len(whole) > 1 and len(whole[-1]) < size:
            whole = (*whole[:-2], torch.cat(whole[-2:]))
        return [batch[rank::size] for batch in whole]


class InMemory:
    """Batches of tensors that are on the device, or of arrays that are read a batch at a time.

    Parameters
    ----------
    tensors
        Messages and, if there are any, targets.
    order
        Which samples make which batch.
    form
        Type and device.
    """

    def __init__(self, tensors: tuple[Any, ...], order: Order, form: Form) -> None:
        self.tensors, self.order, self.form, self.key = tensors, order, form, 0
        self.samples, self.batch_size = order.samples, order.batch_size

    def __len__(self) -> int:
        """How many batches."""
        return len(self.order)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Go through the data once."""
        x, *targets = self.tensors
        self.order.key = self.key
        there = all(isinstance(part, Tensor) for part in self.tensors)
        for chosen in self.order.draw(self.form.device if there else None):
            yield self._take(x, chosen), self._take(targets[0], chosen) if targets else None

    def _take(self, values: Tensor | _Lazy, chosen: Tensor) -> Tensor:
        if isinstance(values, Tensor):
            return values[chosen.to(self.form.device)]
        rows: Any = values[chosen.numpy()]
        rows = rows.toarray() if sparse.issparse(rows) else np.array(rows)
        # dense by now
        return cast(Tensor, self.form.tensor(rows, 1, chosen))


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
        self.members = processes.members()

    def __len__(self) -> int:
        """How many batches; TypeError for a stream of unknown length."""
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Go through the data once."""
        batch = None
        for batch in self._own():
            parts = _pair(batch if isinstance(batch, tuple | list) else (batch,))
            x, *targets = (self.form.move(part) for part in parts)
            yield x, targets[0] if targets else None
        if batch is None and (self.members.size == 1 or self.shuffle):
            raise ValueError("got no data: the loader ended before its first batch")

    def _own(self) -> Iterator[Any]:
        """What the loader gives to this process."""
        rank, size = self.members
        if isinstance(self.loader.sampler, DistributedSampler):
            self.loader.sampler.set_epoch(self.key)
        elif isinstance(self.loader.batch_sampler, Order):
            self.loader.batch_sampler.key = self.key
        elif size > 1 and self.shuffle:
            return _divided(self.loader, rank, size)
        elif size > 1:
            return islice(self.loader, rank, None, size)
        return iter(self.loader)


class Form(NamedTuple):
    """What messages become: floating-point ones of a type, integers as they are, on a device."""

    dtype: torch.dtype
    """The floating-point type."""
    device: torch.device
    """Where they go."""

    def tensor(self, values: Any, least: int, numbers: Tensor | None = None) -> Tensor | _Lazy:
        """A tensor of what was given, or the thing itself where that is read in parts.

        Parameters
        ----------
        values
            A tensor, an array, a table, a sparse matrix.
        least
            Dimensions that it has at least.
        numbers
            Numbers of these samples among all, for messages of errors.
        """
        given = type(values).__name__
        if isinstance(values, np.memmap) and values.ndim >= least:
            return values
        if sparse.issparse(values) and values.ndim == 2:
            return sparse.csr_array(values)
        if (to_numpy := getattr(values, "to_numpy", None)) is not None:
            values = to_numpy()
        if isinstance(values, np.ndarray) and not (
            values.flags.writeable and all(stride >= 0 for stride in values.strides)
        ):
            # torch takes no array that is read-only or runs backwards
            values = values.copy()
        try:
            tensor = torch.as_tensor(values)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"got {given} as data, expected numbers in a tensor, an array, a table, a pair "
                "(x, target) of these, a Dataset or a DataLoader"
            ) from error
        if tensor.dim() < least:
            raise ValueError(
                f"got data of shape {tuple(tensor.shape)}, expected (samples, ...): "
                "for a single message use x[None]"
            )
        tensor = self.move(tensor)
        # the extremes are NaN or infinite if anything is, and are found much faster
        if tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all():
            rows = (~tensor.isfinite()).flatten(1).any(1)
            first = int(rows.int().argmax())
            first = first if numbers is None else int(numbers[first])
            raise ValueError(
                f"{int(rows.sum())} of {len(tensor)} samples have NaN or infinite values, the "
                f"first is number {first}; expected finite ones: "
                "clean the data or fill what is missing first"
            )
        return tensor

    def move(self, tensor: Tensor) -> Tensor:
        """The tensor on the device, and of the type if it has a floating-point one."""
        dtype = self.dtype if tensor.is_floating_point() else None
        return tensor.to(self.device, dtype, non_blocking=True)


def batched(
    data: Data,
    batch_size: int | None,
    *,
    shuffle: bool,
    default: int,
    dtype: torch.dtype,
    device: torch.device,
) -> InMemory | Loaded:
    """Batches ``(x, target)`` of data in whatever form; the target is None where it is x itself.

    Processes that work together (:func:`aebook.processes.together`) divide the data. In training
    (``shuffle``) each gets a part of every batch, the same number of batches for all; else each
    gets whole batches in turn.

    Parameters
    ----------
    data
        A tensor or array (N, ...); a pair ``(x, target)`` of these; a ``Dataset`` of messages or
        of such pairs; or a ``DataLoader``, which in several processes needs a
        ``DistributedSampler`` to train with. Tensors and arrays are moved to the device once and
        indexed there, which is faster than a loader. A memory-mapped array stays in its file and a
        sparse matrix sparse: each batch is read, or made dense, when its turn comes. A table of
        pandas or polars is the array of its values.
    batch_size
        Samples a batch, at most N. None: ``default``, or N if that is less.
    shuffle
        Draw a new order at every pass, from PyTorch's global generator. A ``DataLoader`` keeps its
        own order.
    default
        The batch size that None means.
    dtype, device
        Floating-point messages are converted to this; integers stay.
    """
    size = None if batch_size is None else whole("batch_size", batch_size)
    form, members = Form(dtype, device), processes.members()
    if isinstance(data, TensorDataset):
        tensors: Any = data.tensors
        data = tensors if len(tensors) > 1 else tensors[0]
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
        stream = isinstance(data.dataset, IterableDataset)
        samples = None if stream else len(cast(Sized, data.dataset))
        if samples is not None:
            _check_count(samples, shuffle)
        return Loaded(data, samples, data.batch_size, shuffle, form)
    if isinstance(data, IterableDataset):
        return Loaded(DataLoader(data, size or default), None, size or default, shuffle, form)
    if isinstance(data, Dataset):
        count = len(cast(Sized, data))
        order = Order(count, _size(size, count, default), shuffle)
        if members.size > 1:
            loader = DataLoader(data, batch_sampler=order)
        else:
            loader = DataLoader(data, order.batch_size, shuffle=shuffle)
        return Loaded(loader, order.samples, order.batch_size, shuffle, form)
    parts = data if isinstance(data, tuple | list) else (data,)
    found: tuple[Any, ...] = tuple(form.tensor(part, 2 - k) for k, part in enumerate(_pair(parts)))
    # a sparse matrix has a shape and no length
    samples, *targets = (part.shape[0] for part in found)
    if targets and targets[0] != samples:
        raise ValueError(
            f"got {samples} messages and {targets[0]} targets; expected one target a message"
        )
    return InMemory(found, Order(samples, _size(size, samples, default), shuffle), form)


def _check_count(samples: int, shuffle: bool) -> None:
    size = processes.members().size
    if samples == 0:
        raise ValueError("got no data: expected at least one sample")
    if shuffle and samples < size:
        raise ValueError(
            f"got {samples} samples for {size} processes, expected at least one each: start fewer"
        )


def _size(batch_size: int | None, samples: int, default: int) -> int:
    if batch_size is None:
        return max(1, min(default, samples))
    if batch_size > samples > 0:
        raise ValueError(
            f"got batch_size={batch_size} for {samples} samples, expected at most {samples}: "
            "leave it out, or give more data"
        )
    return batch_size


def _divided(stream: Any, rank: int, size: int) -> Iterator[Any]:
    """The part of each batch of a stream; a rest too small for all goes to the batch before."""
    held = None
    for batch in stream:
        parts = _pair(batch if isinstance(batch, tuple | list) else (batch,))
        if held is not None and len(parts[0]) >= size:
            yield tuple(part[rank::size] for part in held)
        elif held is not None:
            parts = tuple(torch.cat(pair) for pair in zip(held, parts, strict=True))
        held = parts
    if held is not None:
        if len(held[0]) < size:
            raise ValueError(f"got a stream of {len(held[0])} samples for {size} processes")
        yield tuple(part[rank::size] for part in held)


def _pair(parts: Any) -> tuple[Any, ...]:
    if len(parts) not in (1, 2):
        raise ValueError(
            f"got {len(parts)} parts, expected messages, or a pair of messages and targets"
        )
    return tuple(parts)
