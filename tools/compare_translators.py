r"""Compare kinds of translators, each trained from three seeds, and record how they did.

    python tools/compare_translators.py --out FOLDER                       all, on one core
    python tools/compare_translators.py --device cuda --jobs 6 --batch 192 --out FOLDER
    python tools/compare_translators.py english-french english-french-code \
        --setting 5e-3 0 6 --out FOLDER                                    two, without a choice

Data: aebook.datasets.segments, 8,504 pairs to learn from, 1,000 for choices, 1,000 to report;
nothing is downloaded. Without a setting there are two stages. First each kind is trained once, with
seed 0, in each of as many settings (SETTINGS), and the one with the lowest validation loss is kept.
Then it is trained with seeds 1, 2 and 3 in that setting, and these runs are reported. A run keeps
the weights of the epoch with the lowest validation loss. Runs are taken in rounds, so that if time
runs out all kinds have had about as many.

Into FOLDER go translation.json, the record, with the losses of all runs and what they wrote for the
test texts, one symbol at a time (greedy), and the weights in float16, one tar for French and one
for the rest.

It takes ten to twenty seconds an epoch of one core, so all of it is an affair of half a day, and no
result of it ships. With --minutes it ends in time with what it has. Memory: 1 GB a process.
"""

import argparse
import json
import multiprocessing
import platform
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.utils import parametrize
from train_translation import LARGE, SMALL, texts

import aebook
from aebook.applications.translation import Translator, Vocabulary, scores, transformer
from aebook.applications.translation.hanzi import compose, share_parts
from aebook.datasets import Segments, segments

SEEDS = (1, 2, 3)


class Arm(NamedTuple):
    """Languages ("parts" is Chinese in parts), what the network is, whether it knows parts too."""

    source: str
    target: str
    network: str = "attention"
    shared: bool = False


class Setting(NamedTuple):
    """Largest rate, probability of dropout, epochs; layers and units of a transformer."""

    rate: float
    dropout: float
    epochs: int
    layers: int = 2
    code: int = 64


ARMS = {
    "english-french": Arm("english", "french"),
    "english-french-code": Arm("english", "french", "code"),
    "english-french-transformer": Arm("english", "french", "transformer"),
    "chinese-english": Arm("chinese", "english"),
    "parts-english": Arm("parts", "english"),
    "both-english": Arm("chinese", "english", shared=True),
    "english-chinese": Arm("english", "chinese"),
    "english-parts": Arm("english", "parts"),
    "english-both": Arm("english", "chinese", shared=True),
    "english-french-forward": Arm("english", "french", "forward"),
    "english-french-backward": Arm("english", "french", "backward"),
}
CODE = {**LARGE, "code": 128, "attention": False}
NETWORKS: dict[str, dict[str, Any]] = {
    "attention": {},
    "code": CODE,
    "forward": {**CODE, "bidirectional": False},
    "backward": {**CODE, "bidirectional": False, "reverse": True},
}
SYMBOLS = {"english": 800, "french": 800, "chinese": 1200, "parts": 1200}
#: What is tried, in rounds; of those that are compared with each other all have as many.
FEW = [Setting(5e-3, 0.2, 30), Setting(5e-3, 0.4, 30), Setting(5e-3, 0.4, 60)]
MORE = [Setting(1e-2, 0.3, 30), Setting(1e-2, 0.3, 60), Setting(5e-3, 0.2, 60)]
TRANSFORMER = [
    Setting(2e-3, 0.1, 30),
    Setting(2e-3, 0.3, 30),
    Setting(2e-3, 0.3, 60),
    Setting(5e-3, 0.2, 30),
    Setting(5e-3, 0.2, 60),
    Setting(2e-3, 0.2, 60, layers=3),
]
SETTINGS = {
    **dict.fromkeys(ARMS, FEW),
    "english-french": [*FEW, *MORE],
    "english-french-code": [*FEW, *MORE],
    "english-french-transformer": TRANSFORMER,
}


@cache
def vocabulary(language: str) -> Vocabulary:
    """The symbols of the training texts."""
    return Vocabulary(texts(segments(), language), SYMBOLS[language])


def untrained(arm: Arm, setting: Setting) -> Translator:
    """A translator before training."""
    source, target = vocabulary(arm.source), vocabulary(arm.target)
    if arm.network == "transformer":
        sizes = {"layers": setting.layers, "hidden": 2 * setting.code, "dropout": setting.dropout}
        model = aebook.Autoencoder(
            transformer.Encoder(len(source), setting.code, **sizes),
            transformer.Decoder(len(target), setting.code, 64, **sizes),
        )
        return Translator(source, target, model)
    sizes = NETWORKS[arm.network] or (LARGE if arm.target == "french" else SMALL)
    translator = Translator(source, target, **sizes, dropout=setting.dropout)
    for layer in knowing(translator, arm):
        share_parts(layer, vocabulary("chinese"))
    return translator


