r"""Greedy layer-wise pre-training of any autoencoder whose decoder mirrors its encoder.

Layer k and the layer that mirrors it are a shallow autoencoder of what the layers below give:

.. math::

    \min E_x \|h_{k-1} - g_k(f_k(h_{k-1}))\|^2, \qquad h_k = f_k(h_{k-1}), \quad h_0 = x
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aebook.core import Autoencoder, Objective
from aebook.distances import squared_error
from aebook.networks import Chain
from aebook.training.history import History
from aebook.training.loop import fit

__all__ = ["layerwise"]


def layerwise(objective: Objective, data: Tensor, *, epochs: int, **options: Any) -> list[History]:
    r"""Train the layers of an objective in pairs, outermost first, in place (Bengio et al. 2007).

    Encoder layer k is trained together with the decoder layer that mirrors it and then left alone.
    The outermost pair has the objective's own distance, the inner ones the squared error. The
    corruption, if there is one, is applied to the input of every pair, which makes it a stacked
    denoising autoencoder (Vincent et al. 2010); penalties and the bottleneck are left for the
    fine-tuning, ``fit(objective, data, epochs=...)``.

    Parameters
    ----------
    objective
        What :func:`aebook.variants.plain` made, or another with two mirrored chains of layers.
    data
        Messages, (N, ...).
    epochs
        Passes over the data for each pair.
    **options
        More for :func:`aebook.fit`: ``lr``, ``batch_size``, ``schedule``, ``seed`` and so on.

    Returns
    -------
    list of History
        One a pair, outermost first.

    Raises
    ------
    ValueError
        If encoder and decoder are not chains of as many layers, or a pair does not fit.
    """
    model = objective.model
    up, down = model.encoder, model.decoder
    if not (isinstance(up, Chain) and isinstance(down, Chain) and len(up) == len(down)):
        raise ValueError(
            "got an encoder and a decoder that are not chains of as many layers; expected ones "
            "made by mlp or convolutional, whose layers can be paired"
        )
    histories = []
    for k, (encode, decode) in enumerate(zip(up, reversed(list(down)), strict=True)):
        pair = Objective(
            Autoencoder(nn.Sequential(encode), nn.Sequential(decode)),
            objective.corruption,
            objective.distance if k == 0 else squared_error,
        )
        with torch.no_grad():
            probe = pair.model(data[:1].to(next(pair.parameters())))
        if probe.shape != data[:1].shape:
            raise ValueError(
                f"the decoder's layer for encoder layer {k + 1} returns {tuple(probe.shape[1:])}, "
                f"expected the {tuple(data.shape[1:])} that went in: mirror the encoder"
            )
        histories.append(fit(pair, data, epochs=epochs, **options))
        with torch.no_grad():
            data = torch.cat([pair.model.encode(part) for part in data.split(1024)])
    objective.eval()
    return histories
