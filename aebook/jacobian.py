r"""The encoder's Jacobian and its squared Frobenius norm: the contractive penalty.

.. math::

    \|J(x)\|_F^2 = \sum_{ij} \Bigl(\frac{∂E_i}{∂x_j}(x)\Bigr)^2

For fully connected layers :math:`h_k = σ(W_k h_{k-1} + b_k)` the Jacobian is a product,
:math:`J = D_L W_L \cdots D_1 W_1` with :math:`D_k = \mathrm{diag}\, σ'`. It is multiplied out from
the side that needs less work; :math:`\|MW\|_F^2 = \mathrm{tr}(M\,WW^\top M^\top)` spares the last,
largest product. Any other encoder is differentiated by autograd, one code unit at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from aebook._internal.checks import whole
from aebook._internal.contract import checked
from aebook._internal.modes import unshared
from aebook.core import Autoencoder, Pass
from aebook.networks import Chain

__all__ = ["by_autograd", "contractive", "jacobian", "squared_norm"]

# modules that act on each entry alone, and always alike
ELEMENTWISE = (
    *(nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardswish, nn.Hardtanh),
    *(nn.Identity, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU),
    *(nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink),
)


@checked
def contractive(
    kind: Literal["exact", "hutchinson"] = "exact", probes: int = 1
) -> Callable[[Pass], Tensor]:
    r"""Contractive penalty :math:`\|J_E(x)\|_F^2`, one value a sample (Rifai et al. 2011).

    It is taken at the clean messages, also where an objective corrupts them: what should resist
    small changes is the encoder as it is used afterwards. A bottleneck plays no part: J is the
    Jacobian of the encoder before it. A decoder with weights of its own can escape the penalty,
    since E/c and D(c·) reconstruct the same for 1/c² of it: tie them, or penalise the decoder's.

    Parameters
    ----------
    kind
        ``"exact"``, or ``"hutchinson"``, an unbiased estimate at the price of about one more pass.
    probes
        Random vectors a sample for the estimate; its variance falls as 1/probes.

    Returns
    -------
    callable
        A penalty, (B,), in squared units of code over message; :func:`squared_norm` computes it.
        An objective refuses it for an encoder with batch normalisation, whose code of one sample
        depends on all and so has no Jacobian of its own.

    Examples
    --------
    >>> from aebook.jacobian import contractive
    >>> model = aebook.Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3))
    >>> objective = aebook.Objective(model, penalties={"contractive": (1.0, contractive())})
    >>> loss = objective(torch.rand(5, 3))
    >>> torch.allclose(loss.terms["contractive"], model.encoder.weight.square().sum())
    True
    """
    _check_kind(kind, probes)
    penalty: Any = partial(_contractive, kind=kind, probes=probes)
    penalty.check = _check_samples_apart
    return penalty


@checked
def squared_norm(
    encoder: nn.Module,
    x: Tensor,
    kind: Literal["exact", "hutchinson"] = "exact",
    probes: int = 1,
) -> Tensor:
    r"""Squared Frobenius norm of the Jacobian at each message, :math:`\|J(x)\|_F^2`, (B,).

    The estimate is the mean of :math:`\|v^\top J\|^2` over vectors v of random signs, whose
    expectation is :math:`\mathrm{tr}(J^\top E[vv^\top] J) = \|J\|_F^2` (Hutchinson 1990).

    Parameters
    ----------
    encoder
        Any map of a batch that treats its samples apart. Layers of ``nn.Linear`` and elementwise
        activations in a row, as :func:`aebook.networks.mlp` makes them, take the fast road.
    x
        Messages, (B, ...).
    kind, probes
        As in :func:`contractive`. The estimate draws from PyTorch's global generator.

    Examples
    --------
    >>> from aebook.jacobian import squared_norm
    >>> x = torch.tensor([[2.0, -3.0], [1.0, 1.0]])
    >>> squared_norm(torch.nn.ReLU(), x).tolist()  # of two units one is on, and both
    [1.0, 2.0]
    """
    _check_kind(kind, probes)
    return _squared_norm(encoder, x, kind, probes)


def _squared_norm(encoder: nn.Module, x: Tensor, kind: str, probes: int) -> Tensor:
    if isinstance(encoder, Chain):
        encoder.check(x)
    layers = _linear_layers(encoder) if x.dim() == 2 else None
    # in the precision of the weights, since squares soon leave the range of float16
    with torch.autocast(x.device.type, enabled=False):
        if layers is None:
            return _by_autograd(encoder, x, probes if kind == "hutchinson" else None)
        weights, slopes = [linear.weight for linear, _ in layers], _slopes(layers, x)
        if kind == "hutchinson":
            return _estimate(weights, slopes, probes, len(x))
        return _exact(weights, slopes, len(x))


@checked
def jacobian(encoder: nn.Module, x: Tensor) -> Tensor:
    r"""Jacobians :math:`J_{ij} = ∂E_i / ∂x_j` for looking at, without gradients of their own.

    Parameters
    ----------
    encoder, x
        As in :func:`squared_norm`; a code is flattened to p numbers.

    Returns
    -------
    Tensor
        (B, p, m), with the m entries of a message in a row.

    Examples
    --------
    >>> from aebook.jacobian import jacobian
    >>> jacobian(torch.nn.ReLU(), torch.tensor([[2.0, -3.0]]))  # 1 where it is on, else 0
    tensor([[[1., 0.],
             [0., 0.]]])
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        units = encoder(unshared(encoder, x)).flatten(1).unbind(1)
        rows = [torch.autograd.grad(unit.sum(), x, retain_graph=True)[0] for unit in units]
    return torch.stack([row.flatten(1) for row in rows], dim=1)


