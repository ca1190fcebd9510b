"""Encoder and decoder as ONNX files, for programs that have no PyTorch. Needs ``aebook[onnx]``."""

from __future__ import annotations

import copy
import logging
import os
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aebook._internal.checks import need
from aebook._internal.contract import checked
from aebook._internal.files import replace
from aebook.bottlenecks import TopK
from aebook.core import Autoencoder
from aebook.sparse import SparseLinear, SparseTransposed

__all__ = ["export"]

#: Largest difference from PyTorch, relative to outputs above 1.
TOLERANCE = 1e-5


@checked
def export(
    model: Autoencoder,
    x: Tensor,
    encoder: str | os.PathLike[str],
    decoder: str | os.PathLike[str],
) -> None:
    r"""Write :math:`x \mapsto b(E_φ(x))` and :math:`z \mapsto D_θ(z)`, as in evaluation, to files.

    Before anything is written, onnxruntime runs both on ``x`` and on its first message alone, and
    what it gives differs from what the model gives by at most :math:`10^{-5} \max(1, |y|)` in each
    entry y. In the files the inputs are called ``x`` and ``z``, the outputs ``z`` and ``x``, and
    the size of the batch is free (but where only the largest units are kept, onnxruntime before
    1.31 divides by it: an empty batch ends the process).

    Parameters
    ----------
    model
        The autoencoder, in float32 or float64.
    x
        Messages as those to come, (B, ...): they give the shape and are what is compared.
    encoder, decoder
        Paths of the two files.

    Raises
    ------
    ValueError
        If a layer has no counterpart in ONNX, or the outputs differ. A code with a step in it, as
        bits have, may differ where a message lies on the step itself.
    ImportError
        If the extra is not installed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from aebook.storage import onnx
    >>> model = aebook.variants.plain((8, 2)).model.eval()
    >>> onnx.export(model, torch.rand(5, 8), "encoder.onnx", "decoder.onnx")
    >>> sorted(path.name for path in Path().glob("*.onnx"))
    ['decoder.onnx', 'encoder.onnx']
    """
    # onnxscript is what torch.onnx writes with
    onnx, onnxruntime, _ = (
        need(name, name, "onnx") for name in ("onnx", "onnxruntime", "onnxscript")
    )
    types = {t.dtype for t in (*model.parameters(), x) if t.is_floating_point()}
    if not types <= {torch.float32, torch.float64} or x.dim() == 0 or not len(x):
        raise ValueError(
            f"got types {sorted(map(str, types))} and messages of {tuple(x.shape)}, expected "
            "float32 or float64 and at least one: convert the model and the messages"
        )
    plain = copy.deepcopy(model).cpu().eval()
    _unrolled(plain)
    x = x.detach().cpu()
    # the model itself gives the values to compare with
    model = copy.deepcopy(model).cpu().eval()
    z = model.encode(x)
    made = []
    for network, taken, given, names in (
        (nn.Sequential(plain.encoder, plain.bottleneck), x, z, ("x", "z")),
        (nn.Sequential(plain.decoder), z, model.decode(z), ("z", "x")),
    ):
        content = _export(network.eval(), taken, names)
        onnx.checker.check_model(content)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        for batch in (slice(None), slice(1)):
            (found,) = session.run(None, {names[0]: taken[batch].numpy()})
            _check_equal(found, given[batch].numpy(), names)
        made.append(content)
    for path, content in zip((encoder, decoder), made, strict=True):
        replace(path, lambda file, content=content: file.write(content))


class _FixedTopK(nn.Module):
    """A top-k bottleneck whose k is a number and not a tensor's value."""

    def __init__(self, bottleneck: TopK) -> None:
        super().__init__()
        self.bottleneck, self.k = bottleneck, int(bottleneck.k)

    def forward(self, h: Tensor) -> Tensor:
        return self.bottleneck.keep(h, self.k)


def _unrolled(module: nn.Module) -> nn.Module:
    """The same function in operations whose shapes do not depend on values, in place."""
    for name, child in module.named_children():
        setattr(module, name, _unrolled(child))
    if isinstance(module, TopK):
        return _FixedTopK(module)
    if isinstance(module, SparseLinear | SparseTransposed):
        rows = module.source.weight if isinstance(module, SparseTransposed) else module.weight
        dense = nn.Linear(*rows.shape, bias=module.bias is not None, dtype=rows.dtype)
        dense.weight = nn.Parameter(rows.detach().T)
        dense.register_parameter("bias", module.bias)
        return dense
    return module


def _export(network: nn.Module, taken: Tensor, names: tuple[str, str]) -> bytes:
    # a batch of one would be taken for a batch that is always one
    example = torch.cat([taken, taken])[:2]
    free = ({0: torch.export.Dim("batch")},)
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # about PyTorch's own code
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (example,),
                None,
                dynamo=True,
                verbose=False,
                input_names=names[:1],
                output_names=names[1:],
                dynamic_shapes=free,
            )
        assert program is not None  # dynamo=True gives one
        return program.model_proto.SerializeToString()
    except Exception as error:
        # what the exporter raises for an operation that it does not know may be anything
        raise ValueError(
            f"got a network from {names[0]} to {names[1]} that cannot be written as ONNX, expected "
            f"layers with a counterpart there ({str(error).strip().splitlines()[0]:.300})"
        ) from error
    finally:
        logging.disable(disabled)


def _check_equal(
    found: NDArray[np.floating], expected: NDArray[np.floating], names: tuple[str, str]
) -> None:
    bound = TOLERANCE * np.maximum(1, abs(expected))
    if found.shape != expected.shape or not (abs(found - expected) <= bound).all():
        differ = "shape" if found.shape != expected.shape else abs(found - expected).max()
        raise ValueError(
            f"onnxruntime and PyTorch differ from {names[0]} to {names[1]} ({differ}), expected "
            f"at most {TOLERANCE}: leave out messages on the edge of a step, or export in float64"
        )
