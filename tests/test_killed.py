"""Tests that a run survives what a process cannot prevent: SIGKILL, a full disk."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import aebook
from aebook._internal.files import remove_unfinished, replace

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).parent)
    import parallel_worker as worker

posix = pytest.mark.skipif(os.name != "posix", reason="Windows sets no limits to its processes")
linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux accounts for memory and limits it so"
)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.skipif(
    sys.platform in ("win32", "darwin"),
    reason="Windows has no fork and no SIGKILL, and macOS's libraries do not bear a fork",
)
def test_runs_killed_at_random_moments_end_as_those_left_in_peace(tmp_path):
    """Every variant, from a tensor and from a loader: weights and losses to the bit."""
    script = Path(__file__).with_name("killed_worker.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,  # only lest it hang for ever
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 2 * len(worker.OBJECTIVES) > 20


def limited(code, **limits):
    """Run code in a process whose files or memory have a limit in bytes."""
    lines = ["import resource, signal", "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"]
    for name, size in limits.items():
        lines.append(f"resource.setrlimit(resource.{name}, ({size}, {size}))")
    return subprocess.run(
        [sys.executable, "-c", "\n".join([*lines, code])],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,  # only lest it hang for ever
        env=ENVIRONMENT,
    )


@posix
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    """A limit on the size of files stands for a disk on which a checkpoint no longer fits."""
    path = tmp_path / "run.pt"
    torch.manual_seed(0)
    x, objective = torch.rand(50, 6), aebook.variants.plain((6, 3))
    # a GPU's run does not go on on the CPU, nor one whose rate depends on the number of epochs
    options = {"schedule": aebook.training.schedules.constant, "device": "cpu", "progress": False}
    aebook.fit(objective, x, epochs=2, checkpoint=path, **options)
    before = path.read_bytes()
    code = f"""
import torch, aebook
torch.manual_seed(0)
x, objective = torch.rand(50, 6), aebook.variants.plain((6, 3))
options = {{"schedule": aebook.training.schedules.constant, "device": "cpu", "progress": False}}
aebook.fit(objective, x, epochs=4, checkpoint={str(path)!r}, **options)
"""
    done = limited(code, RLIMIT_FSIZE=len(before) // 2)
    assert done.returncode != 0
    assert "OSError" in done.stderr or "File too large" in done.stderr or "write" in done.stderr
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    assert limited(code).returncode == 0


STREAM = """
import sys
import numpy as np, torch, aebook
torch.set_num_threads(1)
torch.manual_seed(0)
x = np.lib.format.open_memmap({path!r}, mode="r")
data = {data}
objective = aebook.variants.linear((x.shape[1], 2))
used = int(open("/proc/self/status").read().split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + {spare}, used + {spare}))
history = aebook.fit(objective, data, epochs=1, batch_size=2048, progress=False)
codes = aebook.evaluate(objective, data, batch_size=2048)
print(history.loss[0] > codes["loss"])
"""
SPARE = 230 * 2**20


@pytest.fixture
def large(tmp_path):
    """A file of 512 MB, more than twice the memory that is left."""
    path = tmp_path / "large.npy"
    x = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(2_000_000, 64))
    x[::1000] = 1
    x.flush()
    return str(path)


FLOW = """torch.utils.data.DataLoader(
    type("Flow", (torch.utils.data.IterableDataset,), {
        "__iter__": lambda self: (torch.from_numpy(np.array(x[i])) for i in range(0, len(x), 50))
    })(), batch_size=1000)"""


@linux
@pytest.mark.parametrize("form", ["mapped", "stream"])
def test_data_larger_than_memory_stream(large, form):
    data = "x" if form == "mapped" else FLOW
    code = STREAM.format(path=large, data=data, spare=SPARE)
    if form == "stream":
        code = code.replace(", batch_size=2048", "")
    done = limited(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"


@linux
def test_the_limit_is_one(large):
    """With a copy of the same data in memory the test above would fail."""
    code = STREAM.format(path=large, data="np.array(x)", spare=SPARE)
    code = code.replace("data = np.array(x)\n", "").replace(
        "history =", "data = np.array(x)\nhistory ="
    )
    done = limited(code)
    assert done.returncode != 0
    assert "Memory" in done.stderr


def test_leftovers_of_a_killed_writer_are_removed_and_no_others(tmp_path):
    names = ("run.pt", "run.pt2")
    for name in names:
        replace(tmp_path / name, lambda file: file.write(b"good"))

    class Killed(BaseException):
        pass

    def dies(file):
        # as SIGKILL leaves it: the clean-up does not run
        (Path(file.name)).with_name(Path(file.name).name + "0").write_bytes(b"half")
        raise Killed

    for name in names:
        with pytest.raises(Killed):
            replace(tmp_path / name, dies)
    assert len(list(tmp_path.iterdir())) == 4
    remove_unfinished(tmp_path / "run.pt")
    assert len(list(tmp_path.iterdir())) == 3
    remove_unfinished(tmp_path / "run.pt2")
    assert {file.name for file in tmp_path.iterdir()} == set(names)
    assert (tmp_path / "run.pt").read_bytes() == b"good"
