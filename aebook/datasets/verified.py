"""Files behind the data sets: shipped, found on this machine, or downloaded; always verified.

Nothing is returned before its SHA-256 has been compared with the one written in this package.
Online news alone has none, since its publisher gives none: names of columns, number of rows and
ranges of values are compared instead, before anything is kept (:mod:`aebook.datasets.news`).
A full data set is looked for in this order:

1. the folder named by the environment variable ``AEBOOK_DATA``, if it is set;
2. ``/usr/share/datasets``, where Debian's ``dataset-...`` packages put theirs;
3. the cache: ``AEBOOK_CACHE`` if it is set, otherwise the user's cache folder for ``aebook``;
4. the canonical address, from which it is downloaded into the cache.
"""

import gzip
import hashlib
import io
import math
import os
import sys
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np

from aebook._internal.checks import one_of

__all__ = [  # noqa: RUF022 - plain alphabetical order, as in every module
    "Archive",
    "Checksums",
    "LARGEST",
    "RETRIES",
    "SHIPPED",
    "SYSTEM_FOLDER",
    "TIMEOUT",
    "cache_folder",
    "check_split",
    "downloader",
    "lines",
    "local_folders",
    "look_for",
    "read_archived",
    "read_idx",
    "read_local",
    "read_shipped",
    "read_verified",
    "sha256",
    "shipped_arrays",
    "unpacked",
]

#: Files that ship with the package, and their SHA-256.
SHIPPED: Mapping[str, str] = {
    "electrocardiogram.npz": "08045d717462b5c228b63a4c1d706d2caa3001728e5551d648bb07214d6fa77f",
    "fashion-mnist.npz": "7b5454ed2be5a1d3d458f9d0b6a1aa0520fda1cef05e108eaedcbea71e4a9dfa",
    "glosses.npz": "327c29e67d469ff20bbdd6cef43e6240eac9fc33bf8771920d4b96de16fa6e02",
    "hanzi.npz": "b374dd7a873410c2497dd2281d513945de2d7f5320d777f4a8272be32cfd6445",
    "libreoffice/segments.npz": "9551b27f70ea6b75f8b223573d106cef986647147dce120aa73b86411132e1a6",
    "mnist.npz": "a2e9226a23b2c1d998463ae4304aad467247ab39eadc4e3d0445a7f44e223cc5",
    "molecules.npz": "77dd21e421a3500d4e14bb5588bf47816fb19acf495c69cf8ac69084e79bd473",
    "nouns.npz": "d781e0a436d5ddc28c1438e8500d28639b7ae3fc121d3843ba09e22c6ed3ef1c",
    "posts.npz": "7b2f1329005d46afd2b6746e3c3ae9f19b757d7e8d212abe96af136cc07550ca",
    "satellite.npz": "4f099811a7380e459d680e81b83baecddf4d757a6d57bf8229d1979f5e05392f",
    "shuttle.npz": "03ec26c2b60bef304e425f5f84bdc0cc1dfb79bb8d5b7a4006a1c1aaceb656d9",
}

SYSTEM_FOLDER = Path("/usr/share/datasets")
#: Seconds without a connection, and seconds without a byte, after which a download is given up.
TIMEOUT = (10.0, 30.0)
#: Further attempts after a download that failed or arrived damaged.
RETRIES = 1

#: Bytes that a file may hold when it is unpacked: the largest that is published has 47 million.
LARGEST = 1 << 26

Content = TypeVar("Content")

_UNREADABLE = (OSError, EOFError, ValueError, zlib.error)


class Checksums(NamedTuple):
    """SHA-256 of a gzip file as published, and of what it decompresses to."""

    compressed: str
    content: str


@dataclass(frozen=True)
class Archive:
    """A data set made of gzip files that are published side by side.

    Parameters
    ----------
    folder
        The name of the data set's folder, the same wherever it is looked for.
    url
        The address of the files, up to and including the last slash.
    checksums
        For each file name (ending in ``.gz``), the checksums that it must have.
    package
        The Debian package that installs the files, if there is one.
    """

    folder: str
    url: str
    checksums: Mapping[str, Checksums]
    package: str | None = None


def check_split(split: str) -> None:
    """Raise `ValueError` unless `split` is ``"train"`` or ``"test"``."""
    one_of("split", split, ("train", "test"))


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal.

    Examples
    --------
    >>> from aebook.datasets.verified import sha256
    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def read_shipped(name: str) -> bytes:
    """Return the bytes of a data file that ships with the package.

    Parameters
    ----------
    name
        One of the names in `SHIPPED`.

    Raises
    ------
    OSError
        If the file is missing or is not the one that was shipped.
    """
    return read_verified(resources.files("aebook.datasets") / "files" / name, SHIPPED[name])