def knowing(translator: Translator, arm: Arm) -> list[torch.nn.Module]:
    """The tables of Chinese symbols, where those with parts in common share them."""
    if not arm.shared:
        return []
    model = translator.model
    if arm.source == "chinese":
        return [model.encoder.embedding]
    return [model.decoder.embedding, model.decoder.logits]


def trained(
    arm: Arm, setting: Setting, seed: int, device: str, data: slice, batch: int
) -> tuple[Translator, dict[str, Any]]:
    """Train, and say how it went."""
    torch.manual_seed(seed)
    translator = untrained(arm, setting)
    train, held = segments(), segments("validation")
    pairs = [[texts(split, language)[data] for language in arm[:2]] for split in (train, held)]
    loader = translator.batches(*pairs[0], size=batch)
    started = time.perf_counter()
    history = aebook.fit(
        translator.objective(),
        loader,
        epochs=setting.epochs,
        lr=setting.rate,
        clip=5.0,
        patience=max(8, setting.epochs // 4),
        validation=translator.batches(*pairs[1], size=250),
        seed=seed,
        device=device,
        progress=False,
    )
    for layer in knowing(translator, arm):
        parametrize.remove_parametrizations(layer, "weight")
    losses = history.validation_loss
    best = min(range(len(losses)), key=losses.__getitem__)
    return translator, {
        "seed": seed,
        "setting": setting._asdict(),
        "parameters": sum(p.numel() for p in translator.model.parameters()),
        "steps_per_epoch": len(loader),
        "loss": [round(value, 2) for value in history.loss],
        "validation_loss": [round(value, 3) for value in losses],
        "best_epoch": best + 1,
        "nats": losses[best],
        "seconds": round(time.perf_counter() - started, 1),
    }


def written(translator: Translator, arm: Arm, split: Segments, data: slice) -> list[str]:
    """Translations of a split, in characters."""
    found = translator.translate(texts(split, arm.source)[data])
    return [compose(text) for text in found] if arm.target == "parts" else found


def score(arm: Arm, found: list[str], split: Segments, data: slice) -> list[float]:
    """BLEU and chrF."""
    target = "chinese" if arm.target == "parts" else arm.target
    references = texts(split, target)[data]
    bleu, chrf, _ = scores(found, references, chinese=target == "chinese")
    return [round(bleu, 2), round(chrf, 2)]


@torch.no_grad()
def judged(translator: Translator, arm: Arm, data: slice) -> tuple[dict[str, Any], list[str]]:
    """Scores of a trained translator, and what it wrote for the test texts."""
    test = segments("test")
    x = translator.source.encode(texts(test, arm.source)[data], reverse=translator.reverse)
    y = translator.target.encode(texts(test, arm.target)[data])
    device = next(translator.model.parameters()).device
    objective = translator.objective().eval()
    nats = objective.per_sample(x.to(device), y.to(device))["distance"].double().cpu()
    found = written(translator, arm, test, data)
    row = {
        "test_nats": float(nats.mean()),
        "test": score(arm, found, test, data),
    }
    translator.model.half().float()
    row["test_stored"] = score(arm, written(translator, arm, test, data), test, data)
    row["each_nats"] = [round(value, 1) for value in nats.tolist()]
    return row, found


def task(given: tuple[str, int, Setting, int, str, int | None, int, Path | None]) -> dict[str, Any]:
    """One run, in a process of its own; with a path its weights are kept and it is judged."""
    torch.set_num_threads(1)
    name, number, setting, seed, device, some, batch, path = given
    arm, data = ARMS[name], slice(some)
    try:
        translator, row = trained(arm, setting, seed, device, data, batch)
        row = {"name": name, "round": number, **row}
        if path is not None:
            translator.model.to(device)
            more, row["texts"] = judged(translator, arm, data)
            row.update(more)
            aebook.save(translator.model.cpu().half(), path)
    except Exception:
        return {"name": name, "seed": seed, "failed": traceback.format_exc()}
    return row


def finished(pool: Any, tasks: list[Any], until: float) -> Iterator[dict[str, Any]]:
    """Results of tasks as they come, up to a time."""
    coming = pool.imap_unordered(task, tasks)
    for n in range(len(tasks)):
        try:
            row = coming.next(timeout=max(0.1, until - time.monotonic()))
        except multiprocessing.TimeoutError:
            print(f"out of time: {len(tasks) - n} of {len(tasks)} runs left", flush=True)
            return
        if "failed" in row:
            print(row["name"], row["failed"], flush=True)
            continue
        setting = Setting(**row["setting"])
        print(
            f"{row['name']:27} {row['seed']} {setting.rate} {setting.dropout} {setting.epochs:3} "
            f"{setting.layers} {setting.code}: {row['nats']:.2f} nats, best {row['best_epoch']}, "
            f"{row.get('test')} {row['seconds']:.0f} s, left {until - time.monotonic():.0f} s",
            flush=True,
        )
        yield row


def choice(name: str, names: Sequence[str], tried: list[dict[str, Any]]) -> list[Setting]:
    """The setting with the lowest validation loss, of the rounds that all rivals went through."""
    rivals = [other for other in names if ARMS[other].target == ARMS[name].target]
    rounds = range(len(SETTINGS[name]))
    done = {(row["name"], row["round"]): row for row in tried}
    fair = [
        n for n in rounds if all((other, n) in done for other in rivals if n < len(SETTINGS[other]))
    ]
    rows = [done[name, n] for n in fair]
    return [Setting(**row["setting"]) for row in sorted(rows, key=lambda row: row["nats"])[:1]]


def compare(names: Sequence[str], options: argparse.Namespace, folder: str) -> None:
    """Both stages, and what they leave to keep; the folder is for weights meanwhile."""
    begun = time.monotonic()
    limit = 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    weights = Path(folder)

    def tasks(chosen: dict[str, list[Setting]], seeds: Sequence[int], keep: bool) -> list[Any]:
        # in rounds: every kind its first setting or seed, then every kind its second
        rounds = max(map(len, chosen.values()))
        return [
            (
                name,
                n,
                settings[n]._replace(epochs=options.epochs or settings[n].epochs),
                seed,
                options.device,
                options.texts,
                options.batch,
                weights / f"{name}-{seed}.safetensors" if keep else None,
            )
            for seed in seeds
            for n in range(rounds)
            for name, settings in chosen.items()
            if n < len(settings)
        ]

    chosen: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []

    def store() -> None:
        rows.sort(key=lambda row: (list(ARMS).index(row["name"]), row["seed"]))
        machine = {
            "device": torch.cuda.get_device_name() if options.device == "cuda" else "CPU",
            "machine": platform.machine(),
            "torch": torch.__version__,
        }
        said = {"jobs": options.jobs, "batch": options.batch, "choice": chosen}
        record = {"machine": machine, "options": said, "rows": rows}
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        (options.out / "translation.json").write_text(text, encoding="utf-8")
        for ends in ("french", "other"):
            with tarfile.open(options.out / f"weights-{ends}.tar", "w") as tar:
                for row in rows:
                    path = weights / f"{row['name']}-{row['seed']}.safetensors"
                    if ("french" in row["name"]) == (ends == "french"):
                        tar.add(path, path.name)

    context = multiprocessing.get_context("spawn")
    if options.setting is None:
        with context.Pool(options.jobs) as pool:
            tried = {name: SETTINGS[name] for name in names}
            until = begun + options.share * limit
            for row in finished(pool, tasks(tried, [0], False), until):
                chosen.append(row)
            pool.terminate()
        best = {name: found for name in names if (found := choice(name, names, chosen))}
    else:
        rate, dropout, epochs = options.setting
        best = {name: [Setting(rate, dropout, int(epochs))] for name in names}
    store()
    if not best:
        print("no setting was tried by all")
        return
    with context.Pool(options.jobs) as pool:
        # time is left to write all down
        until = begun + limit - 15
        for row in finished(pool, tasks(best, SEEDS, True), until):
            rows.append(row)
            store()
        pool.terminate()
    store()
    print(f"{time.monotonic() - begun:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ARMS)}")
    parser.add_argument("--out", type=Path, default=Path("translation"), metavar="FOLDER")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--minutes", type=float, default=1e4, help="stop after so many")
    parser.add_argument("--share", type=float, default=0.45, help="of the time, for choosing")
    parser.add_argument("--batch", type=int, default=64, help="pairs a step")
    parser.add_argument(
        "--setting",
        type=float,
        nargs=3,
        metavar=("RATE", "DROPOUT", "EPOCHS"),
        help="of all, in place of a choice",
    )
    parser.add_argument("--epochs", type=int, help="fewer, to try the script")
    parser.add_argument("--texts", type=int, help="only so many of each split, to try the script")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(ARMS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    names = [name for name in ARMS if name in options.names or not options.names]
    with tempfile.TemporaryDirectory() as folder:
        compare(names, options, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
