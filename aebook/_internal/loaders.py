"""Loaders that are not ours: how many samples they have, in which order, and batches as here."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    default_convert,
)
from torch.utils.data._utils.collate import collate, default_collate_fn_map

from aebook._internal.checks import unmasked
from aebook._internal.reading import read

__all__ = ["collate_own", "collated", "collating", "in_order", "samples_of"]


def samples_of(dataset: Dataset) -> int:
    """How many samples a data set has; one that does not tell, or has no numbers, is refused."""
    named = isinstance(dataset, Mapping) and dataset.keys() != set(range(len(dataset)))
    if named or hasattr(dataset, "to_numpy"):
        raise ValueError(
            f"got a DataLoader of a {type(dataset).__name__}, whose entries have names and no "
            "numbers; expected a Dataset: give a table or an array itself, aebook.fit(..., table), "
            "or TensorDataset(x) of what is meant"
        )
    try:
        return len(cast(Sized, dataset))
    except TypeError as error:
        raise ValueError(
            f"got a {type(dataset).__name__} without a length, expected a Dataset that has one: "
            "give it __len__, or make it an IterableDataset"
        ) from error


def in_order(loader: DataLoader) -> DataLoader:
    """A loader of the same batches, in the order of the data set and with the last one."""
    sampler, batches, size = loader.sampler, loader.batch_sampler, loader.batch_size
    stream = isinstance(loader.dataset, IterableDataset)
    if size is None and type(batches) is BatchSampler:
        sampler, size = batches.sampler, batches.batch_size
    whole = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler
        and not sampler.replacement
        and sampler.num_samples == len(sampler.data_source)
    )
    usual = batches is None or type(batches) is BatchSampler
    if type(loader).__iter__ is not DataLoader.__iter__ or not (stream or (whole and usual)):
        which = type(loader if whole and usual else batches if whole else sampler).__name__
        raise ValueError(
            f"got a DataLoader with a {which} of its own, whose order nobody can tell; expected "
            "one that goes through its data set: give the data set itself, or a "
            "torch.utils.data.Subset of it"
        )
    return DataLoader(
        loader.dataset,
        size,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        # so that nothing is taken from the global one
        generator=torch.Generator(),
    )


def collating(loader: DataLoader) -> DataLoader:
    """A loader that makes its batches as these two do, if it has no way of its own."""
    ways = {default_collate: collate_own, default_convert: _convert}
    way = next((own for usual, own in ways.items() if loader.collate_fn is usual), None)
    if way is None:
        return loader
    loader = copy.copy(loader)
    # and no workers that began otherwise
    vars(loader).update(collate_fn=way, _iterator=None)
    return loader


def collate_own(batch: list[Any]) -> Any:
    """A batch of messages or of pairs, as PyTorch makes it, but that tuples become a tuple."""
    if isinstance(batch[0], list):
        read(batch[0])
    if len({isinstance(sample, tuple) for sample in batch}) > 1:
        raise ValueError(
            "got messages and pairs (x, target) in one batch, expected one kind: give every "
            "message a target, or none"
        )
    together = {**default_collate_fn_map, Tensor: _stack_tensors, np.ndarray: _stack_arrays}
    made = collate(batch, collate_fn_map=together)
    return tuple(made) if isinstance(batch[0], tuple) else made


def _stack_tensors(batch: Any, *, collate_fn_map: Any) -> Tensor:
    read(batch[0])
    with torch.no_grad():
        return default_collate_fn_map[Tensor](batch, collate_fn_map=collate_fn_map)


def _stack_arrays(batch: Any, *, collate_fn_map: Any) -> Tensor:
    # PyTorch would drop masks, and does not know every type
    return read(np.asarray(np.stack([unmasked(array) for array in batch])))


def _convert(batch: Any) -> Any:
    """A batch that the data set made."""
    if isinstance(batch, tuple):
        return tuple(_convert(part) for part in batch)
    return read(batch) if isinstance(batch, Tensor | np.ndarray) else batch


def collated(loader: DataLoader) -> Iterator[Any]:
    """Go through a loader; what cannot be made a batch is a fault of the data."""
    batches = iter(loader)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except LookupError as error:
            kind, last = type(error).__name__, str(error).strip().splitlines()[-1:]
            # a worker brings the whole traceback
            said = f"{kind}: {''.join(last).removeprefix(f'{kind}: ')}"
            raise ValueError(
                f"the loader's data set failed{_asked(error)} ({said}); expected a message, or a "
                "pair, for every number from 0 to len(dataset) - 1: rows of a table are numbered "
                "in df.iloc[i], and df.loc[i] takes their names"
            ) from error
        except (TypeError, ValueError, RuntimeError) as error:
            signs = "default_collate", "stack expects", "of equal size", "the same shape"
            if not any(sign in str(error) for sign in signs):
                raise
            raise ValueError(
                f"the loader could not make a batch ({str(error).splitlines()[-1]}); expected "
                "tensors or arrays of one shape: convert what the Dataset returns, or give the "
                "DataLoader a collate_fn"
            ) from error
        yield batch


def _asked(error: BaseException) -> str:
    """At which sample, if the error tells."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code, local = frame.f_code, frame.f_locals
        if code.co_name == "__getitem__" and code.co_argcount == 2:
            return f" at {local[code.co_varnames[1]]!r:.60}"
    return ""
