"""Sealed files: tensors as safetensors, plain values as JSON beside them, SHA-256 over it all.

Any reader of safetensors finds the tensors. Their metadata are one entry, ``aebook``, which is
JSON: the checksum, the format, the version that wrote it, and the content. Nothing in it runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import safetensors.torch
from torch import Tensor

from aebook._internal.files import replace

__all__ = ["read", "version", "write"]

# stands for the checksum in what the checksum is of
_BLANK = b"0" * 64


def write(
    path: str | os.PathLike[str],
    kind: str,
    number: int,
    content: Any,
    tensors: Mapping[str, Tensor],
) -> None:
    """Write a file, whole or not at all.

    Parameters
    ----------
    path
        Where to: see :func:`aebook._internal.files.replace`.
    kind
        What the content is, ``"model"`` or ``"run"``: its name in the entry.
    number
        Of the format of this kind.
    content
        What JSON can hold.
    tensors
        Real ones with values of their own, by name; they may be views of a common storage.
    """
    entry = {"sha256": _BLANK.decode(), "format": number, "aebook": version(), kind: content}
    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    # clones, so that views of a common storage are none
    apart = {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}
    whole = safetensors.torch.save(apart, {"aebook": text})
    digest = hashlib.sha256(whole).hexdigest().encode()
    at, rest = whole.index(_BLANK), memoryview(whole)
    replace(path, lambda file: file.writelines((rest[:at], digest, rest[at + len(_BLANK) :])))


def read(
    path: str | os.PathLike[str], kind: str, number: int, bytes_: bytes, advice: str
) -> tuple[Any, dict[str, Tensor], str]:
    """The content, the tensors, and the version that wrote them, of a file that is as written.

    Parameters
    ----------
    path
        For messages.
    kind, number
        What is expected, and up to which format.
    bytes_
        All that the file holds.
    advice
        What to do when it is not: ``"get it again"``.

    Raises
    ------
    ValueError
        If a single bit is another, or it is another program's, a newer version's or of another
        kind.
    """
    try:
        # checks that the tensors fill the file exactly, before there is memory for any
        found = safetensors.torch.load(bytes_)
        header = json.loads(bytes_[8 : 8 + int.from_bytes(bytes_[:8], "little")])
        text = header.get("__metadata__", {}).get("aebook")
    except Exception as error:
        pickled = " It may be a pickle, which can run code and is never opened."
        raise ValueError(
            f"{path} is no safetensors file, or is truncated or altered: {advice}."
            + (pickled if bytes_[:2] == b"PK" or bytes_[:1] == b"\x80" else "")
        ) from error
    if text is None:
        raise ValueError(
            f"{path} is a safetensors file, but not one that aebook wrote: "
            + (
                "build the model and use safetensors.torch.load_model"
                if kind == "model"
                else "give another path for the run"
            )
        )
    try:
        entry = json.loads(text)
        digest, format_, theirs = str(entry["sha256"]), entry["format"], entry["aebook"]
        if not isinstance(format_, int) or format_ < 1 or not isinstance(theirs, str):
            raise ValueError("a format is a number from 1, a version is text")
    except Exception as error:
        raise ValueError(f"{path} has metadata that are not aebook's: {advice}") from error
    if kind not in entry and entry.keys() & {"model", "run"}:
        raise ValueError(
            f"{path} is a checkpoint of a run, expected a model: aebook.fit goes on from it"
            if kind == "model"
            else f"{path} is a model, expected a checkpoint: aebook.load reads it. Give another "
            "path for the run"
        )
    if format_ > number:
        raise ValueError(
            f"{path} has the format {format_}, and this version reads up to {number}: "
            f"update aebook (written by aebook {theirs:.20}, this is {version()})"
        )
    at, rest = bytes_.find(digest.encode()), memoryview(bytes_)
    sealed = hashlib.sha256(rest[:at])
    sealed.update(_BLANK)
    sealed.update(rest[at + len(_BLANK) :])
    if len(digest) != len(_BLANK) or sealed.hexdigest() != digest:
        raise ValueError(f"{path} was altered after it was written: {advice}")
    return entry.get(kind), found, theirs


def version() -> str:
    """The version of the package that runs."""
    # not known yet when this module is imported
    from aebook import __version__

    return __version__
