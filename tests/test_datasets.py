"""Tests of aebook.datasets: what ships, what is found, what is fetched, and what is refused."""

import gzip
import hashlib
import io
import re
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

import aebook.datasets
from aebook.datasets import (
    FASHION_MNIST_CLASSES,
    Images,
    electrocardiogram,
    fashion_mnist,
    glosses,
    images,
    mnist,
    posts,
    satellite,
    shuttle,
    verified,
)

FOLDER = Path(aebook.datasets.__file__).parent
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
SHAPES = {
    (fashion_mnist, "train"): 10_000,
    (fashion_mnist, "test"): 2_000,
    (mnist, "train"): 4_000,
    (mnist, "test"): 1_000,
}
Loader = Callable[..., Images]
SPLIT_IMAGES = ["train_images", "train_labels", "test_images", "test_labels"]
ARRAYS = {
    "electrocardiogram.npz": ["values"],
    "fashion-mnist.npz": SPLIT_IMAGES,
    "glosses.npz": [
        f"{split}_{part}" for split in ("train", "test") for part in ("words", "texts", "topics")
    ],
    "hanzi.npz": ["characters", "descriptions"],
    "libreoffice/segments.npz": [
        f"{split}_{language}"
        for split in ("train", "validation", "test")
        for language in ("english", "french", "german", "chinese")
    ],
    "mnist.npz": SPLIT_IMAGES,
    "molecules.npz": ["train", "test", "test_scaffolds"],
    "nouns.npz": [
        "words",
        "topics",
        "sense_counts",
        "senses",
        "names",
        "parent_counts",
        "parents",
    ],
    "posts.npz": ["features", "minutes", "reposts", "favourites"],
    "satellite.npz": ["features", "labels"],
    "shuttle.npz": ["features", "labels"],
}


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def rows(x: torch.Tensor) -> list[bytes]:
    return [row.tobytes() for row in x.numpy()]


# What ships ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loader", "split"), SHAPES)
def test_shapes_types_and_range(loader: Loader, split: str) -> None:
    data = loader(split)
    x, y = data
    assert x is data.images
    assert y is data.labels
    assert x.shape == (SHAPES[loader, split], 784)
    assert y.shape == (len(x),)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert x.is_contiguous()
    assert not x.requires_grad
    assert x.min() == 0
    assert x.max() == 1
    # Pixels are bytes divided by 255, and nothing else.
    assert torch.equal(x, (x * 255).round() / 255)
    assert y.unique().tolist() == list(range(10))


def test_train_is_the_default_and_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert len(fashion_mnist().images) == 10_000
    assert len(mnist().images) == 4_000


def test_classes() -> None:
    assert len(FASHION_MNIST_CLASSES) == len(set(FASHION_MNIST_CLASSES)) == 10
    assert fashion_mnist("train").labels.bincount().tolist() == [
        942, 1027, 1016, 1019, 974, 989, 1021, 1022, 990, 1000,
    ]  # fmt: skip
    assert fashion_mnist("test").labels.bincount().min() >= 188


def test_every_ten_digits_hold_each_class_once() -> None:
    for split in ("train", "test"):
        blocks = mnist(split).labels.view(-1, 10)
        assert torch.equal(blocks.sort(dim=1).values, torch.arange(10).expand_as(blocks))
        # Mixed within the blocks, too: each digit comes first about equally often.
        assert blocks[:, 0].bincount(minlength=10).min() > 0.05 * len(blocks)


@pytest.mark.parametrize("loader", [fashion_mnist, mnist])
def test_no_image_occurs_twice_within_or_across_splits(loader: Loader) -> None:
    train, test = rows(loader("train").images), rows(loader("test").images)
    assert len(set(train)) == len(train)
    assert len(set(test)) == len(test)
    assert not set(train) & set(test)


