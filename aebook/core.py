r"""One equation, one class.

.. math::

    L(θ, φ) = E_x E_T [\, d(x, D_θ(b(E_φ(T(x))))) \,] + Σ_i λ_i Ω_i

:class:`Autoencoder` holds what is used after training: the encoder :math:`E_φ`, the bottleneck
:math:`b` and the decoder :math:`D_θ`. :class:`Objective` holds what is trained: the corruption
:math:`T`, the distance :math:`d`, the penalties :math:`λ_i Ω_i`. Its ``forward`` is the equation.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aebook._internal.checks import number, shown, tensors
from aebook._internal.contract import checked
from aebook._internal.modes import unshared, works_in_place
from aebook.distances import squared_error

__all__ = [
    "Autoencoder",
    "Loss",
    "Objective",
    "Pass",
    "Penalty",
    "averaged",
    "check_objective",
    "check_term",
    "check_weighable",
    "layers",
    "settings",
    "trainable",
]


class Autoencoder(nn.Module):
    r"""Encoder, bottleneck and decoder: :math:`x' = D_θ(z)` with :math:`z = b(E_φ(x))`.

    This is the part for use after training. In evaluation mode, where :func:`aebook.fit` leaves
    it, its methods are deterministic, refuse messages that are not finite, and record gradients
    only for an input that asks for them (``x.requires_grad``), so that results can be handed
    straight to NumPy. To differentiate in the weights, use training mode or the parts themselves.

    Parameters
    ----------
    encoder
        Maps a batch of messages, shape (B, ...), to what the bottleneck takes, usually (B, p).
    decoder
        Maps a batch of codes to reconstructions with the shape of the messages.
    bottleneck
        Maps the encoder's output to the code. The default leaves it as it is.

    Examples
    --------
    >>> model = aebook.Autoencoder(torch.nn.Linear(8, 2), torch.nn.Linear(2, 8))
    >>> x = torch.rand(5, 8)
    >>> model.encode(x).shape, model.reconstruct(x).shape
    (torch.Size([5, 2]), torch.Size([5, 8]))
    >>> torch.equal(model.decode(model.encode(x)), model.reconstruct(x))
    True
    """

    # modules of any class, whose own methods and attributes may be asked for
    encoder: Any
    bottleneck: Any
    decoder: Any

    @checked
    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, bottleneck: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.bottleneck = nn.Identity() if bottleneck is None else bottleneck
        self.decoder = decoder

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {}

    def encode(self, x: Tensor) -> Tensor:
        """Codes :math:`z = b(E_φ(x))` of a batch of messages (B, ...)."""
        with self._recording(x):
            code = self.bottleneck(self.encoder(unshared(self.encoder, x)))
        tensors(**{"what the encoder gave": code})
        return code

    def decode(self, z: Tensor) -> Tensor:
        """Reconstructions :math:`D_θ(z)` of a batch of codes (B, ...)."""
        with self._recording(z):
            reconstruction = self.decoder(unshared(self.decoder, z))
        tensors(**{"what the decoder gave": reconstruction})
        return reconstruction

    def reconstruct(self, x: Tensor) -> Tensor:
        """Reconstructions :math:`x' = D_θ(b(E_φ(x)))`, with the shape of ``x``."""
        return self.decode(self.encode(x))

    def forward(self, x: Tensor) -> Tensor:
        """The same as :meth:`reconstruct`."""
        return self.reconstruct(x)

    def _recording(self, given: Tensor) -> torch.set_grad_enabled:
        """Check an input to inference; in evaluation mode, record gradients only if it asks."""
        if not isinstance(given, Tensor):
            raise ValueError(
                f"got {type(given).__name__}, expected a tensor: aebook.encode(model, data), "
                "decode and reconstruct take data in any form"
            )
        tensors(x=given)
        if self.training:
            return torch.set_grad_enabled(torch.is_grad_enabled())
        if not torch.compiler.is_compiling() and not given.isfinite().all():
            raise ValueError(
                "got an input that has NaN or infinite values; expected finite ones: "
                "clean the data or fill what is missing first"
            )
        return torch.set_grad_enabled(torch.is_grad_enabled() and given.requires_grad)


class Pass(NamedTuple):
    """One pass of a batch through the equation: all that a penalty may look at."""

    model: Autoencoder
    """The autoencoder, for penalties on weights or on derivatives."""
    x: Tensor
    """The messages, clean, (B, ...)."""
    corrupted: Tensor
    """What the encoder saw, T(x), (B, ...)."""
    activations: tuple[Tensor, ...]
    """Outputs of the encoder's layers, first to last, of a chain or an ``nn.Sequential`` each, of
    any other encoder the one output."""
    code: Tensor
    """The code z = b(E(T(x)))."""
    reconstruction: Tensor
    """The reconstruction x' = D(z)."""


