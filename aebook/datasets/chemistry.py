"""Molecules written as SMILES, from the benchmark MOSES."""

import hashlib

from aebook._internal.checks import one_of
from aebook.datasets.verified import lines, shipped_arrays

__all__ = ["molecules"]


def molecules(split: str = "train") -> list[str]:
    """Load molecules like those that drugs start from, as SMILES.

    A SMILES is a line of text that stands for one molecule: ``"CC(=O)Nc1ccc(O)cc1"`` is
    paracetamol. These were picked by the authors of MOSES from ZINC's collection of molecules that
    can be bought: weight 250 to 350, at most 7 bonds that turn, the elements C, N, O, S, F, Cl, Br
    and H, no charges, no rings of more than 8 atoms, and no groups that chemists would rather not
    have in a drug. Shipped are a random 1 in 63 of MOSES' training molecules and a random 1 in 35
    of each of its two test sets. In one of them are molecules whose scaffolds, the rings and what
    links them, no training molecule has. None occurs twice, within a split or across them. No
    chemistry package is needed to read them.

    Parameters
    ----------
    split
        ``"train"`` (25,000 molecules), ``"test"`` (5,000) or ``"test_scaffolds"`` (5,000).

    Returns
    -------
    list of str
        SMILES in ASCII, of at most 54 characters, in a mixed order that is always the same: any
        prefix is a random sample. A new list at every call.

    Raises
    ------
    ValueError
        If `split` is none of the three.
    OSError
        If the shipped file is missing or damaged.

    Notes
    -----
    Source: MOSES (the Python package molsets 0.3.1), chosen there from ZINC's "Clean Leads".
    Licence: MIT, copyright 2018 Insilico Medicine; its text is in ``aebook/datasets/README.md``.

    References
    ----------
    D. Polykovskiy et al., "Molecular Sets (MOSES): A Benchmarking Platform for Molecular
    Generation Models", Frontiers in Pharmacology 11, 565644, 2020.

    Examples
    --------
    >>> len(molecules()), molecules()[0]
    (25000, 'Cc1ccc(-c2nnn(CC(=O)NC(C)c3cc(C)oc3C)n2)cc1')
    """
    one_of("split", split, ("train", "test", "test_scaffolds"))
    # stored in alphabetical order, which is a smaller file
    stored = lines(shipped_arrays("molecules.npz")[split])
    return sorted(stored, key=lambda line: hashlib.sha256(line.encode("ascii")).digest())
