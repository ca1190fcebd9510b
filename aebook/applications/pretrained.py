"""Trained models that ship with the package.

How each was trained, on what, and how well it does is in ``weights/README.md`` beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from torch import nn

from aebook.datasets.files import read_verified
from aebook.storage.files import load as load_file

__all__ = ["SHIPPED", "load"]

#: Models that ship with the package, and the SHA-256 of their files.
SHIPPED: Mapping[str, str] = {
    "chinese-english": "400ec7462ad1ce30ec3bfadb71b6bc989bac6bd45e1eb4e294bbcc43561dc8bc",
    "chinese-english-again": "c34f735c620b3edaad8f6cd01ba55b51025acaba522aba10980802122af45e86",
    "compression-140": "a9f37605835efabf9c424b89bd9c84eecf73e0699a260d95d561224c31636b47",
    "compression-28": "c3c495437acea72df0ad53ccbff45374716983c9660ae5544cabf324a42bafe2",
    "compression-48": "8c6d6d2c032c50edb41d4007af3c361d7b450f2f7cc7bed6e539b224a0e4d002",
    "compression-80": "1d07a0b01c6964bf31e874eba47692c773f566539829a8ae8eecb81671288097",
    "compression-cosine-140": "75f0d9b591ceb8c82908be5428377d4e92ffd899aea5d411d4d477ddf63c413d",
    "compression-cosine-28": "3a162431b768a9807f7a9296214e5491a739e4287fe46fa103a662d50c057670",
    "compression-cosine-48": "fd77fed940f9f77062c093afd0370637f79ef182d832eca2af9b7dbefe6148de",
    "compression-cosine-80": "382f633af3ef4235f5eace1ec15d585d54107483c2da27f53a4f8760bc849c70",
    "english-chinese": "1b0ca2af04d5a72125fd34ab824e44f89c38fee55694e57ebe06dae8d014f809",
    "english-french": "286511fa36443c8a36dd926129ac787ad15d42903f6e92a2b6a78c53bd53cd0a",
    "english-french-backward": "29eafdd71b332f0a733572efe5e95f0123e084c09ef56358dd63c5a0f6a85462",
    "english-french-code": "b16eeff4d35fcfc439701f47b061ffc3b02298b7f0b8fac7659c0a73bef8741d",
    "english-french-forward": "23f34f913a9c4dea9c803a6f5aa947cd656ddf47a15a37a2985e81b62f119ab9",
    "english-parts": "a8f90fa259ae0c5baf1b2dfcf1198b612a4de22c28e0959ebd338c92a4d6a629",
    "molecules": "a49397691f77b1e0b8c0dd0d697e8574fc566bc3bcaeb1758d756a605d57ac6e",
    "parts-english": "26c1aab15f427fa5662cffaaa8413f383423f762e168a6363014fe8654b99c78",
    "parts-english-again": "3342f77115ea4a8086339f8090182c42bc7d729679a211bd343ed7597e1286e8",
    "restoration-photographs": "1212eb3f1bdfbccf2184e49f3a920028eedd1bed9d6600fe0f57d76695dae545",
}


def load(name: str, parts: Mapping[str, nn.Module] | None = None) -> nn.Module:
    """Load a trained model that ships with the package, in evaluation mode.

    Parameters
    ----------
    name
        One of the names in :data:`SHIPPED`.
    parts
        Parts of the model of classes that :func:`aebook.load` does not know, as there.

    Raises
    ------
    ValueError
        If there is no such model, or the parts do not fit it.
    OSError
        If the file is missing or is not the one that was shipped.
    """
    if name not in SHIPPED:
        raise ValueError(f"got {name!r}, expected one of {sorted(SHIPPED)}")
    source = resources.files(__package__) / "weights" / f"{name}.safetensors"
    with resources.as_file(source) as path:
        read_verified(path, SHIPPED[name])
        return load_file(path, parts)
