"""Tests of training in many processes, with real processes and against one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset

import aebook
from aebook import processes
from aebook.data import batched
from aebook.processes import ALONE, Group

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).parent)
    import parallel_worker as worker

pytestmark = pytest.mark.usefixtures("on_the_cpu")


launched = pytest.mark.skipif(
    sys.platform == "win32", reason="torchrun needs libuv, which PyTorch for Windows lacks"
)


def torchrun(job, folder):
    """Run a job of tests/parallel_worker.py in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(Path(worker.__file__)), job, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=1200, env=environment
    )


@launched
def test_two_processes_do_what_one_does(tmp_path):
    """One launch for all, since each imports everything twice."""
    done = torchrun("together", tmp_path)
    assert done.returncode == 0, done.stderr
    two = torch.load(tmp_path / "gradients.pt", weights_only=True)

    for name, make in worker.OBJECTIVES.items():
        alone = worker.without_chance(worker.one_step, name)
        for key, value in alone["state"].items():
            torch.testing.assert_close(
                two[name]["state"][key], value, rtol=1e-9, atol=1e-9, msg=f"{name}: {key}"
            )
        for part in ("terms", "validation"):
            for term, values in alone[part].items():
                assert two[name][part][term] == pytest.approx(values, rel=1e-9), (name, part)
        # what was compared is not where it started
        torch.manual_seed(0)
        before = make().double().state_dict()
        assert any(not torch.equal(alone["state"][k], v) for k, v in before.items()), name

    # an interrupted run ended as one that was not; with one process it cannot go on, since its
    # parts and its noise would be others
    assert {path.name for path in tmp_path.iterdir()} == {"gradients.pt", "whole.pt", "run.pt"}
    objective = aebook.variants.denoising((6, 5, 3), aebook.corruptions.gaussian(0.1)).double()
    with pytest.raises(ValueError, match=r"another run \(processes 2 ≠ 1\)"):
        worker.resumable(objective, tmp_path / "run.pt")


@launched
def test_a_killed_process_ends_the_run_with_an_error(tmp_path):
    done = torchrun("killed", tmp_path)
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr or "Signal 9" in done.stderr
    assert not (tmp_path / "survived").exists()


# Dividing the work, without processes ------------------------------------------------------------


def divided(data, batch_size, size, *, shuffle=True, default=4):
    kind = {"dtype": torch.float32, "device": torch.device("cpu")}
    parts = []
    for rank in range(size):
        with processes.together(Group(rank, size)):
            made = batched(data, batch_size, shuffle=shuffle, default=default, **kind)
        parts.append(Part(made, Group(rank, size)))
    return parts


class Part:
    """Batches as one of several processes sees them."""

    def __init__(self, made, group):
        self.made, self.group = made, group

    def __iter__(self):
        with processes.together(self.group):
            return iter(list(self.made))


class Items(Dataset):
    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return self.values[index]


class Flow(IterableDataset):
    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)


FORMS = {"tensor": lambda x: x, "dataset": Items, "stream": Flow}


@given(
    st.sampled_from(list(FORMS)),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(1, 4),
)
def test_each_process_has_a_part_of_every_batch_and_every_sample_comes_once(form, n, batch, size):
    n, batch = max(n, size), max(min(batch, n), 1)
    x = torch.arange(float(n))[:, None]
    parts = [list(made) for made in divided(FORMS[form](x), batch, size)]
    assert len({len(part) for part in parts}) == 1
    seen = sorted(v for part in parts for x, _ in part for v in x.flatten().tolist())
    assert seen == list(range(n))
    if n >= size and batch >= size:
        sizes = [[len(x) for x, _ in part] for part in parts]
        assert all(
            max(step) - min(step) <= 1 and min(step) >= 1 for step in zip(*sizes, strict=True)
        )


