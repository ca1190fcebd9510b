import pytest
import torch
from torch import nn

from aebook._internal.devices import chosen, has_room, moved, named


@pytest.mark.parametrize("choice", ["cuda", "mps", "cpu"])
def test_the_device_is_a_gpu_if_there_is_one(choice, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: choice == "cuda")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: choice == "mps")
    assert chosen(None, torch.float32).type == choice
    assert chosen("cpu", torch.float32).type == "cpu"
    # the one GPU without double precision
    assert chosen(None, torch.float64).type == ("cpu" if choice == "mps" else choice)


def test_a_gpu_without_a_number_is_the_current_one(monkeypatch):
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert named("cuda") == torch.device("cuda", 3)
    assert named("cuda:1") == torch.device("cuda", 1)
    assert named("cpu") == torch.device("cpu")


def test_data_stay_where_they_are_if_they_would_take_half_of_what_is_free(monkeypatch):
    cuda = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    assert has_room(500, cuda)
    assert not has_room(501, cuda)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 3000)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 2000)
    assert has_room(500, torch.device("mps"))
    assert not has_room(501, torch.device("mps"))
    assert has_room(10**18, torch.device("cpu"))


def test_a_network_comes_back_whatever_happens():
    network, there = nn.Linear(2, 2), torch.device("meta")
    with pytest.raises(RuntimeError, match="on purpose"), moved(network, torch.device("cpu")):
        raise RuntimeError("on purpose")
    assert network.weight.device.type == "cpu" != there.type
