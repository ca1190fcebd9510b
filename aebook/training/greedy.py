r"""Greedy layer-wise pre-training of any autoencoder whose decoder mirrors its encoder.

Layer k and the layer that mirrors it are a shallow autoencoder of what the layers below give:

.. math::

    \min E_x \|h_{k-1} - g_k(f_k(h_{k-1}))\|^2, \qquad h_k = f_k(h_{k-1}), \quad h_0 = x
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from aebook._internal.contract import checked
from aebook.core import Autoencoder, Objective
from aebook.data import Batch, Data, Form, batched
from aebook.distances import squared_error
from aebook.inference import evaluating, in_pieces
from aebook.networks import Chain
from aebook.training.history import History
from aebook.training.loop import fit

__all__ = ["layerwise"]


@checked
def layerwise(objective: Objective, data: Data, *, epochs: int, **options: Any) -> list[History]:
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
        Messages, whatever :func:`aebook.fit` takes. Targets are what the outermost pair has to
        reconstruct; the inner ones have the codes below.
    epochs
        Passes over the data for each pair.
    **options
        More for :func:`aebook.fit`: ``lr``, ``batch_size``, ``schedule``, ``seed`` and so on. The
        codes of ``validation`` are the validation data of the inner pairs, and they have the batch
        size of a ``DataLoader``. A ``checkpoint`` is refused: each pair is a run of its own.

    Returns
    -------
    list of History
        One a pair, outermost first.

    Raises
    ------
    ValueError
        If encoder and decoder are not chains of as many layers, or a pair does not fit.

    Examples
    --------
    >>> from aebook.training import layerwise
    >>> objective = aebook.variants.plain((8, 4, 2), code=torch.nn.ReLU)
    >>> histories = layerwise(objective, torch.rand(50, 8), epochs=2, seed=0)
    >>> [len(history) for history in histories]  # one for each pair of layers
    [2, 2]
    """
    if "checkpoint" in options:
        raise ValueError("got a checkpoint, expected none: each pair is a run of its own")
    model = objective.model
    _check_data(objective, data)
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
        _check_mirrored(up, pair, data, k)
        histories.append(fit(pair, data, epochs=epochs, **options))
        if isinstance(data, DataLoader):
            options["batch_size"] = data.batch_size
        data = in_pieces(pair, data, 1024, pair.model.encode)
        if options.get("validation") is not None:
            held_out = options["validation"]
            options["validation"] = in_pieces(pair, held_out, 1024, pair.model.encode)
    objective.eval()
    return histories


def _check_data(objective: Objective, data: Data) -> None:
    """Let the network refuse what does not fit it."""
    with evaluating(objective), torch.no_grad():
        objective.model.encoder(_first(objective, data)[0][:1])


def _first(objective: Objective, data: Data) -> Batch:
    form: Any = Form.of(objective)._asdict()
    one = batched(data, None, shuffle=False, default=1, ordered=True, resident=False, **form)
    return next(iter(one))


def _check_mirrored(encoder: Chain, pair: Objective, data: Data, k: int) -> None:
    x, target, *_ = _first(pair, data)
    with evaluating(encoder), evaluating(pair), torch.no_grad():
        if k == 0:
            # a chain says what it expected, a single layer does not
            encoder(x[:1])
        probe = pair.model(x[:1])
    expected = (x if target is None else target).shape
    if probe.shape[1:] != expected[1:]:
        raise ValueError(
            f"got a decoder whose layer for encoder layer {k + 1} returns "
            f"{tuple(probe.shape[1:])}, expected the {tuple(expected[1:])} that went in: mirror "
            "the encoder"
        )
