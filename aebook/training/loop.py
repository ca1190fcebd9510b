"""Training: one loop for every objective, and the evaluation that goes with it."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from aebook import processes
from aebook._internal.checks import check_arguments
from aebook._internal.contract import checked, explained, taken
from aebook._internal.devices import chosen, computed_in, moved
from aebook._internal.files import locked, replaceable
from aebook._internal.modes import at_rest, carried, check_unaltered, recorded, train, versions
from aebook._internal.randomness import Generator, aside, seeded
from aebook._internal.verdicts import Waiting, deferred
from aebook.core import Loss, check_objective, check_weighable, settings, trainable
from aebook.data import Batch, Data, Form, InMemory, Loaded, batched
from aebook.inference import evaluating
from aebook.networks import Standardised
from aebook.training.captured import Steps, possible, prepare
from aebook.training.checkpoints import Resumable
from aebook.training.fingerprint import Plain, digest, noted, settled
from aebook.training.history import History, Mean
from aebook.training.optimisers import made, options, set_rates
from aebook.training.progress import bar
from aebook.training.reach import warn_beyond_reach
from aebook.training.schedules import Schedule, constant, one_cycle

__all__ = ["evaluate", "fit"]

Trained = TypeVar("Trained", bound=nn.Module)


@processes.together()
@checked
def fit(
    objective: Trained,
    data: Data,
    *,
    epochs: int,
    batch_size: int | None = None,
    validation: Data | None = None,
    sample_weight: Any | None = None,
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
    callback: Callable[[Trained, History], bool | None] | None = None,
    progress: bool | None = None,
) -> History:
    r"""Minimise an objective: :math:`\min_{θ,φ} E_x E_T[d(x, x')] + Σ_i λ_i Ω_i`.

    Afterwards the objective is in evaluation mode and back on the device that it came from. From
    the same first weights the same seed gives the same weights on the same machine, in any thread,
    and PyTorch's global random state is left as it was. Runs in several threads take turns, since
    that state is the whole process's: what a thread draws from it outside of this package while
    another trains would disturb both.

    Parts that stand in evaluation mode and of which no parameter is trained stay in that mode: the
    running statistics and the dropout of a frozen encoder rest.

    Started by ``torchrun``, in every process, the same call trains in all of them together: each
    takes a part of every batch and draws noise of its own, gradients are those of the whole batch,
    and the first process writes the checkpoint.

    Parameters
    ----------
    objective
        What to minimise, in place. A module around an objective that returns a ``Loss`` too, such
        as :class:`aebook.theory.likelihood.ImportanceWeighted`, will do.
    data
        Messages: a tensor or array (N, ...), a table of numbers, a sparse matrix, a pair
        ``(x, target)`` of these, which is a tuple, a ``Dataset`` or a ``DataLoader`` of either.
        Floating point is converted to the type of the weights. Of an array that is read in parts
        (memory-mapped, or of h5py or zarr) only the batch at hand is read, so it may be larger
        than memory, as may an ``IterableDataset``. In several processes a ``DataLoader`` needs a
        ``DistributedSampler``; the other forms are divided here. :func:`aebook.data.batched` has
        all of it.
    epochs
        Passes over the data, 0 or more.
    batch_size
        Samples a step, in all processes together; more than N are N. The default is 64. The last
        batch of an epoch may be smaller and counts for as many samples as it has. Where batches are
        normalised (``nn.BatchNorm1d``) a last one of a single sample has no variance and joins the
        one before; several processes refuse such layers, which would see a part of the batch each,
        but for ``nn.SyncBatchNorm`` and :class:`aebook.networks.Standardised`.
    validation
        Data, in any of the same forms, on which to report the loss after each epoch, in evaluation
        mode and always with the same noise. Its samples count alike.
    sample_weight
        What each sample counts, (N,), finite, 0 or more and not all 0: the loss is
        :math:`\sum_n w_n d_n / \sum_n w_n`. That of a batch of B is
        :math:`\frac1B \sum_n w_n d_n / \bar w`, with the mean weight of the data and not of the
        batch, so that its gradient is right on average. Whole numbers do, with all data in a
        batch, what as many copies of the samples would; a common factor does nothing. Penalties
        that have one value a sample count likewise; those of weights do not, and statistics of a
        batch (a mean activity, a fitted σ) count each sample once. Not with a ``Dataset`` or a
        ``DataLoader``.
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
        the like: ``lambda o, t: o.set_weight("kl", min(1, 5 * t))``. What it sets
        (:func:`aebook.core.settings`) is a function of t alone; t = 1 gives the final settings.
    clip
        Largest norm of the gradient; longer ones are scaled down to it.
    patience
        Stop when the validation loss has not fallen for this many epochs, and restore the weights
        of the best epoch (also when the epochs run out first). Needs ``validation``. With
        ``anneal`` the validation loss is that under the final settings, so that epochs can be
        compared, and no run stops while its settings still move. Settings stay as they are when
        weights are restored.
    precision
        ``torch.bfloat16`` or ``torch.float16`` for mixed precision; weights keep their type.
    compile
        Run the objective through ``torch.compile``: the same noise and, but for rounding, the same
        result. The first epoch takes seconds more. Objectives that do much beside products of
        matrices gain, variational and contractive ones most; :mod:`aebook.timings` has figures.
        On a GPU of NVIDIA a step is captured as one CUDA graph where that changes nothing, as it
        is for Adam, one process, and an objective whose parts are PyTorch's and this package's.
        With ``compile=True`` it is for parts of your own too, if what they do depends on nothing
        but tensors: no random numbers of Python or NumPy, no counters.
    device
        Where to train; the default is a GPU (cuda, mps) if there is one, else the CPU.
    seed
        Seed of everything random in training: order of the samples, noise, dropout.
        The first weights are not among it: they were drawn when the model was made, from PyTorch's
        global generator, so call ``torch.manual_seed(s)`` before that.
    checkpoint
        A file, replaced after each epoch. If it exists the run goes on from there and ends with
        the same weights, to the bit, as one that was never interrupted: the states of PyTorch's
        generators and of all that data, corruption and the like have are stored too, but those of
        Python and NumPy as a whole, and of what is made during the run, are not. One path belongs
        to one run, with one number of processes: another one is refused by naming what differs in
        the objective, its settings or frozen weights, the data or any argument, functions with
        their code and what they close over. Of data that are read in parts three rows are
        compared, of a loader its data set with its attributes, and how it draws and collates. What
        the first epoch changes of these, a cache or a file that is opened late, is not compared; a
        class may also say by ``__getstate__`` what its objects are. It is a safetensors file with
        a checksum, and nothing in it runs.
    callback
        Called as ``callback(objective, history)`` after each epoch, with the objective in
        evaluation mode and the history so far. It returns None, or a truth value: True stops the
        run after this epoch. Random numbers that it draws are those that the caller would, and are
        missed neither there nor in training; meanwhile other threads may draw. Where there is a
        checkpoint it changes nothing of the objective, so that a run may go on with another one.
        Of a run that was stopped it is asked again about the last epoch.
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
    KeyboardInterrupt
        On Ctrl-C. Whatever ends a run early has the epochs so far as its attribute ``history``, and
        with ``patience`` the objective then has the weights of the best of them.

    Warns
    -----
    UserWarning
        If targets lie where the decoder cannot go: below 0, for one that ends in a sigmoid, say.

    Notes
    -----
    ``lr``, ``schedule`` and ``batch_size`` were chosen together, by the loss on validation data
    over 45 settings of the three: plain autoencoders of three depths, linear, tied, denoising,
    contractive, k-sparse, sparse, binary, concrete and variational ones on 4,000 images of
    clothes, two on a table of measurements, one on counts of words, for 8 epochs, one start
    each (``tools/choose_defaults.py``). With the defaults a loss is above the lowest that any
    setting gives by 12 % on average and 38 % at most; with Adam's usual rate of 0.001, constant,
    and batches of 128, by 82 % on average and up to three times. Twice the peak rate does better in
    so few epochs, 5 % and at most 18 %. In 30 epochs the two are level on average: it is then 10
    to 16 % worse for plain, deep, linear and denoising autoencoders, and as much better for
    tables and for the KL and contractive penalties; the concrete selector wants it always, and
    stays a third behind without. A checkpointed run that may be made longer later needs
    ``schedule=constant``.

    Examples
    --------
    >>> x = torch.rand(100, 4)
    >>> _ = torch.manual_seed(0)  # the weights that it starts from
    >>> objective = aebook.variants.plain((4, 2))
    >>> history = aebook.fit(objective, x, epochs=3, seed=0)
    >>> len(history), history.loss[-1] < history.loss[0]
    (3, True)
    """
    check_arguments(epochs=epochs, lr=lr, clip=clip, patience=patience, seed=seed)
    check_arguments(precision=precision)
    # plain numbers, which a checkpoint can be read back with
    epochs, lr, seed = int(epochs), float(lr), int(seed)
    clip = None if clip is None else float(clip)
    patience = None if patience is None else int(patience)
    if patience is not None and validation is None:
        raise ValueError("got patience alone, expected validation data too, which it watches")
    parameters = trainable(objective)

    members = processes.members()
    dtype = computed_in(objective)
    device = chosen(device, dtype)
    kind = {"dtype": dtype, "device": device}
    if sample_weight is not None:
        check_weighable(objective)
    batches = batched(data, batch_size, shuffle=True, default=64, weights=sample_weight, **kind)
    held_out = None
    if validation is not None:
        held_out = batched(validation, None, shuffle=False, default=1024, **kind)
    count = _length(batches)
    if schedule is None:
        schedule = constant if count is None else one_cycle

    path, resting = None if checkpoint is None else Path(checkpoint), at_rest(objective)
    if members.size > 1:
        _check_normalised(objective, resting, members.size)
    noise = processes.stream_seed(seed, members.rank)
    with _alone(path), _on(objective, device), seeded(noise, device), recorded():
        optimiser = made(optimizer, parameters, lr, device)
        # float16's scaler reads whether a step is to be left out, and processes talk in between
        captured = members.size == 1 and precision is not torch.float16
        captured = captured and possible(objective, optimiser, device, compile)
        if captured:
            prepare(optimiser)
        _factor(schedule, 0.0)
        # float16 has too few exponents for gradients; they are scaled up and back down
        scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
        run = objective
        if members.size > 1:
            run = DistributedDataParallel(objective)
        if compile:
            run = _compiled(run)
        contents = (None, None) if path is None else (_contents(batches), _contents(held_out))

        def made_with() -> tuple[dict[str, Plain], list[Generator]]:
            return noted(
                samples=batches.samples,
                batch_size=batches.batch_size,
                objective=objective,
                lr=lr,
                optimizer=options(optimiser),
                schedule=schedule,
                anneal=anneal,
                clip=clip,
                patience=patience,
                precision=precision,
                compile=compile,
                seed=seed,
                device=device.type,
                processes=members.size,
                # where these depend on the fraction of training done, more epochs are another run
                epochs=None if schedule is constant and anneal is None else epochs,
                data=contents[0],
                validation=contents[1],
            )

        notes, generators = ({}, []) if path is None else made_with()

        def step(x: Tensor, *others: Tensor | None) -> tuple[Loss, list[Waiting]]:
            before = versions(x, *others)
            with _autocast(device, precision), processes.shared_batch(), deferred(device) as judged:
                loss = run(x, *others)
            check_unaltered(before, x, *others)
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
            return loss, judged

        steps = Steps(step, objective, captured)
        state = Resumable(objective, optimiser, scaler, device, patience, path, notes, generators)
        if (found := state.load()) is not None:
            done = len(found["history"]["seconds"])
            if done > epochs:
                raise ValueError(
                    f"got epochs={epochs}, but the checkpoint {path} has {done} already: ask for "
                    "as many or more, or give another path"
                )
            if anneal is not None:
                # to what the settings were at the last step
                anneal(objective, found["t"])
            state.resume(found)
            if captured:
                prepare(optimiser)
        history = state.history
        # gradients that the caller left behind are not this run's
        optimiser.zero_grad()

        shown = progress if members.rank == 0 else False
        try:
            with carried(history), explained(), bar(shown, epochs, len(history)) as shown_bar:
                # said once, by one process
                warned, first, example = members.rank > 0, len(history), None
                asked = functools.partial(_asked, callback, objective, history, device, path)
                # of the last epoch again, perhaps by another callback
                state.stopped = state.stopped and asked()
                for epoch in range(len(history), epochs):
                    if state.stopped or state.exhausted():
                        break
                    started = time.perf_counter()
                    train(objective, resting)
                    batches.key = processes.stream_seed(seed, epoch + 1)
                    mean, rate = Mean(epoch), lr
                    steps.look()
                    for number, (x, *others) in enumerate(_whole(batches, objective)):
                        if not warned and example is None:
                            example = x[:1], others[0]
                            warned = warn_beyond_reach(
                                objective, batches.extremes, *example, stacklevel=5
                            )
                        t = (epoch + (number / count if count else 0)) / epochs
                        rate = set_rates(optimiser, _factor(schedule, t))
                        if anneal is not None:
                            anneal(objective, t)
                            steps.look()
                        state.t = t
                        loss, judged = steps(x, *others)
                        mean.add(loss, len(x), judged)
                        # whose graph would tie the parameters' gradients to another stream
                        del loss

                    terms, watched = mean.value(), {}
                    processes.same_buffers(objective)
                    objective.eval()
                    if held_out is not None:
                        final = contextlib.nullcontext(False)
                        if patience is not None and anneal is not None:
                            final = _final(objective, anneal)
                        with final as moving, _autocast(device, precision):
                            watched = _evaluate(objective, held_out, seed, epoch)
                        state.moving = epoch + 1 if moving else state.moving
                    # what a loader brought later, and the validation data
                    for seen in (batches, held_out) if epoch == first else ():
                        if not warned and seen is not None and example is not None:
                            warned = warn_beyond_reach(
                                objective, seen.extremes, *example, stacklevel=5
                            )
                    history.append(terms, watched, rate, time.perf_counter() - started)
                    if epoch == 0 and path is not None:
                        # less what reading, say, has changed
                        state.fingerprint = settled(notes, made_with()[0])
                    state.save()
                    shown_bar.set_postfix(loss=f"{terms['loss']:.4g}")
                    shown_bar.update()
                    if asked():
                        state.stopped = True
                        state.save()

                if not all(p.isfinite().all() for p in parameters):
                    raise FloatingPointError(
                        "weights are no longer finite after the last step: lower lr, or clip "
                        "gradients"
                    )
        finally:
            state.restore_best()
    return history


@checked
def evaluate(
    objective: nn.Module,
    data: Data,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    sample_weight: Any | None = None,
) -> dict[str, float]:
    """Mean of the loss and of its terms over a data set, in evaluation mode.

    Parameters
    ----------
    objective, data, batch_size, sample_weight
        As in :func:`fit`; the default batch is 1024 samples. It is computed where the objective
        is, on its device.
    seed
        Seed of the corruption's noise, so that two calls agree.

    Returns
    -------
    dict
        ``"loss"`` and one entry a term.

    Examples
    --------
    >>> model = aebook.Autoencoder(torch.nn.Identity(), torch.nn.ReLU())
    >>> objective = aebook.Objective(model)
    >>> aebook.evaluate(objective, torch.tensor([[3.0, -1.0], [2.0, -3.0]]))  # 1 and 9 are lost
    {'loss': 5.0, 'distance': 5.0}
    """
    check_objective(objective)
    check_arguments(seed=seed)
    if sample_weight is not None:
        check_weighable(objective)
    reading: Any = {"shuffle": False, "resident": False, "weights": sample_weight}
    kind = Form.of(objective)._asdict()
    batches = batched(data, batch_size, default=1024, **reading, **kind)
    with explained(), evaluating(objective):
        return _evaluate(objective, batches, int(seed), None)


def _evaluate(
    objective: nn.Module, batches: InMemory | Loaded, seed: int, epoch: int | None
) -> dict[str, float]:
    """The means of a loss in evaluation mode, which the objective is in."""
    mean = Mean(epoch)
    # the same noise at every call, and none of it taken from the training's stream
    device = batches.form.device
    with torch.no_grad(), seeded(seed, device):
        for x, *others in batches:
            before = versions(x, *others)
            with deferred(device) as judged:
                loss = objective(x, *others)
            check_unaltered(before, x, *others)
            mean.add(loss, len(x), judged)
    return mean.value()


@contextlib.contextmanager
def _final(objective: Any, anneal: Callable[[Any, float], None]) -> Iterator[bool]:
    """Within it, settings are those at the end of training; whether they are not yet."""
    before = {name: value.clone() for name, value in settings(objective).items()}
    anneal(objective, 1.0)
    now = settings(objective)
    try:
        yield any(not torch.equal(value, now[name]) for name, value in before.items())
    finally:
        for name, value in before.items():
            now[name].copy_(value)


def _whole(batches: InMemory | Loaded, objective: nn.Module) -> Iterable[Batch]:
    """Batches that can be normalised: a last one of a single sample joins the one before.

    Our own layer takes such a batch, and many processes divide theirs before.
    """
    kinds = {type(m) for m in objective.modules() if isinstance(m, _BatchNorm) and m.training}
    alone = processes.members().size == 1
    return _joined(batches) if kinds - {Standardised} and alone else batches


def _check_normalised(objective: nn.Module, resting: Collection[nn.Module], size: int) -> None:
    """Refuse layers that would normalise each process's part of a batch by itself."""
    for name, module in objective.named_modules():
        own = isinstance(module, _BatchNorm) and module not in resting
        if own and not isinstance(module, Standardised | nn.SyncBatchNorm):
            raise ValueError(
                f"got a {type(module).__name__} at {name} in {size} processes, each of which would "
                "normalise its own part of a batch; expected what takes all of it: "
                "nn.SyncBatchNorm.convert_sync_batchnorm(model) on GPUs, or "
                "aebook.networks.Standardised"
            )