def test_all_agree_on_an_order_and_each_epoch_has_another():
    x = torch.arange(40.0)[:, None]
    pair = divided(x, 8, 2)
    orders = []
    for key in (5, 6):
        for made in pair:
            made.made.key = key
        torch.manual_seed(key)  # the processes' own noise is elsewhere
        steps = zip(*pair, strict=True)
        orders.append([sorted(torch.cat((a, b)).flatten().tolist()) for (a, _), (b, _) in steps])
    assert orders[0] != orders[1]
    assert orders[0][0] != list(range(8))


@given(st.sampled_from(list(FORMS)), st.integers(1, 40), st.integers(1, 12), st.integers(2, 4))
def test_whole_batches_in_turn_where_nothing_is_trained(form, n, batch, size):
    x = torch.arange(float(n))[:, None]
    batch = min(batch, n)
    (alone,) = divided(FORMS[form](x), batch, 1, shuffle=False)
    whole = [x.tolist() for x, _ in alone]
    parts = [
        [x.tolist() for x, _ in made]
        for made in divided(FORMS[form](x), batch, size, shuffle=False)
    ]
    assert [parts[k % size][k // size] for k in range(len(whole))] == whole
    assert sum(map(len, parts)) == len(whole)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(2, 4))
def test_batches_of_a_stream_that_are_too_small_join_until_all_have_a_part(sizes, size):
    """And no further: what came to be large enough stays a batch."""
    sizes = sizes if sum(sizes) >= size else [*sizes, size]
    x = torch.arange(float(sum(sizes)))[:, None]
    loader = DataLoader(Flow(list(x.split(sizes))), batch_size=None)
    kind = {"dtype": torch.float32, "device": torch.device("cpu"), "default": 4}
    parts = []
    for rank in range(size):
        made = batched(Flow(x), 1, shuffle=True, **kind)
        made.loader = loader
        parts.append(list(Part(made, Group(rank, size))))
    steps = [sum(len(x) for x, _ in step) for step in zip(*parts, strict=True)]
    # by hand: gather until there is one for each, and add a rest to the last
    expected, rest = [], 0
    for count in sizes:
        rest += count
        if rest >= size:
            expected.append(rest)
            rest = 0
    expected[-1] += rest
    assert steps == expected


@pytest.mark.parametrize("form", FORMS)
def test_fewer_samples_than_processes_are_refused(form):
    x = torch.rand(2, 3)
    with pytest.raises(ValueError, match="samples for 3 processes"):
        [list(made) for made in divided(FORMS[form](x), None, 3)]


# Alone -------------------------------------------------------------------------------------------


def test_alone_nothing_is_averaged_over_others():
    assert processes.group() == ALONE
    mean = torch.rand(3)
    assert processes.average(mean, 5) is mean
    with processes.together() as members, processes.shared_batch():
        assert members == ALONE
        assert not processes.is_shared()
        assert processes.gather("a") == ["a"]
        assert processes.broadcast("a") == "a"


def test_work_is_shared_within_a_run_and_nowhere_else():
    def run():
        with processes.together(Group(1, 3)):
            assert processes.members() == (1, 3)
            with processes.shared_batch():
                assert processes.is_shared()
            assert not processes.is_shared()
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert processes.members() == ALONE


def test_noise_of_processes_and_seeds_does_not_coincide():
    assert [processes.stream_seed(seed, 0) for seed in range(5)] == list(range(5))
    seeds = {processes.stream_seed(seed, rank) for seed in range(30) for rank in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_processes_that_nothing_connects_are_refused_by_name():
    cpu = torch.device("cpu")
    with processes.together(processes.Group(0, 2)), processes.shared_batch():
        for call in (
            lambda: processes.average(torch.ones(2), 3),
            lambda: processes.total(3, cpu),
            lambda: processes.weight(3, cpu),
        ):
            with pytest.raises(
                ValueError, match=r"got 2 processes that nothing connects.*torchrun"
            ):
                call()
    assert processes.total(3, cpu) == 3
    assert processes.weight(3, cpu) == 1
