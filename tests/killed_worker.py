"""Kill training runs at random moments and let them resume; run by tests/test_killed.py.

python tests/killed_worker.py FOLDER KILLS

Prints the number of kills. Runs are forked from this process, which imports everything once.
"""

import os
import random
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path

import parallel_worker as worker
import torch
from torch.utils.data import DataLoader, TensorDataset

import aebook
from aebook.training import schedules

EPOCHS = 8


def train(name, form, path):
    """A run with everything that has a state: noise, momentum, schedule, best weights."""
    torch.manual_seed(0)
    objective, x = worker.OBJECTIVES[name](), worker.data(name)
    x = x if name == "recurrent" else x.float()
    data, options = x, {"batch_size": 4}
    if form == "loader":
        data, options = DataLoader(TensorDataset(x), batch_size=4, shuffle=True), {}
    history = aebook.fit(
        objective,
        data,
        epochs=EPOCHS,
        lr=1e-2,
        validation=x,
        patience=5,
        schedule=schedules.cosine,
        checkpoint=path,
        device="cpu",
        progress=False,
        **options,
    )
    assert len(history) <= EPOCHS
    torch.save((objective.state_dict(), history.loss, history.validation_loss), f"{path}.done")


def start(function):
    """Run a function in a process of its own; its number."""
    number = os.fork()
    if number:
        return number
    try:
        function()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def run(name, form, folder, kills):
    """Kill a run so many times, let it end, and compare it with one that was left in peace."""
    begun = time.perf_counter()
    whole, path = folder / "whole.pt", folder / "run.pt"
    _, status = os.waitpid(start(partial(train, name, form, whole)), 0)
    assert status == 0
    seconds, done = time.perf_counter() - begun, 0
    while done < kills:
        number = start(partial(train, name, form, path))
        time.sleep(random.uniform(0, seconds))
        os.kill(number, signal.SIGKILL)
        _, status = os.waitpid(number, 0)
        if os.WIFSIGNALED(status):
            done += 1
        else:  # it came to its end first, so it starts anew
            path.unlink()
    _, status = os.waitpid(start(partial(train, name, form, path)), 0)
    assert status == 0, f"{name}, {form}: the run could not go on"
    # nothing half-written is left
    names = {file.name for file in folder.iterdir()}
    assert names == {"whole.pt", "whole.pt.done", "run.pt", "run.pt.done"}, names
    expected, found = (torch.load(f"{p}.done", weights_only=True) for p in (whole, path))
    assert found[1:] == expected[1:], f"{name}, {form}: other losses"
    for key, value in expected[0].items():
        assert torch.equal(found[0][key], value), f"{name}, {form}: another {key}"
    for file in folder.iterdir():
        file.unlink()
    return done


if __name__ == "__main__":
    torch.set_num_threads(1)
    random.seed(0)
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    forms = ("tensor", "loader")
    # what is imported at first use is imported once, and not by each of the runs
    for name in worker.OBJECTIVES:
        for form in forms:
            train(name, form, folder / "warm.pt")
            (folder / "warm.pt").unlink()
    (folder / "warm.pt.done").unlink()
    print(sum(run(name, form, folder, kills) for name in worker.OBJECTIVES for form in forms))
