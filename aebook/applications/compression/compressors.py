"""The compressors that ship with the package, and the fixed transform that they have to beat.

How they were trained, on which photographs, and how well they do is in ``weights/README.md`` beside
this file.

>>> codec = bitstream.Codec(compressors.trained(48))
>>> data = codec.compress(image)
"""

from __future__ import annotations

import torch
from torch import nn

from aebook._internal.contract import checked
from aebook.applications import pretrained
from aebook.applications.compression.transform import transform_coder
from aebook.core import Autoencoder

__all__ = ["STEPS", "cosine", "trained"]

#: The steps of their quantisers, in grey levels; 28 spends most bits.
STEPS = (28, 48, 80, 140)


@checked
def trained(step: int = 48) -> Autoencoder:
    """A trained compressor.

    Parameters
    ----------
    step
        One of :data:`STEPS`.

    Examples
    --------
    >>> from aebook.applications.compression import compressors
    >>> compressors.trained(48).reconstruct(torch.rand(1, 3, 32, 32)).shape
    torch.Size([1, 3, 32, 32])
    """
    # in the file its weights are half as long
    return pretrained.load(f"compression-{_checked(step)}").float()


@checked
def cosine(step: int = 48) -> Autoencoder:
    """The cosine and Haar transforms that training starts from, with priors of their own.

    These priors were trained on the same photographs; all 64 coefficients of each colour are kept.

    Parameters
    ----------
    step
        One of :data:`STEPS`.

    Examples
    --------
    >>> from aebook.applications.compression import compressors
    >>> compressors.cosine(48).encode(torch.rand(1, 3, 32, 32)).shape  # 3 · 64 · 4 numbers a square
    torch.Size([1, 768, 2, 2])
    """
    fixed = transform_coder(_checked(step) / 255, hidden=1, kept=(64, 64)).model
    priors = pretrained.load(f"compression-cosine-{step}").bottleneck
    model = Autoencoder(fixed.encoder, fixed.decoder, priors)
    with torch.no_grad():
        for part in (model.encoder, model.decoder):
            # they take no part, but they are random, and a codec knows a model by all its weights
            for parameter in part.residual.parameters():
                nn.init.zeros_(parameter)
    return model.float().eval()


def _checked(step: int) -> int:
    if step not in STEPS:
        raise ValueError(f"got step={step!r}, expected one of {STEPS}")
    return step