def _contractive(seen: Pass, kind: Literal["exact", "hutchinson"], probes: int) -> Tensor:
    return _squared_norm(seen.model.encoder, seen.x, kind, probes)


def _check_kind(kind: str, probes: int) -> None:
    whole("probes", probes)
    if kind == "exact" and probes != 1:
        raise ValueError(f"got probes={probes} with kind='exact', which draws none: leave it out")


def _check_samples_apart(model: Autoencoder) -> None:
    kinds = [type(m).__name__ for m in model.encoder.modules() if isinstance(m, _BatchNorm)]
    if kinds:
        raise ValueError(
            f"got the penalty contractive with an encoder that has {kinds[0]}, expected one that "
            "treats samples apart: use nn.LayerNorm or nn.GroupNorm instead"
        )


# any encoder


@checked
def by_autograd(encoder: nn.Module, x: Tensor, probes: int | None = None) -> Tensor:
    r"""The squared norm :math:`\|J\|_F^2` of any encoder, one gradient a code unit, (B,).

    Parameters
    ----------
    encoder
        Maps messages to codes, each message by itself.
    x
        Messages, (B, ...).
    probes
        So many random directions, for an estimate, in place of one for each code unit.

    Examples
    --------
    >>> from aebook.jacobian import by_autograd
    >>> encoder, x = torch.nn.Linear(3, 2), torch.rand(1, 3)
    >>> torch.allclose(by_autograd(encoder, x), encoder.weight.square().sum())
    True
    """
    return _by_autograd(encoder, x, None if probes is None else whole("probes", probes))


def _by_autograd(encoder: nn.Module, x: Tensor, probes: int | None) -> Tensor:
    recording = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x if recording and x.requires_grad else x.detach().requires_grad_()
        code = encoder(unshared(encoder, x)).flatten(1)
    if probes is None:
        units = torch.eye(code.shape[1], dtype=code.dtype, device=code.device)
        cotangents = [unit.expand_as(code) for unit in units]
    else:
        cotangents = [_signs(code.shape, code) for _ in range(probes)]
    norm = x.new_zeros(len(x))
    for v in cotangents:
        (row,) = torch.autograd.grad(code, x, v, retain_graph=True, create_graph=recording)
        norm = norm + row.square().flatten(1).sum(1)
    return norm if probes is None else norm / probes


def _signs(shape: Sequence[int], like: Tensor) -> Tensor:
    return torch.randint(0, 2, tuple(shape), device=like.device).to(like.dtype) * 2 - 1


# linear layers and elementwise activations in a row

Layer = tuple[nn.Linear, list[nn.Module]]
Diagonal = Tensor | None  # None is the identity


def _linear_layers(encoder: nn.Module) -> list[Layer] | None:
    """The linear layers, each with the activations behind it; None if there is anything else."""
    layers: list[Layer] = []
    for module in _flat(encoder):
        if type(module) is nn.Linear:
            layers.append((module, []))
        elif type(module) in ELEMENTWISE and layers:
            layers[-1][1].append(module)
        else:
            return None
    return layers or None


def _flat(module: nn.Module) -> list[nn.Module]:
    if module._forward_hooks or module._forward_pre_hooks:
        return [nn.Module()]  # a hook may do anything
    if isinstance(module, nn.Sequential) and type(module) in (nn.Sequential, Chain):
        return [part for child in module for part in _flat(child)]
    return [module]