#: A penalty Ω, one value a sample, (B,), or a scalar.
Penalty = Callable[[Pass], Tensor]


class Loss(NamedTuple):
    """The loss of a batch: a scalar and the named parts that it is the sum of.

    Examples
    --------
    >>> loss = aebook.variants.plain((8, 2))(torch.rand(5, 8))
    >>> list(loss.terms), torch.equal(loss.total, sum(loss.terms.values()))
    (['distance'], True)
    """

    total: Tensor
    """The scalar that is minimised."""
    terms: dict[str, Tensor]
    """``"distance"`` and one entry a penalty (its weight included), each a scalar."""


class Objective(nn.Module):
    r"""What is trained: :math:`E_x E_T[d(x, D(b(E(T(x)))))] + Σ_i λ_i Ω_i`.

    Parameters
    ----------
    model
        The autoencoder.
    corruption
        :math:`T`, a map from messages to messages of the same shape, applied in training and in
        evaluation alike; inference through ``model`` never sees it. The default is none.
    distance
        :math:`d(x', x)`: takes reconstructions and targets and returns one value a sample, (B,).
    penalties
        ``{name: (λ, Ω)}``. Each Ω takes a :class:`Pass` and returns one value a sample, (B,), or a
        scalar if it is a property of the weights or of the batch as a whole. An Ω (or a distance)
        with a method ``check(model)`` is asked at construction and may refuse with a ValueError.
        Each λ is a buffer, so that a schedule can set it (:meth:`set_weight`).

    Examples
    --------
    >>> from aebook.penalties import activity
    >>> model = aebook.Autoencoder(torch.nn.Identity(), torch.nn.Identity())
    >>> objective = aebook.Objective(model, lambda x: x + 1, penalties={"l1": (0.5, activity())})
    >>> objective(torch.zeros(3, 2)).terms  # x' = x + 1, in two dimensions
    {'distance': tensor(2.), 'l1': tensor(1.)}
    """

    @checked
    def __init__(
        self,
        model: Autoencoder,
        corruption: Callable[[Tensor], Tensor] | None = None,
        distance: Callable[[Tensor, Tensor], Tensor] = squared_error,
        penalties: Mapping[str, tuple[float, Penalty]] | None = None,
    ) -> None:
        super().__init__()
        if works_in_place(model.bottleneck):
            raise ValueError(
                "got a bottleneck that works in place, expected one that leaves what the encoder "
                "gave as it is, since penalties look at it: leave out inplace=True"
            )
        self.model = model
        self.corruption = corruption
        self.distance = distance
        self.penalties: dict[str, Penalty] = {}
        for name, (weight, penalty) in (penalties or {}).items():
            if not name.isidentifier() or name in ("distance", "loss"):
                raise ValueError(
                    f"got {name!r} as the name of a penalty, expected an identifier other than "
                    "'distance' and 'loss'"
                )
            self.penalties[name] = penalty
            self.register_buffer(f"weight_{name}", torch.tensor(_weight(name, weight)))
            if isinstance(penalty, nn.Module):
                self.add_module(f"penalty_{name}", penalty)
        for part in (distance, *self.penalties.values()):
            if (check := getattr(part, "check", None)) is not None:
                check(model)
        # the model stays in the mode that it is in, and so does each of its parts; beside one that
        # is trained, a distance that learns σ from what it sees learns no more
        self.training = model.training
        for child in () if model.training else self.children():
            if child is not model:
                child.eval()

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the buffers that are set and not learnt, the weights λ. See :func:`settings`."""
        return tuple(f"weight_{name}" for name in self.penalties)

    def weight(self, name: str) -> Tensor:
        """The weight λ of the named penalty, a scalar buffer."""
        if not isinstance(name, str) or name not in self.penalties:
            raise ValueError(f"got {name!r}, expected one of the penalties {list(self.penalties)}")
        return self.get_buffer(f"weight_{name}")

    def set_weight(self, name: str, value: float) -> None:
        """Set the weight λ of the named penalty, for instance from a schedule."""
        self.weight(name).fill_(_weight(name, value))

    def corrupted(self, x: Tensor) -> Tensor:
        """What the encoder sees, T(x)."""
        tensors(x=x)
        # a copy, for a corruption that works in place would change the target too
        return x if self.corruption is None else self.corruption(x.clone())

    def per_sample(self, x: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        """Every term before it is averaged: name to a tensor of shape (B,), or a scalar.

        ``target`` is what should be reconstructed; the default is ``x`` itself.
        """
        model, target = self.model, x if target is None else target
        corrupted = self.corrupted(x)
        tensors(corrupted=corrupted, target=target)
        activations = layers(model.encoder, corrupted)
        code = model.bottleneck(activations[-1])
        reconstruction, distance = self.decoded(code, target)
        seen = Pass(model, x, corrupted, activations, code, reconstruction)
        return {"distance": distance, **self.penalised(seen)}

    def decoded(self, code: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The reconstruction D(z), and its distance d from the target, (B,)."""
        # a decoder that writes one symbol after another is told those before: D(z, x_<t)
        told = (target,) if getattr(self.model.decoder, "autoregressive", False) else ()
        reconstruction = self.model.decoder(unshared(self.model.decoder, code), *told)
        tensors(**{"what the decoder gave": reconstruction})
        distance = self.distance(reconstruction, target)
        check_term("distance", distance, ((len(target),),))
        return reconstruction, distance

    def penalised(self, seen: Pass, without: str | None = None) -> dict[str, Tensor]:
        r"""The terms :math:`λ_i Ω_i` of a pass by name, each (B,) or a scalar.

        ``without`` names a penalty that is left out.
        """
        terms = {}
        for name, penalty in self.penalties.items():
            if name != without:
                term = penalty(seen)
                check_term(name, term, ((len(seen.x),), ()))
                terms[name] = self.weight(name) * term
        return terms

    def forward(
        self, x: Tensor, target: Tensor | None = None, weight: Tensor | None = None
    ) -> Loss:
        """The loss of a batch: every term averaged over its samples, and their sum.

        ``weight`` is what each sample counts, (B,), with mean 1 over the data.
        """
        terms = {name: averaged(term, weight) for name, term in self.per_sample(x, target).items()}
        return Loss(functools.reduce(operator.add, terms.values()), terms)


