"""From data in whatever form it came to batches ``(x, target)`` on the right device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Protocol, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, TensorDataset

from aebook import processes
from aebook._internal.checks import check_arguments

__all__ = ["Batches", "Data"]


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


class Batches:
    """An iterable over batches ``(x, target)``; the target is None where it is x itself.

    Parameters
    ----------
    data
        A tensor or array (N, ...); a pair ``(x, target)`` of these; a ``Dataset`` of messages or
        of such pairs; or a ``DataLoader``. Tensors and arrays are moved to the device once and
        indexed there, which is faster than a loader. A memory-mapped array stays in its file and a
        sparse matrix sparse: each batch is read, or made dense, when its turn comes. A table of
        pandas or polars is the array of its values.
    batch_size
        Samples a batch, at most N. None: ``default``, or N if that is less.
    shuffle
        Draw a new order at every iteration, from PyTorch's global generator. A ``DataLoader``
        keeps its own order.
    default
        The batch size that None means.
    dtype, device
        Floating-point messages are converted to this; integers stay.

    Notes
    -----
    Processes that work together (:func:`aebook.processes.together`) divide the data. In training
    (``shuffle``) each gets a part of every batch, the same number of batches for all; else each
    gets whole batches in turn. A ``DataLoader`` for training then needs a ``DistributedSampler``.
    """

    def __init__(
        self,
        data: Data,
        batch_size: int | None,
        *,
        shuffle: bool,
        default: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        check_arguments(batch_size=batch_size)
        batch_size = None if batch_size is None else int(batch_size)
        self.shuffle, self.dtype, self.device = shuffle, dtype, device
        # where processes have to agree on the order, this number decides it
        members = processes.members()
        self.members, self.key = members, 0
        self.tensors: tuple[Any, ...] | None = None
        # a loader is there where no tensors are; how many samples a stream has nobody knows
        self.loader: Any = None
        self.samples: Any = None

        if isinstance(data, TensorDataset):
            tensors: Any = data.tensors
            data = tensors if len(tensors) > 1 else tensors[0]
        if isinstance(data, DataLoader):
            if batch_size is not None:
                raise ValueError(
                    f"got batch_size={batch_size} and a DataLoader, which brings its own: "
                    "leave batch_size out"
                )
            self.loader = data
            self.batch_size = data.batch_size
            if members.size > 1 and shuffle and not isinstance(data.sampler, DistributedSampler):
                raise ValueError(
                    f"got a DataLoader in {members.size} processes, each of which would go through "
                    "all of it: give the Dataset itself, which is then divided, or a DataLoader "
                    "with sampler=torch.utils.data.DistributedSampler(dataset)"
                )
            if not isinstance(data.dataset, IterableDataset):
                self.samples = len(cast(Sized, data.dataset))
        elif isinstance(data, IterableDataset):
            self.batch_size = batch_size or default
            self.loader = DataLoader(data, batch_size=self.batch_size)
        elif isinstance(data, Dataset):
            self.samples = len(cast(Sized, data))
            self.batch_size = self._size(batch_size, default)
            self.loader = DataLoader(data, batch_size=self.batch_size, shuffle=shuffle)
            if members.size > 1:
                self.loader = DataLoader(data, batch_sampler=_Parts(self))
        else:
            parts = data if isinstance(data, tuple | list) else (data,)
            self.tensors = tuple(self._tensor(part, 2 - k) for k, part in enumerate(_pair(parts)))
            # a sparse matrix has a shape and no length
            self.samples, *targets = (part.shape[0] for part in self.tensors)
            if targets and targets[0] != self.samples:
                raise ValueError(
                    f"got {self.samples} messages and {targets[0]} targets; expected one target a "
                    "message"
                )
            self.batch_size = self._size(batch_size, default)
        if self.samples == 0:
            raise ValueError("got no data: expected at least one sample")
        if shuffle and self.samples is not None and self.samples < members.size:
            raise ValueError(
                f"got {self.samples} samples for {members.size} processes, expected at least one "
                "each: start fewer"
            )

    def __len__(self) -> int:
        """How many batches; TypeError for a stream of unknown length."""
        if self.tensors is None:
            return len(self.loader)
        if self.members.size > 1:
            return len(self._parts(torch.arange(self.samples)))
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Go through the data once."""
        if self.tensors is not None:
            x, *targets = self.tensors
            order = self._order()
            if all(isinstance(part, Tensor) for part in self.tensors):
                order = order.to(self.device)
            for chosen in self._parts(order):
                yield self._take(x, chosen), self._take(targets[0], chosen) if targets else None
        else:
            batch = None
            for batch in self._loaded():
                parts = _pair(batch if isinstance(batch, tuple | list) else (batch,))
                x, *targets = (self._move(part) for part in parts)
                yield x, targets[0] if targets else None
            if batch is None and not (self.members.size > 1 and not self.shuffle):
                raise ValueError("got no data: the loader ended before its first batch")

    def _order(self) -> Tensor:
        """Numbers of all samples, in the order of this pass."""
        if not self.shuffle:
            return torch.arange(self.samples)
        # drawn on the CPU, so that every device sees the same order
        if self.members.size == 1:
            return torch.randperm(self.samples)
        # each process has noise of its own, and yet all agree on the order
        generator = torch.Generator().manual_seed(self.key)
        return torch.randperm(self.samples, generator=generator)

    def _parts(self, order: Tensor) -> Sequence[Tensor]:
        """Of each batch the part that is this process's, or its batches."""
        rank, size = self.members
        batches = order.split(self.batch_size)
        if not self.shuffle:
            return batches[rank::size]
        # a rest with less than one for each process goes to the batch before
        if len(batches) > 1 and len(batches[-1]) < size:
            batches = (*batches[:-2], torch.cat(batches[-2:]))
        return [batch[rank::size] for batch in batches]

    def _take(self, values: Tensor | _Lazy, chosen: Tensor) -> Tensor:
        if isinstance(values, Tensor):
            return values[chosen.to(self.device)]
        rows: Any = values[chosen.numpy()]
        rows = rows.toarray() if sparse.issparse(rows) else np.array(rows)
        # dense by now
        return cast(Tensor, self._tensor(rows, 1, chosen))

    def _loaded(self) -> Iterator[Any]:
        """What the loader gives to this process."""
        rank, size = self.members
        if isinstance(self.loader.sampler, DistributedSampler):
            self.loader.sampler.set_epoch(self.key)
            return iter(self.loader)
        if size == 1 or isinstance(self.loader.batch_sampler, _Parts):
            return iter(self.loader)
        if not self.shuffle:
            return islice(self.loader, rank, None, size)
        return _divided(self.loader, rank, size)

    def _size(self, batch_size: int | None, default: int) -> int:
        if batch_size is None:
            return max(1, min(default, self.samples))
        if batch_size > self.samples > 0:
            raise ValueError(
                f"got batch_size={batch_size} for {self.samples} samples, expected at most "
                f"{self.samples}: leave it out, or give more data"
            )
        return batch_size

    def _tensor(self, values: Any, least: int, numbers: Tensor | None = None) -> Tensor | _Lazy:
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
        tensor = self._move(tensor)
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

    def _move(self, tensor: Tensor) -> Tensor:
        dtype = self.dtype if tensor.is_floating_point() else None
        return tensor.to(self.device, dtype, non_blocking=True)


class _Parts:
    """The part of each batch that belongs to a process, as a sampler of a ``DataLoader``."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches._parts(torch.arange(self.batches.samples)))

    def __iter__(self) -> Iterator[list[int]]:
        return (part.tolist() for part in self.batches._parts(self.batches._order()))


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