def _slopes(layers: Sequence[Layer], x: Tensor) -> list[Diagonal]:
    """σ' of every layer, (B, n); None stands for the slope 1 of a layer without activation."""
    slopes = []
    for linear, activations in layers:
        a = linear(x)
        x, slope = a, None
        for activation in activations:
            x, factor = _apply(activation, x)
            if factor is not None:
                slope = factor if slope is None else slope * factor
        slopes.append(slope)
    return slopes


def _apply(activation: nn.Module, a: Tensor) -> tuple[Tensor, Tensor | None]:
    """An activation's value and its slope at ``a``."""
    if type(activation) is nn.Identity:
        return a, None
    if type(activation) is nn.Sigmoid:
        return (h := a.sigmoid()), h * (1 - h)
    if type(activation) is nn.Tanh:
        return (h := a.tanh()), 1 - h.square()
    if type(activation) is nn.ReLU:
        return a.relu(), (a > 0).to(a.dtype)
    recording = torch.is_grad_enabled() and a.requires_grad
    with torch.enable_grad():
        a = a if recording else a.detach().requires_grad_()
        h = activation(a.clone())  # a clone, in case it works in place
        (slope,) = torch.autograd.grad(h.sum(), a, create_graph=recording)
    return h if recording else h.detach(), slope


def _exact(weights: list[Tensor], slopes: list[Diagonal], batch: int) -> Tensor:
    if len(weights) == 1:
        norms = weights[0].square().sum(1)
        return norms.sum().expand(batch) if slopes[0] is None else slopes[0].square() @ norms
    # J = D_L W_L ... D_1 W_1 from the code's side, its transpose from the message's side
    from_code = (weights[::-1], [*slopes[::-1], None])
    from_message = ([weight.T for weight in weights], [None, *slopes])
    cheaper = from_code if _work(from_code) <= _work(from_message) else from_message
    return _product_norm(*cheaper, batch)


def _work(chain: tuple[list[Tensor], list[Diagonal]]) -> int:
    """Multiplications a sample for :func:`_product_norm`, up to what does not grow with B."""
    factors, diagonals = chain
    rows, inner = factors[0].shape
    if all(d is None for d in diagonals[:-2]) and diagonals[-1] is None:
        return factors[-1].shape[0] ** 2
    middle = sum(factor.numel() for factor in factors[1:-1])
    last = factors[-1].shape[1] if diagonals[-1] is not None else min(factors[-1].shape)
    return rows * (inner + middle + factors[-1].shape[0] * last)


def _product_norm(factors: list[Tensor], diagonals: list[Diagonal], batch: int) -> Tensor:
    """Squared norm of D_0 A_1 D_1 ... A_n D_n, (B,); without batch dimension up to the first D."""
    product = factors[0]
    for factor, diagonal in zip(factors[1:-1], diagonals[1:-2], strict=True):
        product = _scaled(product, diagonal) @ factor
    first, inner, outer, last = diagonals[0], *diagonals[-2:], factors[-1]

    if first is None and outer is None and inner is not None and product.dim() == 2:
        # tr(P D A Aᵀ D Pᵀ) = dᵀ (PᵀP ∘ AAᵀ) d: neither code nor message is left in it
        form = (product.T @ product) * (last @ last.T)
        return ((inner @ form) * inner).sum(1)
    product = _scaled(product, inner)
    if outer is None and last.shape[0] < last.shape[1]:
        rows, _ = _Quadratic.apply(product, last @ last.T)
    else:
        rows = _scaled(product @ last, outer).square().sum(-1)
    # the first diagonal scales whole rows, so it can wait until they are numbers
    return (rows if first is None else rows * first.square()).sum(-1).expand(batch)


class _Quadratic(torch.autograd.Function):
    """xᵀGx of each row, for a symmetric G; the gradient 2Gx is what the value was made from."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
        mapped = rows @ gram
        return (rows * mapped).sum(-1), mapped

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        rows, gram, mapped = ctx.saved_tensors
        if torch.is_grad_enabled():  # someone wants to differentiate the gradient
            mapped = rows @ gram
        grad, n = gradients[0][..., None], len(gram)
        return 2 * grad * mapped, (grad * rows).reshape(-1, n).T @ rows.reshape(-1, n)


def _scaled(product: Tensor, diagonal: Tensor | None) -> Tensor:
    return product if diagonal is None else product * diagonal[:, None, :]


def _estimate(weights: list[Tensor], slopes: list[Diagonal], *shape: int) -> Tensor:
    row = _signs((*shape, weights[-1].shape[0]), weights[-1])  # (probes, B, p)
    for weight, slope in zip(weights[::-1], slopes[::-1], strict=True):
        row = (row if slope is None else row * slope) @ weight
    return row.square().sum(-1).mean(0)