def _joined(batches: Iterable[Batch]) -> Iterator[Batch]:
    held: list[Batch] = []
    for batch in batches:
        if len(held) != 1 or len(held[0][0]) == 1 or len(batch[0]) > 1:
            yield from held
            held = []
        held.append(batch)
    if len(held) == 2:
        pairs = zip(*held, strict=True)
        held = [cast(Batch, tuple(b if a is None else torch.cat((a, b)) for a, b in pairs))]
    yield from held


def _asked(
    callback: Callable[[Any, History], Any] | None,
    objective: nn.Module,
    history: History,
    device: torch.device,
    path: Path | None,
) -> bool:
    """Whether the callback stops the run; it changes nothing that a checkpoint would miss."""
    if callback is None:
        return False
    before = {} if path is None else _state(objective)
    with aside(device):
        answer = callback(objective, history)
    after = {} if path is None else _state(objective)
    if changed := [n for n in {**before, **after} if not _same(before.get(n), after.get(n))]:
        raise ValueError(
            f"the callback has changed {', '.join(changed[:5])} of the objective, expected one "
            "that looks and stops where there is a checkpoint, from which a run could not go on "
            "like that: set what is set by anneal, a function of t, or leave out the checkpoint"
        )
    stop = taken("what the callback returned", answer, bool | None)
    return any(processes.gather(bool(stop)))