def shipped_arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file of NumPy's that ships with the package, by their names.

    Examples
    --------
    >>> from aebook.datasets.verified import shipped_arrays
    >>> sorted(shipped_arrays("shuttle.npz"))
    ['features', 'labels']
    """
    with np.load(io.BytesIO(read_shipped(name)), allow_pickle=False) as arrays:
        return dict(arrays)


def lines(text: np.ndarray) -> list[str]:
    r"""Lines of text that is stored as an array of bytes.

    Examples
    --------
    >>> from aebook.datasets.verified import lines
    >>> lines(np.frombuffer(b"one\ntwo", np.uint8))
    ['one', 'two']
    """
    return text.tobytes().decode().split("\n")


def unpacked(file: gzip.GzipFile | IO[bytes]) -> bytes:
    """All that a compressed file unpacks to, which nothing can make fill the memory.

    Parameters
    ----------
    file
        Open for reading; it is closed.

    Raises
    ------
    ValueError
        If that is more than `LARGEST` bytes, as in no file that is published.
    """
    with file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
    return content


def read_verified(path: Path | Traversable, digest: str) -> bytes:
    """Return the bytes of a file that ships with the package, if they are those that were shipped.

    Parameters
    ----------
    path
        The file.
    digest
        Its SHA-256, in hexadecimal.

    Raises
    ------
    OSError
        If the file is missing or is not the one that was shipped.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OSError(f"cannot read {path} ({error}): reinstall aebook") from error
    if sha256(data) != digest:
        raise OSError(
            f"{path} is damaged: its SHA-256 is {sha256(data)}, "
            f"but the file that ships has {digest}: reinstall aebook"
        )
    return data


def read_idx(data: bytes) -> np.ndarray:
    """Decode the IDX format of the MNIST family, for unsigned bytes.

    The header is two zero bytes, the type (8: unsigned byte), the number of dimensions, and each
    dimension as a big-endian 32-bit integer; the values follow in row-major order.

    Parameters
    ----------
    data
        The decompressed file.

    Returns
    -------
    numpy.ndarray
        uint8, of the shape that the header gives; a read-only view of `data`.

    Raises
    ------
    ValueError
        If the header or the length is not that of such a file.
    """
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError(f"not an IDX file of unsigned bytes: it starts with {data[:4]!r}")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"the IDX header needs {start} bytes, but there are {len(data)}")
    shape = tuple(int(n) for n in np.frombuffer(data[4:start], dtype=">u4"))
    values = np.frombuffer(data, dtype=np.uint8, offset=start)
    if values.size != math.prod(shape):
        raise ValueError(f"the IDX header says shape {shape}, but there are {values.size} values")
    return values.reshape(shape)


def read_local(folder: Path, name: str, checksums: Checksums) -> bytes:
    """Read a file of an archive from a folder, compressed or not, and verify it.

    A ``.gz`` may have been packed anew (Debian's are), so that only its content is the published
    one. If both the ``.gz`` and the decompressed file are there, one good one is enough.

    Parameters
    ----------
    folder
        Where to look.
    name
        The file's published name, ending in ``.gz``.
    checksums
        What it must match.

    Returns
    -------
    bytes
        The decompressed content.

    Raises
    ------
    FileNotFoundError
        If the folder has no such file.
    ValueError
        If it has one that is damaged, or that is another file of the same name.
    """
    problems = []
    for path in (folder / name, folder / name.removesuffix(".gz")):
        try:
            raw = path.read_bytes()
            content = (
                unpacked(gzip.GzipFile(fileobj=io.BytesIO(raw))) if path.suffix == ".gz" else raw
            )
        except (FileNotFoundError, NotADirectoryError):
            continue
        except _UNREADABLE as error:
            problems.append(f"{path} cannot be read ({error})")
            continue
        if sha256(content) == checksums.content or sha256(raw) == checksums.compressed:
            return content
        problems.append(f"{path} is damaged or another file (content: SHA-256 {sha256(content)})")
    if problems:
        raise ValueError("; ".join(problems))
    raise FileNotFoundError(f"{folder} has no {name}, nor a decompressed copy")


