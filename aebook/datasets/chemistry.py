"""Molecules written as SMILES, from the benchmark MOSES."""

import hashlib

from aebook.datasets.verified import check_split, lines, shipped_arrays

__all__ = ["molecules"]


def molecules(split: str = "train") -> list[str]:
    """Load molecules like those that drugs start from, as SMILES.

    A SMILES is a line of text that stands for one molecule: ``"CC(=O)Nc1ccc(O)cc1"`` is
    paracetamol. These were picked by the authors of MOSES from ZINC's collection of molecules that
    can be bought: weight 250 to 350, at most 7 bonds that turn, the elements C, N, O, S, F, Cl, Br
    and H, no charges, no rings of more than 8 atoms, and no groups that chemists would rather not
    have in a drug. Shipped are a random 1 in 63 of MOSES' training molecules and a random 1 in 35
    of its test molecules. None occurs twice, within a split or across the two. No chemistry
    package is needed to read them.

    Parameters
    ----------
    split
        ``"train"`` (25,000 molecules) or ``"test"`` (5,000).

    Returns
    -------
    list of str
        SMILES in ASCII, of at most 54 characters, in a mixed order that is always the same: any
        prefix is a random sample. A new list at every call.

    Raises
    ------
    ValueError
        If `split` is neither of the two.
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
    check_split(split)
    # stored in alphabetical order, which is a smaller file
    stored = lines(shipped_arrays("molecules.npz")[split])
    return sorted(stored, key=lambda line: hashlib.sha256(line.encode("ascii")).digest())