def _state(objective: nn.Module) -> dict[str, Any]:
    """What a callback may change: tensors, what is trained, numbers such as a rate of dropout."""
    state = objective.state_dict()
    found: dict[str, Any] = {
        name: value.clone() for name, value in state.items() if isinstance(value, Tensor)
    }
    for name, parameter in objective.named_parameters():
        found[f"requires_grad of {name}"] = parameter.requires_grad
    for path, module in objective.named_modules():
        for name, value in vars(module).items():
            # the mode is set at each epoch anew
            if name != "training" and isinstance(value, bool | int | float | str):
                found[f"{path}.{name}".strip(".")] = value
    return found


def _same(a: Any, b: Any) -> bool:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return a is b or str(a) == str(b)
    # NaN is NaN
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


@contextlib.contextmanager
def _alone(path: Path | None) -> Iterator[None]:
    """Within it, the first process holds the path, and all go on or none does."""
    with contextlib.ExitStack() as stack:
        refused = None
        if path is not None and processes.members().rank == 0:
            try:
                replaceable(path)
                stack.enter_context(locked(path))
            except ValueError as error:
                refused = str(error).replace("got path=", "got checkpoint=")
        if path is not None and (refused := processes.broadcast(refused)) is not None:
            raise ValueError(refused)
        yield


