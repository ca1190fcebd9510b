"""The named members of the family: each is a short function that returns an objective.

What a variant does not offer as an argument, the parts do: ``Objective(Autoencoder(encoder,
decoder, bottleneck), corruption, distance, penalties)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from aebook.core import Autoencoder, Objective
from aebook.distances import squared_error
from aebook.networks import Activation, mlp, tied_decoder

__all__ = ["linear", "plain"]


def plain(
    widths: Sequence[int],
    *,
    activation: Activation | None = nn.ReLU,
    code: Activation | None = None,
    output: Activation | None = nn.Sigmoid,
    tied: bool = False,
    distance: Callable[[Tensor, Tensor], Tensor] = squared_error,
) -> Objective:
    r"""The basic autoencoder: :math:`\min_{θ,φ} E_x[d(x, D_θ(E_φ(x)))]`.

    Parameters
    ----------
    widths
        Units from message to code, ``(784, 256, 32)``; the decoder mirrors them.
    activation
        Of the hidden layers of both networks, as something that makes a module.
    code
        Of the code layer; None: a linear code.
    output
        Of the reconstruction. The default suits messages in [0, 1]; None suits any others.
    tied
        Whether the decoder's weights are the encoder's, transposed.
    distance
        See :mod:`aebook.distances`.
    """
    encoder = mlp(widths, activation=activation, output=code)
    if tied:
        decoder = tied_decoder(encoder, activation=activation, output=output)
    else:
        decoder = mlp(tuple(widths)[::-1], activation=activation, output=output)
    return Objective(Autoencoder(encoder, decoder), distance=distance)


def linear(widths: Sequence[int], *, bias: bool = True, tied: bool = False) -> Objective:
    r"""The linear autoencoder, :math:`\min E_x \|x - (W_2(W_1 x + b_1) + b_2)\|^2`.

    Its optimum spans the principal subspace (Baldi & Hornik 1989); see :mod:`aebook.linear`.

    Parameters
    ----------
    widths
        Units from message to code, ``(784, 2)``; more than two widths make a deep linear network.
    bias
        Without biases the data must be centred for the theorem to hold.
    tied
        Whether :math:`W_2 = W_1^\top`.
    """
    encoder = mlp(widths, activation=None, bias=bias)
    if tied:
        decoder = tied_decoder(encoder, activation=None, bias=bias)
    else:
        decoder = mlp(tuple(widths)[::-1], activation=None, bias=bias)
    return Objective(Autoencoder(encoder, decoder))