def test_images_are_upright_and_row_major() -> None:
    """A one is taller than wide, trousers have two legs below one waist."""
    x, y = mnist("test")
    ones = x[y == 1].view(-1, 28, 28).mean(0)
    assert (ones.sum(1) > 0.5).sum() > 1.5 * (ones.sum(0) > 0.5).sum()
    x, y = fashion_mnist("test")
    trousers = x[y == 1].view(-1, 28, 28).mean(0)
    assert trousers[3, 13:15].mean() > 1.5 * trousers[24, 13:15].mean()


def test_each_call_returns_new_tensors() -> None:
    first = mnist("test")
    first.images.fill_(7)
    first.labels.fill_(7)
    again = mnist("test")
    assert again.images.max() == 1
    assert again.labels.unique().numel() == 10


@pytest.mark.parametrize("loader", [fashion_mnist, mnist])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("split", ["training", "Train", "", None, 0])
def test_a_wrong_split_is_refused(loader: Loader, full: bool, split: object) -> None:
    with pytest.raises(ValueError, match=r"got split=.*, expected") as error:
        loader(split, full=full)
    assert repr(split) in str(error.value)


def test_the_readme_lists_every_shipped_file() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    pattern = r"^\| `([^`]+)` \| ([\d,]+) \| `(\w{64})` \| `(\w{64})` \|$"
    listed = {name: values for name, *values in re.findall(pattern, readme, re.MULTILINE)}
    folder = FOLDER / "files"
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*.npz")}
    assert set(listed) == set(verified.SHIPPED) == present
    for name, (size, packed, content) in listed.items():
        data = (FOLDER / "files" / name).read_bytes()
        assert (size, packed) == (f"{len(data):,}", hashlib.sha256(data).hexdigest())
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            assert arrays.files == ARRAYS[name]
            joined = b"".join(arrays[key].tobytes() for key in arrays.files)
        assert content == hashlib.sha256(joined).hexdigest()
    for notice in (
        "2017 Zalando SE",
        "WITHOUT WARRANTY OF ANY KIND",
        "ShareAlike 3.0",
        "WordNet 3.0 Copyright 2006 by Princeton University",
        "10.24432/C55887",
        "10.24432/C5WS31",
        "Artistic License 2.0",
        "Attribution 4.0",
        "Open Data Commons Attribution License 1.0",
    ):
        assert notice in readme