def _factor(schedule: Schedule, t: float) -> float:
    return taken(f"schedule({t:.4g})", schedule(t), float)


def _contents(batches: InMemory | Loaded | None) -> Any:
    """What data are; of arrays that are read in parts a few rows stand for all."""
    if isinstance(batches, Loaded):
        loader = batches.loader
        ways = ("dataset", "drop_last", "collate_fn", "generator")
        order = {name: _order(getattr(loader, name)) for name in ("sampler", "batch_sampler")}
        return order | {name: getattr(loader, name) for name in ways}
    if batches is None:
        return None
    parts = {"x": batches.x, "target": batches.target, "weight": batches.weight}
    return {name: _stands_for(part) for name, part in parts.items()}


def _stands_for(part: Any) -> Any:
    if part is None or isinstance(part, Tensor) or issparse(part):
        return part if part is None else digest(part)
    return [f"{type(part).__name__} {part.dtype} {tuple(part.shape)}", *_some(part)]


def _order(sampler: Any) -> Any:
    """What a sampler is and has, but for the data and for what moves as it draws."""
    if not hasattr(sampler, "__dict__"):
        return sampler
    found = copy.copy(sampler)
    for name in ("data_source", "dataset", "epoch", "rank", "key"):
        vars(found).pop(name, None)
    if "sampler" in vars(found):
        vars(found)["sampler"] = _order(vars(found)["sampler"])
    return found


def _some(values: Any) -> list[np.ndarray]:
    """The first row, one in the middle, and the last."""
    n = values.shape[0]
    return [np.asarray(values[k : k + 1]) for k in sorted({0, n // 2, n - 1})]


def _compiled(run: nn.Module) -> Callable[..., Loss]:
    # noise is drawn as without compilation: the same numbers, by faster code on a CPU
    options: dict[str, Any] = {"options": {"fallback_random": True}}
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        # by default the ninth kind of network that a process compiles runs as it is, with a warning
        options["recompile_limit"] = 256
    return torch.compile(run, **options)


@contextlib.contextmanager
def _on(objective: nn.Module, device: torch.device) -> Iterator[None]:
    """Move to a device and, whatever happens, back, in evaluation mode."""
    with moved(objective, device):
        try:
            yield
        finally:
            objective.eval()


def _autocast(
    device: torch.device, precision: torch.dtype | None
) -> contextlib.AbstractContextManager:
    if precision is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


def _length(batches: InMemory | Loaded) -> int | None:
    try:
        return len(batches)
    except TypeError:
        return None
