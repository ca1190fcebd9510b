"""Shift every seed that a chapter gives: a start-up file of its kernel, for `make test-seeds`.

    PYTHONSTARTUP=tools/shift_seeds.py SHIFT=1 jupyter execute chapter.ipynb

What a chapter asserts has to hold for other seeds than its own. Whoever seeds a generator, the
chapter, the package or a library, gets ``seed + 1009 * SHIFT`` instead: data are divided in another
way, weights start elsewhere, noise is other noise. Nothing else changes. A Python that the chapter
starts, by ``torchrun`` for instance, is shifted likewise: it finds ``tools/shifted`` on its path.
"""

import operator
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: A prime far above the seeds in use, so that no shifted seed is another seed unshifted.
STEP = 1009

_shift = STEP * int(os.environ.get("SHIFT", "1"))


def _shifted(seed: Any) -> Any:
    """Another seed for a whole number, or the first of several; None, a generator: as it is."""
    if isinstance(seed, list | tuple) and seed:
        return [_shifted(seed[0]), *seed[1:]]
    try:
        return operator.index(seed) + _shift
    except TypeError:
        return seed


def _shift_first(function: Callable) -> Callable:
    def shifted(seed: Any = None, *rest: Any, **named: Any) -> Any:
        return function(_shifted(seed), *rest, **named)

    return shifted


class _Generator(torch.Generator):
    def manual_seed(self, seed: int) -> torch.Generator:
        return super().manual_seed(_shifted(seed))


class _Global:
    """PyTorch's global generator, as `aebook.fit` seeds it."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def manual_seed(self, seed: int) -> torch.Generator:
        return self._generator.manual_seed(_shifted(seed))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)


class _Random(random.Random):
    def seed(self, a: Any = None, version: int = 2) -> None:
        super().seed(_shifted(a), version)


class _AnyRandomState(type):
    """NumPy's own global state is one too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _plain_random_state)


_plain_random_state = np.random.RandomState


class _RandomState(_plain_random_state, metaclass=_AnyRandomState):
    # what scikit-learn makes of `random_state=0`
    def __init__(self, seed: Any = None) -> None:
        super().__init__(_shifted(seed))

    def seed(self, seed: Any = None) -> None:
        super().seed(_shifted(seed))


torch.manual_seed = torch.random.manual_seed = _shift_first(torch.manual_seed)
torch.Generator = _Generator
torch.default_generator = _Global(torch.default_generator)
np.random.default_rng = _shift_first(np.random.default_rng)
np.random.seed = _shift_first(np.random.seed)
np.random.RandomState = _RandomState
random.seed = _shift_first(random.seed)
random.Random = _Random

# a start-up file has no name of its own in every shell
_home = Path(os.environ.get("PYTHONSTARTUP", globals().get("__file__", ""))).parent / "shifted"
_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
if str(_home) not in _path:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_home), *filter(None, _path)])
