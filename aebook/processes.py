"""One run in many processes.

Started by ``torchrun``, a script shares the work of :func:`aebook.fit` among them::

    torchrun --nproc-per-node 4 script.py

Every process builds the same objective and makes the same calls. The batch of a step is divided
among them, each draws noise of its own, and gradients are averaged so that they are those of the
whole batch (``DistributedDataParallel``). Weights are the same everywhere at every step.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = [
    "ALONE",
    "Group",
    "average",
    "broadcast",
    "gather",
    "group",
    "is_shared",
    "members",
    "same_buffers",
    "shared_batch",
    "stream_seed",
    "together",
    "total",
    "weight",
]


class Group(NamedTuple):
    """The processes of a run."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """How many there are."""


#: A process that shares its work with no other.
ALONE = Group()

# with whom this process works just now, and whether on the same batch
_members = ALONE
_sharing = False


def group() -> Group:
    """The processes that ``torchrun`` started, or this one alone; joins them at the first call.

    A group that the caller has initialised already is used as it is.

    Examples
    --------
    >>> from aebook.processes import group
    >>> group()  # where torchrun started nothing
    Group(rank=0, size=1)
    """
    if not dist.is_available():
        return ALONE
    if not dist.is_initialized():
        if not dist.is_torchelastic_launched():
            return ALONE
        # tensors on a GPU travel by nccl, and what the processes tell each other by gloo
        cuda = torch.cuda.is_available() and dist.is_nccl_available()
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        atexit.register(_leave)
    return Group(dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


@contextlib.contextmanager
def together(members: Group | None = None) -> Iterator[Group]:
    """Within it, this process shares its work with the others: :func:`aebook.fit` is such a place.

    Parameters
    ----------
    members
        The processes; the default is those of :func:`group`.

    Examples
    --------
    >>> from aebook.processes import together
    >>> with together() as members:
    ...     members.rank, members.size
    (0, 1)
    """
    global _members
    before, _members = _members, group() if members is None else members
    try:
        yield _members
    finally:
        _members = before


def members() -> Group:
    """The processes with which this one shares its work just now; outside of a run, it alone.

    Examples
    --------
    >>> from aebook.processes import members
    >>> members()
    Group(rank=0, size=1)
    """
    return _members


def stream_seed(seed: int, number: int) -> int:
    """The seed of one of a run's streams of random numbers: number 0 has the run's own.

    Parameters
    ----------
    seed
        The run's seed.
    number
        Which stream: a process's rank for its noise, an epoch for the order of the samples.

    Examples
    --------
    >>> from aebook.processes import stream_seed
    >>> stream_seed(7, 0), stream_seed(7, 1) == stream_seed(7, 2)
    (7, False)
    """
    if number == 0:
        return seed
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)


@contextlib.contextmanager
def shared_batch() -> Iterator[None]:
    """Within it, :func:`average` is over the parts of all processes.

    Examples
    --------
    >>> from aebook.processes import is_shared, shared_batch
    >>> with shared_batch():
    ...     is_shared()  # alone, no other process has a part
    False
    """
    global _sharing
    before, _sharing = _sharing, _members.size > 1
    try:
        yield
    finally:
        _sharing = before


def is_shared() -> bool:
    """Whether what is computed now belongs to a batch that other processes have parts of.

    Examples
    --------
    >>> from aebook.processes import is_shared
    >>> is_shared()  # alone, never
    False
    """
    return _sharing


def average(mean: Tensor, samples: int) -> Tensor:
    r"""Mean over a batch that is shared, :math:`\sum_r n_r m_r / \sum_r n_r`.

    A statistic of the whole batch, such as the mean activity of a unit, takes it in place of its
    own mean. Gradients flow to all processes. Outside :func:`shared_batch` it is the mean itself.

    Parameters
    ----------
    mean
        :math:`m_r`, the mean over this process's part, of any shape.
    samples
        :math:`n_r`, how many that part has.

    Examples
    --------
    >>> from aebook.processes import average
    >>> average(torch.tensor([1.0, 2.0]), samples=64)  # alone, the mean itself
    tensor([1., 2.])
    """
    if not _sharing:
        return mean
    wide = mean if mean.dtype == torch.float64 else mean.float()
    count = wide.new_tensor([float(samples)])
    sums = _Sum.apply(torch.cat(((wide * count).flatten(), count)))
    return (sums[:-1] / sums[-1]).view(mean.shape)


class _Sum(torch.autograd.Function):
    """The sum over all processes; on the way back, the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _summed(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.apply(gradients[0].contiguous())


def _summed(value: Tensor) -> Tensor:
    if not dist.is_initialized():
        raise ValueError(
            f"got {_members.size} processes that nothing connects, expected a group: start them by "
            "torchrun, or call torch.distributed.init_process_group"
        )
    value = value.clone()
    dist.all_reduce(value)
    return value


def total(samples: int, device: torch.device) -> Tensor:
    r"""How many samples a shared batch has, :math:`\sum_r n_r`.

    Parameters
    ----------
    samples
        :math:`n_r`, how many this process has.
    device
        Where the sum will be.

    Examples
    --------
    >>> from aebook.processes import total
    >>> total(64, torch.device("cpu")).item()  # alone, its own
    64.0
    """
    count = torch.tensor(samples, dtype=torch.float64, device=device)
    return count if _members.size == 1 else _summed(count)


def weight(samples: int, device: torch.device) -> Tensor:
    r"""What a process's mean loss counts, :math:`R\, n_r / \sum_r n_r`.

    DistributedDataParallel averages gradients over R processes as if each had as many samples.

    Parameters
    ----------
    samples
        :math:`n_r`, how many this process has.
    device
        Where the weight will be.

    Examples
    --------
    >>> from aebook.processes import weight
    >>> weight(64, torch.device("cpu")).item()  # alone, all is as it was
    1.0
    """
    return _members.size * samples / total(samples, device)


def gather(value: Any) -> list[Any]:
    """The values of all processes, in the order of their ranks.

    Parameters
    ----------
    value
        This process's; anything that can be pickled.

    Examples
    --------
    >>> from aebook.processes import gather
    >>> gather("one")  # alone there is one value
    ['one']
    """
    if _members.size == 1:
        return [value]
    values = [None] * _members.size
    dist.all_gather_object(values, value)
    return values


def broadcast(value: Any) -> Any:
    """The value of the first process.

    Parameters
    ----------
    value
        What this process would say; anything that can be pickled.

    Examples
    --------
    >>> from aebook.processes import broadcast
    >>> broadcast({"seed": 3})  # alone, one's own
    {'seed': 3}
    """
    if _members.size == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def same_buffers(module: nn.Module) -> None:
    """Give all processes the first one's buffers: running statistics of its part of the data.

    Parameters
    ----------
    module
        Whose buffers are written over.

    Examples
    --------
    >>> from aebook.processes import same_buffers
    >>> module = torch.nn.BatchNorm1d(2)
    >>> same_buffers(module)  # alone, nothing to do
    >>> module.running_mean
    tensor([0., 0.])
    """
    if _members.size > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)