def read_archived(archive: Archive, name: str) -> bytes:
    """Find or download one file of an archive, and return its verified, decompressed content.

    Parameters
    ----------
    archive
        The data set.
    name
        A key of ``archive.checksums``.

    Returns
    -------
    bytes
        The decompressed content.

    Warns
    -----
    UserWarning
        If a copy on this machine is damaged and is therefore passed over.

    Raises
    ------
    ConnectionError
        If no good copy is here and none can be downloaded. The message says where it was looked
        for, why each place failed, and what to do.
    """
    checksums = archive.checksums[name]
    target = cache_folder(archive) / name

    def fetched() -> bytes:
        try:
            return _fetch(archive, name)
        except _UNREADABLE as error:
            state = "a damaged or partial copy" if target.is_file() else "no copy"
            raise OSError(f"{error}; {target.parent} has {state} of {name}") from error

    advice = [f"put the files ({', '.join(archive.checksums)}) into a folder and set AEBOOK_DATA"]
    if archive.package:
        advice.insert(0, f"on Debian or Ubuntu, install the package {archive.package}")
    advice.insert(0, "use the subset that ships with the package: full=False")
    return look_for(
        archive,
        name,
        local_folders(archive),
        lambda folder: read_local(folder, name, checksums),
        fetched,
        advice,
        # read_archived, _canonical, fashion_mnist, its check, and who calls it
        stacklevel=6,
    )


def look_for(
    archive: Archive,
    name: str,
    places: Iterable[Path],
    read: Callable[[Path], Content],
    fetch: Callable[[], Content],
    advice: Sequence[str],
    *,
    stacklevel: int,
) -> Content:
    """What is read from the first place that has a good copy, or else is fetched.

    Parameters
    ----------
    archive, name
        What is looked for.
    places
        Where, in this order.
    read
        Reads and verifies a copy; FileNotFoundError where there is none, ValueError or OSError
        where it is damaged, which is said in a warning. Its messages name the file.
    fetch
        Downloads and verifies, or finds in the cache what was downloaded before.
    advice
        What to do when nothing is found.
    stacklevel
        Who is warned, as in :func:`warnings.warn`.

    Raises
    ------
    ConnectionError
        If there is no good copy and none can be fetched; the message has all the reasons.
    """
    reasons = []
    for place in places:
        try:
            return read(place)
        except FileNotFoundError as error:
            reasons.append(str(error))
        except _UNREADABLE as error:
            reasons.append(str(error))
            warnings.warn(f"{error}: looking elsewhere", stacklevel=stacklevel)
    try:
        return fetch()
    except _UNREADABLE as error:  # requests' exceptions are OSErrors, pooch's are ValueErrors
        reasons.append(f"{archive.url}{name} could not be fetched: {error}")
        lines = [f"no good copy of {archive.folder}/{name} could be found or fetched."]
        lines += ["Looked in:", *(f"  - {reason}" for reason in reasons), "What you can do:"]
        lines += [f"  - {line}" for line in advice]
        lines += ["  - if the cache cannot be written to, set AEBOOK_CACHE to a folder that can"]
        raise ConnectionError("\n".join(lines)) from error


def local_folders(archive: Archive) -> Iterator[Path]:
    """Yield the folders that this package reads but never writes.

    Parameters
    ----------
    archive
        The data set.
    """
    if named := os.environ.get("AEBOOK_DATA"):
        yield Path(named).expanduser() / archive.folder
        yield Path(named).expanduser()
    yield SYSTEM_FOLDER / archive.folder


def _pooch() -> ModuleType:
    # imported only when needed: in Jupyter without ipywidgets it makes tqdm warn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pooch
    return pooch


def cache_folder(archive: Archive) -> Path:
    """Return the folder for what was downloaded of an archive.

    Parameters
    ----------
    archive
        The data set.
    """
    root = os.environ.get("AEBOOK_CACHE") or _pooch().os_cache("aebook")
    return Path(root).expanduser() / archive.folder


def downloader() -> Any:
    """Return pooch's downloader, with our patience: called with an address and a file."""
    return _pooch().HTTPDownloader(
        timeout=TIMEOUT,
        progressbar=sys.stderr.isatty(),
        # pooch leaves the connection open when the server answers with an error.
        hooks={"response": lambda response, **_: None if response.ok else response.close()},
    )


def _fetch(archive: Archive, name: str) -> bytes:
    """Return the file from the cache, downloading it first unless a good copy is there.

    pooch compares the checksum of a cached copy and replaces one that fails; it downloads beside
    the target and renames only what has passed.
    """
    pooch = _pooch()
    fetcher = pooch.create(
        path=cache_folder(archive),
        base_url=archive.url,
        registry={name: f"sha256:{archive.checksums[name].compressed}"},
        retry_if_failed=RETRIES,
    )
    return gzip.decompress(Path(fetcher.fetch(name, downloader=downloader())).read_bytes())
