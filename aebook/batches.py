"""From data in whatever form it came to batches ``(x, target)`` on the right device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from aebook.checks import check_arguments

__all__ = ["Batches", "Data"]

Data = Tensor | np.ndarray | tuple[Any, Any] | Dataset | DataLoader


class Batches:
    """An iterable over batches ``(x, target)``; the target is None where it is x itself.

    Parameters
    ----------
    data
        A tensor or array (N, ...); a pair ``(x, target)`` of these; a ``Dataset`` of messages or
        of such pairs; or a ``DataLoader``. Tensors and arrays are moved to the device once and
        indexed there, which is faster than a loader.
    batch_size
        Samples a batch, at most N. None: ``default``, or N if that is less.
    shuffle
        Draw a new order at every iteration, from PyTorch's global generator. A ``DataLoader``
        keeps its own order.
    default
        The batch size that None means.
    dtype, device
        Floating-point messages are converted to this; integers stay.
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
        self.tensors: tuple[Tensor, ...] | None = None
        self.loader: DataLoader | None = None
        self.samples: int | None = None

        if isinstance(data, TensorDataset):
            data = data.tensors if len(data.tensors) > 1 else data.tensors[0]
        if isinstance(data, DataLoader):
            if batch_size is not None:
                raise ValueError(
                    f"got batch_size={batch_size} and a DataLoader, which brings its own: "
                    "leave batch_size out"
                )
            self.loader = data
            self.batch_size = data.batch_size
            if not isinstance(data.dataset, IterableDataset):
                self.samples = len(data.dataset)
        elif isinstance(data, IterableDataset):
            self.batch_size = batch_size or default
            self.loader = DataLoader(data, batch_size=self.batch_size)
        elif isinstance(data, Dataset):
            self.samples = len(data)
            self.batch_size = self._size(batch_size, default)
            self.loader = DataLoader(data, batch_size=self.batch_size, shuffle=shuffle)
        else:
            parts = data if isinstance(data, tuple | list) else (data,)
            self.tensors = tuple(self._tensor(part, 2 - k) for k, part in enumerate(_pair(parts)))
            self.samples = len(self.tensors[0])
            if len(self.tensors) == 2 and len(self.tensors[1]) != self.samples:
                raise ValueError(
                    f"got {self.samples} messages and {len(self.tensors[1])} targets; expected "
                    "one target a message"
                )
            self.batch_size = self._size(batch_size, default)
        if self.samples == 0:
            raise ValueError("got no data: expected at least one sample")

    def __len__(self) -> int:
        """How many batches; TypeError for a stream of unknown length."""
        if self.tensors is None:
            return len(self.loader)
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Go through the data once."""
        if self.tensors is not None:
            x, target = (*self.tensors, None)[:2]
            if self.shuffle:
                # drawn on the CPU, so that every device sees the same order
                order = torch.randperm(self.samples).to(self.device)
            else:
                order = torch.arange(self.samples, device=self.device)
            for chosen in order.split(self.batch_size):
                yield x[chosen], None if target is None else target[chosen]
        else:
            batch = None
            for batch in self.loader:
                parts = _pair(batch if isinstance(batch, tuple | list) else (batch,))
                x, target = (*(self._move(part) for part in parts), None)[:2]
                yield x, target
            if batch is None:
                raise ValueError("got no data: the loader ended before its first batch")

    def _size(self, batch_size: int | None, default: int) -> int:
        if batch_size is None:
            return max(1, min(default, self.samples))
        if batch_size > self.samples > 0:
            raise ValueError(
                f"got batch_size={batch_size} for {self.samples} samples, expected at most "
                f"{self.samples}: leave it out, or give more data"
            )
        return batch_size

    def _tensor(self, values: Any, least: int) -> Tensor:
        if isinstance(values, np.ndarray) and not (
            values.flags.writeable and all(stride >= 0 for stride in values.strides)
        ):
            # torch takes no array that is read-only or runs backwards
            values = values.copy()
        try:
            tensor = torch.as_tensor(values)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"got {type(values).__name__} as data, expected a tensor, an array, a pair "
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
            raise ValueError(
                f"{int(rows.sum())} of {len(tensor)} samples have NaN or infinite values, the "
                f"first is number {int(rows.int().argmax())}; expected finite ones: "
                "clean the data or fill what is missing first"
            )
        return tensor

    def _move(self, tensor: Tensor) -> Tensor:
        dtype = self.dtype if tensor.is_floating_point() else None
        return tensor.to(self.device, dtype, non_blocking=True)


def _pair(parts: Any) -> tuple[Any, ...]:
    if len(parts) not in (1, 2):
        raise ValueError(
            f"got {len(parts)} parts, expected messages, or a pair of messages and targets"
        )
    return tuple(parts)
