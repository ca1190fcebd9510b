"""``aebook.fit`` against a loop by hand and against other libraries: time, memory, quality.

All train the same network, 784-256-32-256-784 with ReLU, from the same weights, on 8,192 images of
clothes in memory, with Adam (fused, where the library lets one ask for it) and squared error. They
take turns in one process. Each makes a call of one epoch and a call of one more than ``--epochs``:
the difference, divided, is the time of an epoch, and what is left of the first is what a call costs
once, such as checks, building and saving. Every round has its own seed, and after the longer call
the fraction of variance unexplained of 2,000 test images is computed. Memory is measured in a
process of its own: how far its peak rises above what it held before, after a warm-up, for one epoch
on eight times the images. The loop by hand and ``fit`` must end with the same weights to the bit.

    OMP_NUM_THREADS=1 python benchmarks/peers.py [--rounds 7] [--batches 64 256 4096]

``pip install -e '.[bench]'`` brings the other libraries.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from measure import Row, arguments, clock, in_turn, report, rounded, status
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import aebook

SCRATCH = tempfile.TemporaryDirectory()
WIDTHS = (784, 256, 32, 256, 784)
LR = 1e-3

#: Trains from given weights on images, for epochs, in batches, with a seed; returns the network.
Train = Callable[[list[Tensor], Tensor, int, int, int], Callable[[Tensor], Tensor]]


def weights(seed: int) -> list[Tensor]:
    """Weights and biases to begin with, in the order of the layers."""
    torch.manual_seed(seed)
    objective = aebook.variants.plain(WIDTHS[:3], code=nn.ReLU, output=None)
    return [parameter.detach() for parameter in objective.parameters()]


@torch.no_grad()
def started(module: nn.Module, begin: list[Tensor]) -> nn.Module:
    """A module with these weights."""
    for parameter, value in zip(module.parameters(), begin, strict=True):
        parameter.copy_(value)
    return module


def network(begin: list[Tensor]) -> nn.Sequential:
    """The network in plain PyTorch."""
    layers = [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 32), nn.ReLU()]
    layers += [nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 784)]
    return started(nn.Sequential(*layers), begin)


def by_hand(begin: list[Tensor], x: Tensor, epochs: int, batch: int, seed: int) -> nn.Module:
    """The loop with nothing that is not needed."""
    model = network(begin)
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(batch):
            given = x[chosen]
            loss = F.mse_loss(model(given), given, reduction="none").sum(1).mean()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    return model


def with_loader(begin: list[Tensor], x: Tensor, epochs: int, batch: int, seed: int) -> nn.Module:
    """The loop of the tutorials."""
    model = network(begin)
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=LR)
    criterion = nn.MSELoss()
    loader = DataLoader(TensorDataset(x), batch_size=batch, shuffle=True)
    for _ in range(epochs):
        for (given,) in loader:
            optimiser.zero_grad()
            loss = criterion(model(given), given)
            loss.backward()
            optimiser.step()
    return model


def with_fit(begin: list[Tensor], x: Tensor, epochs: int, batch: int, seed: int) -> nn.Module:
    """What is on trial here."""
    objective = started(aebook.variants.plain(WIDTHS[:3], code=nn.ReLU, output=None), begin)
    options = {"epochs": epochs, "batch_size": batch, "lr": LR, "seed": seed}
    # the rate that all others have, from the first step to the last
    options["schedule"] = aebook.training.schedules.constant
    aebook.fit(objective, x, device="cpu", progress=False, **options)
    return objective.model


def with_skorch(begin: list[Tensor], x: Tensor, epochs: int, batch: int, seed: int) -> nn.Module:
    """The skorch library."""
    from skorch import NeuralNetRegressor

    torch.manual_seed(seed)
    net = NeuralNetRegressor(
        network(begin),
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        lr=LR,
        max_epochs=epochs,
        batch_size=batch,
        iterator_train__shuffle=True,
        train_split=None,
        device="cpu",
        verbose=0,
    )
    return net.fit(x, x).module_


def with_keras(
    begin: list[Tensor], x: Tensor, epochs: int, batch: int, seed: int
) -> Callable[[Tensor], Tensor]:
    """Keras, on PyTorch."""
    import keras

    keras.utils.set_random_seed(seed)
    hidden = [keras.layers.Dense(width, activation="relu") for width in WIDTHS[1:-1]]
    model = keras.Sequential([keras.Input((784,)), *hidden, keras.layers.Dense(784)])
    model.set_weights([value.numpy().T for value in begin])
    model.compile(optimizer=keras.optimizers.Adam(LR, epsilon=1e-8), loss="mse")
    images = x.numpy()
    model.fit(images, images, epochs=epochs, batch_size=batch, verbose=0)
    return lambda given: torch.from_numpy(model.predict(given.numpy(), verbose=0))


def with_pythae(
    begin: list[Tensor], x: Tensor, epochs: int, batch: int, seed: int
) -> Callable[[Tensor], Tensor]:
    """The pythae library."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import AE, AEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Encoder(BaseEncoder):
        def __init__(self, layers: nn.Module) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, given: Tensor) -> ModelOutput:
            return ModelOutput(embedding=self.layers(given))

    class Decoder(BaseDecoder):
        def __init__(self, layers: nn.Module) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, code: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.layers(code))

    layers = network(begin)
    config = AEConfig(input_dim=(784,), latent_dim=32)
    model = AE(config, encoder=Encoder(layers[:4]), decoder=Decoder(layers[4:]))
    training = BaseTrainerConfig(
        output_dir=SCRATCH.name,
        num_epochs=epochs,
        per_device_train_batch_size=batch,
        learning_rate=LR,
        optimizer_params={"fused": True},
        seed=seed,
        no_cuda=True,
    )
    data = BaseDataset(x, torch.zeros(len(x)))
    # its progress bars cannot be switched off
    with contextlib.redirect_stderr(io.StringIO()):
        BaseTrainer(model, train_dataset=data, training_config=training).train()
    return layers


