"""One thread, no window, and the same examples at every run."""

import matplotlib
import pytest
import torch
from hypothesis import settings

matplotlib.use("Agg")
torch.set_num_threads(1)

settings.register_profile("aebook", derandomize=True, deadline=None, database=None, max_examples=25)
settings.load_profile("aebook")


@pytest.fixture(autouse=True)
def _seed() -> None:
    # a test that draws gets the same numbers alone and in company
    torch.manual_seed(0)


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `fit` find no GPU, for tests about bits."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