def test_what_ships_is_small() -> None:
    assert sum((FOLDER / "files" / name).stat().st_size for name in verified.SHIPPED) < 10e6


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "missing"])
@pytest.mark.parametrize("loader", [electrocardiogram, mnist, glosses, posts, satellite, shuttle])
def test_a_damaged_shipped_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: Callable, damage: str
) -> None:
    name = f"{loader.__name__}.npz"
    data = bytearray((FOLDER / "files" / name).read_bytes())
    target = tmp_path / "files" / name
    target.parent.mkdir()
    if damage == "one bit":
        data[len(data) // 2] ^= 1
    if damage != "missing":
        target.write_bytes({"truncated": data[:-100], "empty": b""}.get(damage, data))
    monkeypatch.setattr(verified.resources, "files", lambda _: tmp_path)
    with pytest.raises(OSError, match=f"{re.escape(name)}.*reinstall aebook"):
        loader()


# An independent reading of Debian's files --------------------------------------------------------

needs_debian = pytest.mark.skipif(
    not (DEBIAN / "train-images-idx3-ubyte.gz").is_file(),
    reason="the full Fashion-MNIST of Debian's package dataset-fashion-mnist is not installed",
)


@needs_debian
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_shipped_and_full_fashion_mnist_agree_with_debian(
    monkeypatch: pytest.MonkeyPatch, split: str, prefix: str
) -> None:
    monkeypatch.delenv("AEBOOK_DATA", raising=False)
    full, part = fashion_mnist(split, full=True), fashion_mnist(split)
    n = len(part.images)
    with gzip.open(DEBIAN / f"{prefix}-images-idx3-ubyte.gz") as file:
        assert struct.unpack(">4I", file.read(16)) == (0x803, len(full.images), 28, 28)
        pixels = torch.frombuffer(bytearray(file.read(n * 784)), dtype=torch.uint8)
    with gzip.open(DEBIAN / f"{prefix}-labels-idx1-ubyte.gz") as file:
        labels = torch.frombuffer(bytearray(file.read()[8:]), dtype=torch.uint8).long()
    assert len(full.images) == {"train": 60_000, "test": 10_000}[split]
    assert torch.equal(part.images, pixels.view(n, 784).float() / 255)
    assert torch.equal(part.images, full.images[:n])
    assert torch.equal(full.labels, labels)
    assert torch.equal(part.labels, labels[:n])


# A tiny archive on a server of our own -----------------------------------------------------------


class Server:
    """Files on 127.0.0.1 that can be served whole, cut, changed, late, or not at all."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.behaviour: list[str] = []  # used up one a request, then "good"
        self.requests: list[str] = []
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.lstrip("/")
        self.requests.append(name)
        how = self.behaviour.pop(0) if self.behaviour else "good"
        if how == "404" or name not in self.files:
            handler.send_error(404)
            return
        if how == "hang":
            self.release.wait(10)
            return
        data = self.files[name]
        sent = {
            "changed": data[:-1] + bytes([data[-1] ^ 1]),
            "cut": data[: len(data) // 2],
            "short": data[: len(data) // 2],
        }.get(how, data)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data if how == "cut" else sent)))
        handler.end_headers()
        handler.wfile.write(sent)

    def close(self) -> None:
        self.release.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no data set on it, whose cache is the folder returned."""
    monkeypatch.setenv("AEBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AEBOOK_DATA", raising=False)
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    monkeypatch.setattr(verified, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(verified, "RETRIES", 0)
    return tmp_path / "cache" / "tiny"


@pytest.fixture
def tiny(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> verified.Archive:
    """Twelve training and five test images of 28 x 28, in the place of Fashion-MNIST."""
    rng = np.random.default_rng(0)
    checksums = {}
    for prefix, count in (("train", 12), ("t10k", 5)):
        for kind, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            content = idx(rng.integers(0, 256 if "images" in kind else 10, shape, dtype=np.uint8))
            name = f"{prefix}-{kind}-ubyte.gz"
            server.files[name] = gzip.compress(content, mtime=1)
            checksums[name] = verified.Checksums(
                hashlib.sha256(server.files[name]).hexdigest(),
                hashlib.sha256(content).hexdigest(),
            )
    archive = verified.Archive("tiny", server.url, checksums, package="dataset-tiny")
    monkeypatch.setattr(images, "FASHION_MNIST", archive)
    return archive


def put(server: Server, folder: Path, *, form: str = "published") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in server.files.items():
        content = gzip.decompress(data)
        if form == "published":
            (folder / name).write_bytes(data)
        elif form == "repacked":
            (folder / name).write_bytes(gzip.compress(content, compresslevel=1, mtime=2))
        else:
            (folder / name.removesuffix(".gz")).write_bytes(content)


def check_test_split(server: Server) -> None:
    x, y = fashion_mnist("test", full=True)
    content = gzip.decompress(server.files["t10k-images-idx3-ubyte.gz"])
    assert x.shape == (5, 784)
    assert x.dtype == torch.float32
    assert (x.numpy() * 255).round().astype(np.uint8).tobytes() == content[16:]
    assert y.dtype == torch.int64
    labels = gzip.decompress(server.files["t10k-labels-idx1-ubyte.gz"])[8:]
    assert y.tolist() == list(labels)


@pytest.mark.usefixtures("tiny")
def test_a_full_set_is_fetched_once(server: Server, cache: Path) -> None:
    check_test_split(server)
    assert sorted(server.requests) == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    assert sorted(path.name for path in cache.iterdir()) == sorted(server.requests)
    check_test_split(server)
    assert len(server.requests) == 2
    assert len(fashion_mnist("train", full=True).images) == 12


@pytest.mark.usefixtures("tiny", "cache")
@pytest.mark.parametrize("form", ["published", "repacked", "plain"])
@pytest.mark.parametrize("place", ["AEBOOK_DATA/tiny", "AEBOOK_DATA", "system"])
def test_a_copy_on_this_machine_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, place: str
) -> None:
    if place == "system":
        put(server, tmp_path / "system" / "tiny", form=form)
    else:
        monkeypatch.setenv("AEBOOK_DATA", str(tmp_path / "mine"))
        put(server, tmp_path / "mine" / place.partition("/")[2], form=form)
    check_test_split(server)
    assert not server.requests


@pytest.mark.usefixtures("tiny")
def test_places_are_tried_in_order(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AEBOOK_DATA, then the system, then the cache, then the network: take them away in turn."""
    monkeypatch.setenv("AEBOOK_DATA", str(tmp_path / "mine"))
    seen = []
    read = Path.read_bytes

    def watch(path: Path) -> bytes:
        data = read(path)
        seen.append(path)
        return data

    monkeypatch.setattr(Path, "read_bytes", watch)
    places = [tmp_path / "mine" / "tiny", tmp_path / "system" / "tiny", cache]
    for place in places:
        put(server, place)
    for place in places:
        seen.clear()
        check_test_split(server)
        assert {path.parent for path in seen} == {place}
        assert not server.requests
        shutil.rmtree(place)
    check_test_split(server)
    assert len(server.requests) == 2


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "changed": lambda data: data[:40] + bytes([data[40] ^ 255]) + data[41:],
    "not gzip": lambda data: b"<html>moved</html>",
    "empty": lambda data: b"",
    "a small file of a hundred megabytes": lambda data: gzip.compress(bytes(100_000_000)),
    "other content": lambda data: gzip.compress(idx(np.zeros((5, 28, 28), np.uint8))),
}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_system_copy_is_passed_over_with_a_warning(
    server: Server, cache: Path, tmp_path: Path, damage: str
) -> None:
    put(server, tmp_path / "system" / "tiny")
    bad = tmp_path / "system" / "tiny" / "t10k-images-idx3-ubyte.gz"
    bad.write_bytes(DAMAGES[damage](bad.read_bytes()))
    before = bad.read_bytes()
    with pytest.warns(UserWarning, match=re.escape(str(bad))) as caught:
        check_test_split(server)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert bad.read_bytes() == before
    assert [path.name for path in cache.iterdir()] == [bad.name]


@pytest.mark.usefixtures("tiny", "cache")
def test_a_good_decompressed_copy_beside_a_damaged_one_is_enough(
    server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "system" / "tiny"
    put(server, folder, form="plain")
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"")
    check_test_split(server)
    assert not server.requests


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cached_copy_is_fetched_again(server: Server, cache: Path, damage: str) -> None:
    put(server, cache)
    bad = cache / "t10k-images-idx3-ubyte.gz"
    bad.write_bytes(DAMAGES[damage](bad.read_bytes()))
    check_test_split(server)
    assert server.requests == [bad.name]
    assert bad.read_bytes() == server.files[bad.name]


REASONS = {
    "changed": "could not be fetched: SHA256",
    "cut": "could not be fetched: .*IncompleteRead",
    "short": "could not be fetched: SHA256",
    "404": "could not be fetched: 404",
    "hang": "could not be fetched: .*[Tt]imed out",
}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("failure", REASONS)
def test_a_failed_download_is_refused_and_leaves_nothing(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    server.behaviour = [failure]
    with monkeypatch.context() as patch:
        if failure == "hang":
            patch.setattr(verified, "TIMEOUT", (5.0, 0.2))
        with pytest.raises(ConnectionError, match=REASONS[failure]):
            fashion_mnist("test", full=True)
    assert not list(cache.iterdir())
    check_test_split(server)  # and the next attempt is free to succeed


@pytest.mark.usefixtures("tiny", "cache")
@pytest.mark.parametrize("failure", ["changed", "cut", "404"])
def test_a_failed_download_is_tried_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    monkeypatch.setattr(verified, "RETRIES", 1)
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    server.behaviour = [failure]
    check_test_split(server)
    assert len(server.requests) == 3


def test_retries_and_timeouts_are_set() -> None:
    assert verified.RETRIES >= 1
    assert all(0 < seconds <= 60 for seconds in verified.TIMEOUT)


def test_an_offline_failure_says_where_it_looked_and_what_to_do(
    server: Server,
    tiny: verified.Archive,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.close()  # from now on, connections are refused
    monkeypatch.setenv("AEBOOK_DATA", str(tmp_path / "mine"))
    put(server, cache)
    bad = cache / "t10k-images-idx3-ubyte.gz"
    bad.write_bytes(b"half")
    with pytest.raises(ConnectionError) as error:
        fashion_mnist("test", full=True)
    message = str(error.value)
    for part in (
        f"{tmp_path / 'mine' / 'tiny'} has no {bad.name}",
        f"{tmp_path / 'mine'} has no {bad.name}",
        f"{tmp_path / 'system' / 'tiny'} has no {bad.name}",
        f"{cache} has a damaged or partial copy of {bad.name}",
        f"{tiny.url}{bad.name} could not be fetched",
        "refused",
        "install the package dataset-tiny",
        "AEBOOK_DATA",
        "AEBOOK_CACHE",
        "full=False",
    ):
        assert part in message
    assert bad.read_bytes() == b"half"


@pytest.mark.usefixtures("tiny")
def test_offline_a_good_cache_is_enough(server: Server, cache: Path) -> None:
    put(server, cache)
    server.close()
    check_test_split(server)


@pytest.mark.usefixtures("tiny", "cache")
@pytest.mark.parametrize("obstacle", ["a file in its place", "no permission"])
def test_an_unwritable_cache_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    if obstacle == "no permission":

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        # Not by chmod, which does not stop root.
        monkeypatch.setattr("pooch.utils.os.makedirs", refuse)
    else:
        (tmp_path / "cache").write_text("not a folder", "utf8")
    with pytest.raises(ConnectionError, match="AEBOOK_CACHE") as error:
        fashion_mnist("test", full=True)
    assert str(tmp_path / "cache") in str(error.value)
    assert isinstance(error.value.__cause__, OSError)


def test_mnist_full_uses_its_own_archive(
    tiny: verified.Archive, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MNIST", verified.Archive("digits", tiny.url, tiny.checksums))
    assert mnist("test", full=True).images.shape == (5, 784)
    server.behaviour = ["404"]
    with pytest.raises(ConnectionError) as error:
        mnist("train", full=True)
    assert "install the package" not in str(error.value)


def test_canonical_archives_name_the_four_files() -> None:
    expected = {
        f"{prefix}-{kind}-ubyte.gz"
        for prefix in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    }
    for archive in (images.FASHION_MNIST, images.MNIST):
        assert set(archive.checksums) == expected
        assert archive.url.endswith("/")
        sums = [value for pair in archive.checksums.values() for value in pair]
        assert len(set(sums)) == 8
        assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in sums)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x1f\x8b\x08\x00", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\0", "not an IDX file"),
        (b"\0\0\x08\x03\0\0\0\x01", "header needs 16 bytes, but there are 8"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], r"shape \(2, 3\), but there are 5 values"),
        (idx(np.zeros((2, 3), np.uint8)) + b"\0", r"shape \(2, 3\), but there are 7 values"),
    ],
)
def test_read_idx_refuses_what_is_not_one(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verified.read_idx(data)


def test_read_idx_inverts_writing() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(verified.read_idx(idx(array)), array)