def with_pyod(
    begin: list[Tensor], x: Tensor, epochs: int, batch: int, seed: int
) -> Callable[[Tensor], Tensor]:
    """The PyOD library."""
    from pyod.models.auto_encoder import AutoEncoder

    class Started(AutoEncoder):
        def build_model(self) -> None:
            super().build_model()
            started(self.model, begin)

    detector = Started(
        preprocessing=False,
        lr=LR,
        epoch_num=epochs,
        batch_size=batch,
        device=torch.device("cpu"),
        random_state=seed,
        optimizer_params={"weight_decay": 0.0},
        hidden_neuron_list=[256, 32],
        batch_norm=False,
        dropout_rate=0.0,
        verbose=0,
    )
    detector.fit(x.numpy())
    return detector.model.eval()


def with_sklearn(
    begin: list[Tensor], x: Tensor, epochs: int, batch: int, seed: int
) -> Callable[[Tensor], Tensor]:
    """scikit-learn, on NumPy."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    values = iter(zip(begin[::2], begin[1::2], strict=True))

    class Started(MLPRegressor):
        def _init_coef(self, fan_in: int, fan_out: int, dtype: type) -> tuple:
            weight, bias = next(values)
            return weight.T.numpy().astype(dtype), bias.numpy().astype(dtype)

    model = Started(
        hidden_layer_sizes=WIDTHS[1:-1],
        alpha=0.0,
        batch_size=batch,
        learning_rate_init=LR,
        max_iter=epochs,
        tol=0.0,
        n_iter_no_change=epochs + 1,
        random_state=seed,
    )
    images = x.numpy()
    with warnings.catch_warnings():
        # it stops where it was told to
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(images, images)
    return lambda given: torch.from_numpy(model.predict(given.numpy()))


CONTESTANTS: dict[str, Train] = {
    "loop by hand": by_hand,
    "aebook.fit": with_fit,
    "loop with DataLoader": with_loader,
    "MLPRegressor": with_sklearn,
    "Keras": with_keras,
    "skorch": with_skorch,
    "pythae": with_pythae,
    "PyOD": with_pyod,
}
OURS, HAND = "aebook.fit", "loop by hand"


def play(x: Tensor, test: Tensor, batch: int, epochs: int, rounds: int) -> list[Row]:
    """All contestants at one batch size."""
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in CONTESTANTS}
    for seed in range(rounds):
        begin, ended = weights(seed), {}
        for name in in_turn(CONTESTANTS, seed):
            train = CONTESTANTS[name]
            times = []
            for length in (1, 1 + epochs):
                begun = clock()
                ended[name] = train(begin, x, length, batch, seed)
                times.append(clock() - begun)
            epoch = (times[1] - times[0]) / epochs
            with torch.no_grad():
                lost = aebook.metrics.fvu(ended[name](test), test)
            runs[name].append((epoch, times[0] - epoch, lost))
        pairs = zip(ended[HAND].parameters(), ended[OURS].parameters(), strict=True)
        if not all(torch.equal(a, b) for a, b in pairs):
            raise SystemExit("fit and the loop by hand ended with other weights")
    rows = []
    ours = [epoch for epoch, _, _ in runs[OURS]]
    for name, results in runs.items():
        seconds, once, lost = zip(*results, strict=True)
        ratios = [value / own for value, own in zip(seconds, ours, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        rows.append(
            {
                "batch": batch,
                "contestant": name,
                "seconds": rounded(statistics.median(seconds)),
                "times_fit": rounded(middle),
                "lower_quartile": rounded(low),
                "upper_quartile": rounded(high),
                "once": rounded(max(0.0, statistics.median(once))),
                "fvu": rounded(statistics.mean(lost)),
                "fvu_deviation": rounded(statistics.stdev(lost)),
            }
        )
    return rows


def weigh(name: str, x: Tensor, batch: int) -> None:
    """Print the bytes by which one epoch of a contestant raises the peak of this process."""
    CONTESTANTS[name](weights(0), x[: 2 * batch], 1, batch, 0)
    large = x.repeat(8, 1)
    # 5: the mark of the most memory held goes down to what is held now
    Path("/proc/self/clear_refs").write_text("5", "utf8")
    before = status("VmRSS")
    CONTESTANTS[name](weights(0), large, 1, batch, 0)
    print(status("VmHWM") - before)


def memory(options: argparse.Namespace) -> dict[str, int | None]:
    """Bytes of each contestant; None where the system does not tell."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        return dict.fromkeys(CONTESTANTS)
    found = {}
    for name in CONTESTANTS:
        command = [sys.executable, __file__, "--weigh", name, "--threads", str(options.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = int(done.stdout.split()[-1])
    return found


def main() -> None:
    """Measure every batch size and print a table."""
    options = arguments(
        __doc__,
        rounds=7,
        batches=[64, 128, 256, 512, 1024, 2048, 4096],
        epochs=3,
        samples=8192,
        weigh="",
    )
    os.environ |= {"KERAS_BACKEND": "torch", "KERAS_HOME": SCRATCH.name}
    logging.disable(logging.WARNING)
    x = aebook.datasets.fashion_mnist().images[: options.samples]
    if options.weigh:
        return weigh(options.weigh, x, 1024)
    test = aebook.datasets.fashion_mnist("test").images
    missing = []
    for library in ("skorch", "keras", "pythae", "pyod"):
        try:
            version(library)
        except ImportError:
            missing.append(library)
    if missing:
        raise SystemExit(f"{', '.join(missing)} not installed: pip install -e '.[bench]'")
    # the first steps of a process are slow, whoever makes them
    play(x[:4096], test, 2048, 1, 2)
    rows = []
    for batch in options.batches:
        print(f"batch {batch} ...", file=sys.stderr)
        rows += play(x, test, batch, options.epochs, options.rounds)
    grown = memory(options)
    megabytes = {name: None if b is None else rounded(b / 1e6) for name, b in grown.items()}
    rows = [row | {"peak_mb": megabytes[row["contestant"]]} for row in rows]
    libraries = ("scikit-learn", "keras", "skorch", "pythae", "pyod")
    report(
        "peers",
        rows,
        options,
        images_mb=rounded(8 * x.nbytes / 1e6),
        **{name: version(name) for name in libraries},
    )


if __name__ == "__main__":
    main()
