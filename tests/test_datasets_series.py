"""Tests of aebook.datasets.series: every number that the docstring gives, and the source."""

from pathlib import Path

import pytest
import torch
from scipy import signal

from aebook.datasets import electrocardiogram

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).resolve().parents[1] / "tools")
    from builders import series as builder
    from builders import sources


def test_shape_type_unit_and_range() -> None:
    data = electrocardiogram()
    values, rate = data
    assert values is data.values
    assert rate == data.rate == 360
    assert values.shape == (108_000,)
    assert values.dtype == torch.float32
    assert (values.min().item(), values.max().item()) == pytest.approx((-3.485, 3.65))
    # eleven bits, 200 a millivolt
    steps = values.double() * 200
    assert (steps - steps.round()).abs().max() < 1e-4
    assert not torch.equal(electrocardiogram().values.zero_(), electrocardiogram().values)


def test_beats_are_narrow_or_wide_as_the_docstring_says() -> None:
    values, rate = electrocardiogram()
    order = signal.butter(2, 1, "highpass", fs=rate, output="sos")
    x = signal.sosfiltfilt(order, values.numpy())
    beats, _ = signal.find_peaks(x, prominence=0.7, distance=rate // 4)
    width = 1000 / rate * signal.peak_widths(x, beats)[0]
    assert len(beats) > 450
    narrow = width[width < 40]
    assert 18 < sorted(narrow)[len(narrow) // 2] < 25
    assert 80 < (width > 60).sum() < 120
    # a deep wave follows a wide beat
    deep = [x[b : b + rate // 3].min() for b, w in zip(beats, width, strict=True) if w > 60]
    flat = [x[b : b + rate // 3].min() for b, w in zip(beats, width, strict=True) if w < 40]
    assert sorted(deep)[len(deep) // 2] < 1.5 * sorted(flat)[len(flat) // 2]


def test_a_wrong_wheel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sources.SourceError, match="cannot read"):
        builder.electrocardiogram(tmp_path / "none.whl")
    (tmp_path / "other.whl").write_bytes(b"PK")
    with pytest.raises(sources.SourceError, match="SHA-256"):
        builder.electrocardiogram(tmp_path / "other.whl")