@checked
def settings(network: nn.Module) -> dict[str, Tensor]:
    """What a person or a schedule sets in a network, by its name in ``network.state_dict()``.

    A weight λ, a temperature τ, the k of top-k, a fixed σ: each module names the buffers of that
    kind in its attribute ``settings``. All others are learnt, as running statistics are. What is
    set is never taken from a checkpoint and never brought back by early stopping.

    Parameters
    ----------
    network
        Any module; one of your own may have ``settings`` too, a tuple of names.

    Examples
    --------
    >>> from aebook.core import settings
    >>> settings(aebook.variants.k_sparse((784, 100), k=10))
    {'model.bottleneck.k': tensor(10)}
    """
    return {
        f"{path}.{name}" if path else name: module.get_buffer(name)
        for path, module in network.named_modules(remove_duplicate=False)
        for name in getattr(module, "settings", ())
    }


def averaged(term: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""The mean of a term over the samples of a batch, :math:`\frac1B \sum_n w_n t_n`.

    Parameters
    ----------
    term
        One value a sample, (B,), or a scalar, which has none to weigh.
    weight
        What each sample counts, (B,), with mean 1 over the data; the default is 1.

    Examples
    --------
    >>> from aebook.core import averaged
    >>> term = torch.tensor([1.0, 3.0])
    >>> averaged(term), averaged(term, torch.tensor([0.5, 1.5]))
    (tensor(2.), tensor(2.5000))
    """
    if weight is None:
        return term.mean()
    tensors(weight=weight)
    return (weight * term if term.dim() else term).mean()


def check_term(name: str, term: Any, shapes: tuple[tuple[int, ...], ...]) -> None:
    """Refuse a term of a loss that has not one value a sample.

    Parameters
    ----------
    name
        What it is called.
    term
        What a distance or a penalty gave.
    shapes
        Those that it may have.
    """
    tensors(**{f"the term {name!r}": term})
    if not term.is_floating_point():
        raise ValueError(
            f"got a loss whose term {name!r} is of {term.dtype}, expected floating point, "
            "which has a mean and a gradient"
        )
    if term.shape not in shapes:
        raise ValueError(
            f"got a loss whose term {name!r} has shape {tuple(term.shape)}, expected one value a "
            f"sample, {shapes[0]}, or, of a penalty, a scalar: sum over the message alone, as "
            "aebook.distances do"
        )


def check_weighable(objective: nn.Module) -> None:
    """Refuse weights of samples for an objective whose ``forward`` does not take them.

    Parameters
    ----------
    objective
        What :func:`aebook.fit` takes.
    """
    if "weight" not in inspect.signature(objective.forward).parameters:
        raise ValueError(
            f"got sample_weight with a {type(objective).__name__}, expected an objective with "
            "forward(x, target, weight): average its terms by aebook.core.averaged(term, weight)"
        )


def check_objective(objective: nn.Module) -> None:
    """Refuse a model where an objective is meant.

    Parameters
    ----------
    objective
        What :func:`aebook.fit` takes.
    """
    if isinstance(objective, Autoencoder):
        raise ValueError(
            "got an Autoencoder, expected an Objective, which says what it is trained for: "
            "aebook.Objective(model)"
        )


def trainable(objective: nn.Module) -> list[nn.Parameter]:
    """What training may change; a ValueError where there is nothing, or for a model alone.

    Parameters
    ----------
    objective
        What :func:`aebook.fit` takes.

    Examples
    --------
    >>> from aebook.core import trainable
    >>> [tuple(p.shape) for p in trainable(aebook.variants.linear((4, 2), bias=False))]
    [(2, 4), (4, 2)]
    """
    check_objective(objective)
    parameters = [p for p in objective.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("got an objective with no parameter to train, expected one or more")
    return parameters


def layers(encoder: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Outputs of an encoder's layers, first to last: of a chain or an ``nn.Sequential`` each.

    Parameters
    ----------
    encoder
        Of any other encoder there is the one output.
    x
        What it sees, (B, ...).

    Examples
    --------
    >>> from aebook.core import layers
    >>> encoder = aebook.networks.mlp((784, 256, 32))
    >>> [tuple(h.shape) for h in layers(encoder, torch.rand(5, 784))]
    [(5, 256), (5, 32)]
    """
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"got {shown('encoder', encoder)}, expected a module")
    x = unshared(encoder, x)
    if (own := getattr(encoder, "layers", None)) is not None:
        return own(x)
    # a subclass with a forward of its own may do something else
    in_a_row = type(encoder).forward is nn.Sequential.forward
    if not isinstance(encoder, nn.Sequential) or not in_a_row or not len(encoder):
        output = encoder(x)
        tensors(**{"what the encoder gave": output})
        return (output,)
    if not encoder._forward_hooks and not encoder._forward_pre_hooks:
        return tuple(accumulate(encoder, lambda h, f: f(unshared(f, h)), initial=x))[1:]
    # what hooks do to the whole is done too; a copy, since the next layer may work in place
    outputs: list[Any] = []
    notes = [
        part.register_forward_hook(lambda part, given, output: outputs.append(output.clone()))
        for part in set(encoder)
    ]
    try:
        output = encoder(x)
    finally:
        for note in notes:
            note.remove()
    return (*outputs[:-1], output)


def _weight(name: str, value: Any) -> float:
    return number(f"the weight of {name!r}", value, least=0)
