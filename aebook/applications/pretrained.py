"""Trained models that ship with the package.

How each was trained, on what, and how well it does is in ``weights/README.md`` beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from torch import nn

from aebook._internal.contract import checked
from aebook.core import Autoencoder
from aebook.datasets.verified import read_verified
from aebook.storage.models import load as load_file

__all__ = ["SHIPPED", "load"]

#: Models that ship with the package, and the SHA-256 of their files.
SHIPPED: Mapping[str, str] = {
    "bits-back-clothes": "7bb34c23e11d62882f3723915a843a36fa0b77bf23cf58c815683c167480186e",
    "chinese-english": "400ec7462ad1ce30ec3bfadb71b6bc989bac6bd45e1eb4e294bbcc43561dc8bc",
    "chinese-english-again": "c34f735c620b3edaad8f6cd01ba55b51025acaba522aba10980802122af45e86",
    "compression-140": "820f4aadf2e0f8670c0140f2aa59872b36b6414bb56a24b542cd5994d5d6a4de",
    "compression-28": "01f5790bd0e49897a3aac5f91db3c1e8ac8969f0929beaf8bb52c14f9738df98",
    "compression-48": "236e64b8c330082bb0a5a9e0ab19d6e3fb97b9c091ede1c69e44440d06292179",
    "compression-80": "ed1baf34eecc516cdebce49276f5ca5609fe0d91cc44983a098e5a22cb9e2e90",
    "compression-cosine-140": "1f839ebd70500b672b0058fdc65aa4f8d594fb31779cbf66a7c47418ade29cf1",
    "compression-cosine-28": "270b86de240ed077ef01b7f2f5f4fb3d2a56796079f1ede9cd1425808ba1f7f0",
    "compression-cosine-48": "8bccf0d95048e2a91649b2f7f2f06b4addc5685c0c8b500916f5f64ee2298539",
    "compression-cosine-80": "1c10945dbcdfe2b7fa500f37271f686e2e988bdb5eb3a05672b67deba12ac9d1",
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


@checked
def load(name: str, parts: Mapping[str, nn.Module] | None = None) -> Autoencoder:
    """Load a trained model that ships with the package, in evaluation mode.

    Weights are of the type that they are stored in. To save space that is one of two bytes or of
    one for most, with which nothing can be computed: ``load(name).float()`` then.

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

    Examples
    --------
    >>> from aebook.applications import pretrained
    >>> model = pretrained.load("restoration-photographs")
    >>> model.reconstruct(torch.rand(1, 1, 40, 60)).shape
    torch.Size([1, 1, 40, 60])
    """
    if name not in SHIPPED:
        raise ValueError(f"got {name!r}, expected one of {sorted(SHIPPED)}")
    source = resources.files("aebook.applications") / "weights" / f"{name}.safetensors"
    with resources.as_file(source) as path:
        read_verified(path, SHIPPED[name])
        return load_file(path, parts)
