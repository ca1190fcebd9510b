"""Tests of the record of the benchmarks, and of what writes it."""

import argparse
import importlib.util
import json
import math
import re
from pathlib import Path

import pytest

from aebook import timings
from aebook.timings import recorded

NAMES = [
    "compiled",
    "contractive",
    "memory",
    "peers",
    "processes",
    "retrieval",
    "scaling",
    "sparse_decode",
]
BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def measure():
    spec = importlib.util.spec_from_file_location("measure", BENCHMARKS / "measure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_record_says_where_and_what(name):
    machine, options, rows = recorded(name)
    assert {"processor", "cores", "threads", "torch"} <= set(machine)
    assert options["threads"] == machine["threads"]
    assert rows
    for row in rows:
        assert list(row) == list(rows[0])
        for key, value in row.items():
            if isinstance(value, float):
                assert math.isfinite(value), key
                assert value >= 0, key


def test_every_record_has_a_script_that_writes_it():
    written = "".join(path.read_text(encoding="utf-8") for path in BENCHMARKS.glob("*.py"))
    for name in NAMES:
        assert re.search(rf'(report\(\s*|name = )"{name}"', written), name
    assert {path.stem for path in Path(timings.__file__).parent.glob("*.json")} == set(NAMES)


def test_an_unknown_record_is_refused():
    with pytest.raises(ValueError, match="got name='nothing', expected 'compiled', 'contractive"):
        recorded("nothing")


def test_operations_were_counted_rightly():
    for row in recorded("scaling").rows:
        a, h, c = 784, row["hidden"], 32
        # two operations a weight: forward, for its gradient, and for its input's but the first's
        each = 2 * (3 * (2 * a * h + 2 * h * c) - a * h)
        assert row["gflop"] == pytest.approx(row["samples"] * each / 1e9, rel=1e-3)


def test_contestants_take_turns_and_the_first_round_does_not_count(measure):
    said = []
    work = {"a": lambda: said.append("a"), "b": lambda: said.append("b")}
    seconds = measure.turns(work, 3)
    assert "".join(said) == "baabbaab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert measure.medians({"a": [1.0, 9.0, 2.0]}, 1e-3) == {"a": 2000.0}


def test_a_report_is_printed_and_kept_on_request(measure, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "RECORDS", tmp_path)
    rows = [{"what": "x", "seconds": measure.rounded(0.123456)}, {"what": "y", "seconds": 2.0}]
    options = argparse.Namespace(rounds=3, threads=1, record=False)
    measure.report("one", rows, options)
    printed = capsys.readouterr().out
    assert "| x | 0.1235 |" in printed
    assert not list(tmp_path.iterdir())
    options.record = True
    measure.report("one", rows, options, extra="more")
    kept = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))
    assert kept["rows"] == rows
    assert kept["options"] == {"rounds": 3, "threads": 1}
    assert kept["machine"]["extra"] == "more"
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]
