"""Training: one loop for every objective, and the evaluation that goes with it."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from aebook import processes
from aebook._internal.checks import check_arguments
from aebook._internal.randomness import seeded
from aebook.core import Loss
from aebook.data import Data, InMemory, Loaded, batched
from aebook.training.checkpoints import Resumable
from aebook.training.history import History, Mean
from aebook.training.schedules import Schedule, constant, one_cycle

__all__ = ["evaluate", "fit"]

Trained = TypeVar("Trained", bound=nn.Module)


@processes.together()
def fit(
    objective: Trained,
    data: Data,
    *,
    epochs: int,
    batch_size: int | None = None,
    validation: Data | None = None,
    lr: float = 1e-2,
    optimizer: Callable[..., Optimizer] = torch.optim.Adam,
    schedule: Schedule | None = None,
    anneal: Callable[[Trained, float], None] | None = None,
    clip: float | None = None,
    patience: int | None = None,
    precision: torch.dtype | None = None,
    compile: bool = False,
    device: str | torch.device | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> History:
    r"""Minimise an objective: :math:`\min_{θ,φ} E_x E_T[d(x, x')] + Σ_i λ_i Ω_i`.

    Afterwards the objective is in evaluation mode and back on the device that it came from. The
    same call with the same seed gives the same weights on the same machine, and PyTorch's global
    random state is left as it was.

    Started by ``torchrun``, in every process, the same call trains in all of them together: each
    takes a part of every batch and draws noise of its own, gradients are those of the whole batch,
    and the first process writes the checkpoint.

    Parameters
    ----------
    objective
        What to minimise, in place. A module around an objective that returns a ``Loss`` too, such
        as :class:`aebook.theory.likelihood.ImportanceWeighted`, will do.
    data
        Messages: a tensor or array (N, ...), a pair ``(x, target)`` of these, a ``Dataset`` or a
        ``DataLoader`` of either. Floating point is converted to the type of the weights. Of a
        memory-mapped array only the batch at hand is read, so it may be larger than memory, as may
        an ``IterableDataset``. In several processes a ``DataLoader`` needs a
        ``DistributedSampler``; the other forms are divided here.
    epochs
        Passes over the data, 0 or more.
    batch_size
        Samples a step, in all processes together, at most N; the default is 64, or N if that is
        less. The last batch of an epoch may be smaller and counts for as many samples as it has.
    validation
        Data, in any of the same forms, on which to report the loss after each epoch, in evaluation
        mode and always with the same noise.
    lr
        Learning rate, above 0; with a schedule, its largest value.
    optimizer
        Makes the optimiser from ``(parameters, lr=lr)``; for weight decay use
        ``functools.partial(torch.optim.AdamW, weight_decay=0.01)``.
    schedule
        Factor of the learning rate as a function of the fraction of training done, t in [0, 1):
        :mod:`aebook.training.schedules` has constant, cosine and one_cycle. The default is
        one_cycle, or constant for a stream, whose end nobody knows.
    anneal
        Called as ``anneal(objective, t)`` before each step, to set weights, temperatures and
        the like: ``lambda o, t: o.set_weight("kl", min(1, 5 * t))``.
    clip
        Largest norm of the gradient; longer ones are scaled down to it.
    patience
        Stop when the validation loss has not fallen for this many epochs, and restore the weights
        of the best epoch (also when the epochs run out first). Needs ``validation``.
    precision
        ``torch.bfloat16`` or ``torch.float16`` for mixed precision; weights keep their type.
    compile
        Run the objective through ``torch.compile``: the same noise and, but for rounding, the same
        result. The first epoch takes seconds more. Objectives that do much beside products of
        matrices gain, variational and contractive ones most; :mod:`aebook.timings` has figures.
    device
        Where to train; the default is a GPU (cuda, mps) if there is one, else the CPU.
    seed
        Seed of everything random in training: order of the samples, noise, dropout.
    checkpoint
        A file, replaced after each epoch. If it exists the run goes on from there and ends with
        the same weights, to the bit, as one that was never interrupted (unless a ``DataLoader``
        draws from a generator of its own, which is not stored). One path belongs to one run, with
        one number of processes.
    progress
        Whether to show a progress bar; the default is to do so at a terminal and in Jupyter.

    Returns
    -------
    History
        Loss and terms of each epoch.

    Raises
    ------
    ValueError
        If an argument or the data is not as described.
    FloatingPointError
        If a term of the loss stops being finite; the message names it and the epoch.

    Notes
    -----
    ``lr``, ``schedule`` and ``batch_size`` were chosen together, by the loss on validation data
    over 45 settings of the three: plain autoencoders of three depths, linear, tied, denoising,
    contractive, k-sparse, sparse, binary, concrete and variational ones on 4,000 images of
    clothes, two on a table of measurements, one on counts of words, for 8 epochs
    (``tools/choose_defaults.py``). With the defaults a loss is above the lowest that any setting
    gives by 12 % on average and 38 % at most; with Adam's usual rate of 0.001, constant, and
    batches of 128, by 82 % on average and up to three times. Twice the peak rate does better in
    so few epochs, 5 % and at most 18 %. In 30 epochs the two are level on average: it is then 10
    to 16 % worse for plain, deep, linear and denoising autoencoders, and as much better for
    tables and for the KL and contractive penalties; the concrete selector wants it always, and
    stays a third behind without. A checkpointed run that may be made longer later needs
    ``schedule=constant``.
    """
    check_arguments(epochs=epochs, lr=lr, clip=clip, patience=patience, seed=seed)
    check_arguments(precision=precision)
    # plain numbers, which a checkpoint can be read back with
    epochs, lr, seed = int(epochs), float(lr), int(seed)
    clip = None if clip is None else float(clip)
    patience = None if patience is None else int(patience)
    if patience is not None and validation is None:
        raise ValueError("got patience without validation data, which it watches: give both")
    parameters = [p for p in objective.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("got an objective with no parameter to train")

    members = processes.members()
    home, device, dtype = parameters[0].device, _device(device), parameters[0].dtype
    kind = {"dtype": dtype, "device": device}
    batches = batched(data, batch_size, shuffle=True, default=64, **kind)
    held_out = None
    if validation is not None:
        held_out = batched(validation, None, shuffle=False, default=1024, **kind)
    steps = _length(batches)
    if schedule is None:
        schedule = constant if steps is None else one_cycle

    noise = processes.stream_seed(seed, members.rank)
    with _on(objective, device, home), seeded(noise, device):
        optimiser = _make(optimizer, parameters, lr, device)
        # float16 has too few exponents for gradients; they are scaled up and back down
        scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
        run = objective
        if members.size > 1:
            run = DistributedDataParallel(objective)
        if compile:
            run = _compiled(run)
        settings = {
            "samples": batches.samples,
            "batch_size": batches.batch_size,
            "lr": lr,
            "optimizer": type(optimiser).__name__,
            "schedule": _name(schedule),
            "clip": clip,
            "patience": patience,
            "precision": str(precision),
            "seed": seed,
            "device": device.type,
        }
        if schedule is not constant or anneal is not None:
            # these depend on the fraction of training done, so more epochs are another run
            settings["epochs"] = epochs
        if members.size > 1:
            settings["processes"] = members.size
        state = Resumable(objective, optimiser, scaler, device, patience, checkpoint, settings)
        history = state.resume()
        # gradients that the caller left behind are not this run's
        optimiser.zero_grad()

        with _bar(progress if members.rank == 0 else False, epochs, len(history)) as bar:
            for epoch in range(len(history), epochs):
                if state.exhausted():
                    break
                started = time.perf_counter()
                objective.train()
                batches.key = processes.stream_seed(seed, epoch + 1)
                mean = Mean(epoch)
                for step, (x, target) in enumerate(batches):
                    t = (epoch + (step / steps if steps else 0)) / epochs
                    for group in optimiser.param_groups:
                        group["lr"] = group["initial_lr"] * float(schedule(t))
                    if anneal is not None:
                        anneal(objective, t)

                    with _autocast(device, precision), processes.shared_batch():
                        loss = run(x, target)
                    total = loss.total
                    if members.size > 1:
                        total = total * processes.weight(len(x), device)
                    scaler.scale(total).backward()
                    if clip is not None:
                        scaler.unscale_(optimiser)
                        torch.nn.utils.clip_grad_norm_(parameters, clip)
                    scaler.step(optimiser)
                    scaler.update()
                    optimiser.zero_grad()
                    mean.add(loss, len(x))

                terms, checked = mean.value(), {}
                processes.same_buffers(objective)
                if held_out is not None:
                    with _autocast(device, precision):
                        checked = _evaluate(objective, held_out, seed, epoch)
                rate = optimiser.param_groups[0]["lr"]
                history.append(terms, checked, rate, time.perf_counter() - started)
                state.save()
                bar.set_postfix(loss=f"{terms['loss']:.4g}")
                bar.update()

        if not all(p.isfinite().all() for p in parameters):
            raise FloatingPointError(
                "weights are no longer finite after the last step: lower lr, or clip gradients"
            )
        state.restore_best()
    return history


def evaluate(
    objective: nn.Module, data: Data, *, batch_size: int | None = None, seed: int = 0
) -> dict[str, float]:
    """Mean of the loss and of its terms over a data set, in evaluation mode.

    Parameters
    ----------
    objective, data, batch_size
        As in :func:`fit`; the default batch is 1024 samples.
    seed
        Seed of the corruption's noise, so that two calls agree.

    Returns
    -------
    dict
        ``"loss"`` and one entry a term.
    """
    parameter = next(objective.parameters())
    kind = {"dtype": parameter.dtype, "device": parameter.device}
    batches = batched(data, batch_size, shuffle=False, default=1024, **kind)
    was = objective.training
    try:
        return _evaluate(objective, batches, seed, None)
    finally:
        objective.train(was)


def _evaluate(
    objective: nn.Module, batches: InMemory | Loaded, seed: int, epoch: int | None
) -> dict[str, float]:
    objective.eval()
    mean = Mean(epoch)
    # the same noise at every call, and none of it taken from the training's stream
    with torch.no_grad(), seeded(seed, batches.form.device):
        for x, target in batches:
            mean.add(objective(x, target), len(x))
    return mean.value()


def _compiled(run: nn.Module) -> Callable[..., Loss]:
    # noise is drawn as without compilation: the same numbers, by faster code on a CPU
    options: dict[str, Any] = {"options": {"fallback_random": True}}
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        # by default the ninth kind of network that a process compiles runs as it is, with a warning
        options["recompile_limit"] = 256
    return torch.compile(run, **options)


def _make(
    optimizer: Callable[..., Optimizer],
    parameters: list[nn.Parameter],
    lr: float,
    device: torch.device,
) -> Optimizer:
    # one kernel for all parameters, where there is one
    fused = optimizer in (torch.optim.Adam, torch.optim.AdamW) and device.type in ("cpu", "cuda")
    options: dict[str, Any] = {"fused": True} if fused else {}
    made = optimizer(parameters, lr=lr, **options)
    for group in made.param_groups:
        group["initial_lr"] = group["lr"]
    return made


def _device(device: str | torch.device | None) -> torch.device:
    if device is not None:
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextlib.contextmanager
def _on(objective: nn.Module, device: torch.device, home: torch.device) -> Iterator[None]:
    """Move to a device and, whatever happens, back, in evaluation mode."""
    objective.to(device)
    try:
        yield
    finally:
        objective.to(home)
        objective.eval()


def _autocast(
    device: torch.device, precision: torch.dtype | None
) -> contextlib.AbstractContextManager:
    if precision is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


def _bar(progress: bool | None, epochs: int, done: int) -> Any:
    if progress is None:
        progress = _in_jupyter() or sys.stderr.isatty()
    with warnings.catch_warnings():
        # without ipywidgets the bar is text, which is fine
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    # where TQDM_DISABLE is set, as when outputs are stored, its word counts
    options: dict[str, Any] = {} if progress else {"disable": True}
    return tqdm(total=epochs, initial=done, unit="epoch", leave=False, **options)


def _in_jupyter() -> bool:
    # that something imported ipykernel does not mean that this runs in a kernel
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def _length(batches: InMemory | Loaded) -> int | None:
    try:
        return len(batches)
    except TypeError:
        return None


def _name(function: Callable) -> str:
    # not the repr, whose address is another in the next process
    return getattr(function, "__qualname__", type(function).__qualname__)
