r"""How good written molecules are: valid, unique, new, diverse, and like real ones.

The measures are those of the benchmark MOSES (Polykovskiy et al. 2020). All of them need rdkit, and
:func:`activations` the package fcd: ``pip install "aebook[chem]"``.

>>> samples = molecules.sample(model, alphabet, 1000)
>>> score(samples, train)
>>> distances(properties(samples), properties(test))

What follows looks at molecules alone:

>>> found = [text for text in canonical(samples) if text is not None]
>>> frechet(activations(found), activations(test[: len(found)]))
>>> nearest(fingerprints(found), fingerprints(test))
>>> cosine(fragments(found), fragments(test)), cosine(scaffolds(found), scaffolds(test))
>>> passes(found).mean()
"""

from __future__ import annotations

import io
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import matplotlib.image
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from aebook._internal.checks import array, as_many, check_arguments, counted, need
from aebook._internal.contract import checked

__all__ = [
    "Properties",
    "SampleQuality",
    "activations",
    "canonical",
    "cosine",
    "distances",
    "diversity",
    "draw",
    "fingerprints",
    "fragments",
    "frechet",
    "nearest",
    "passes",
    "properties",
    "scaffolds",
    "score",
    "similarity",
]

#: Radius in bonds and length of the fingerprints, as in MOSES.
RADIUS, BITS = 2, 1024

#: Atoms that MOSES allows, and its medicinal chemistry filters: SMARTS of groups that it does not
#: (MIT, copyright 2018 Insilico Medicine; see ``aebook/datasets/README.md``).
ATOMS = frozenset({"C", "N", "S", "O", "F", "Cl", "Br", "H"})
UNWANTED = (
    "[#6]=&!@[#6]-[#6]#[#7]",
    "[#6]=&!@[#6]-[#16](=[#8])=[#8]",
    "[#6]=&!@[#6&!H0]-&!@[#6](=[#8])-&!@[#7]",
    "[H]C([H])([#6])[F,Cl,Br,I]",
    "[#6]1-[#8]-[#6]-1",
    "[#6]-[#7]=[#6]=[#8]",
    "[#6&!H0]=[#8]",
    "[#6](=&!@[#7&!H0])-&!@[#6,#7,#8,#16]",
    "[#6]1-[#7]-[#6]-1",
    "[#6]~&!@[#7]~&!@[#7]~&!@[#6]",
    "[#7]=&!@[#7]",
    "[H][#6]-1=[#6]([H])-[#6]=[#6](-*)-[#8]-1",
    "[H][#6]-1=[#6]([H])-[#6]=[#6](-*)-[#16]-1",
    "[#17,#35,#53]-c(:*):[!#1!#6]:*",
    "[H][#7]([H])-[#6]-1=[#6]-[#6]=[#6]-[#6]=[#6]-1",
    "[#16]~[#16]",
    "[#7]~&!@[#7]~&!@[#7]",
    "[#7]-&!@[#6&!H0&!H1]-&!@[#7]",
    "[#6&!H0](-&!@[#8])-&!@[#8]",
    "[#35].[#35].[#35]",
    "[#17].[#17].[#17].[#17]",
    "[#9].[#9].[#9].[#9].[#9].[#9].[#9]",
)

#: Characters that ChemNet is shown, the end included.
CHARACTERS = 350


class SampleQuality(NamedTuple):
    """Measures of a list of samples, each from 0 to 1."""

    valid: float
    """Share of the samples that are a molecule."""
    unique: float
    """Share of different molecules among the first k valid ones."""
    novel: float
    """Share of the different valid molecules that are not in the reference."""
    diversity: float
    """Of the different valid molecules; see :func:`diversity`."""


class Properties(NamedTuple):
    """Numbers that chemists look at first, each (N,); NaN for what is no molecule."""

    qed: NDArray[np.float64]
    """How like a drug, from 0 to 1, a mean of eight desirabilities (Bickerton et al. 2012)."""
    logp: NDArray[np.float64]
    """log₁₀ of how much rather it dissolves in octanol than in water, estimated by Crippen."""
    sa: NDArray[np.float64]
    """How hard to make, from 1, easy, to 10 (Ertl & Schuffenhauer 2009)."""
    weight: NDArray[np.float64]
    """Mass of a molecule in daltons."""


@checked
def canonical(smiles: Iterable[str]) -> list[str | None]:
    """One SMILES for each molecule, however it was written; None for what is no molecule.

    Parameters
    ----------
    smiles
        Texts. The empty one, which rdkit would take for a molecule without atoms, is none.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import canonical
    >>> canonical(["OCC", "C(C)O", "C("])
    ['CCO', 'CCO', None]
    """
    (chem,) = _rdkit("Chem")
    return [None if m is None else chem.MolToSmiles(m) for m in _molecules(smiles)]


@checked
def score(samples: Sequence[str], reference: Iterable[str], k: int | None = None) -> SampleQuality:
    r"""Validity, uniqueness, novelty and diversity of samples.

    Valid is what rdkit can read: its brackets and rings are closed, no atom has too many bonds, and
    aromatic rings can be drawn with double bonds. All other measures look at valid ones alone.

    Parameters
    ----------
    samples
        SMILES, valid or not.
    reference
        SMILES that are known, for instance those that the model was trained on. They are made
        canonical first, but for a set, which is taken to be: ``set(canonical(train))``, made once.
    k
        Among how many valid ones uniqueness is measured, 1 or more: the more, the lower it is.
        None: all.

    Returns
    -------
    SampleQuality
        Without any valid sample the last three are NaN.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import score
    >>> quality = score(["CCO", "OCC", "O", "C("], reference=["O"])
    >>> quality.valid, round(quality.unique, 2), quality.novel  # 3/4; 2 of 3; 1 of 2
    (0.75, 0.67, 0.5)
    """
    counted("samples", len(samples))
    check_arguments(k=k)
    valid = [text for text in canonical(samples) if text is not None]
    if not valid:
        return SampleQuality(0.0, np.nan, np.nan, np.nan)
    first, different = valid[:k], set(valid)
    # only what stands among the samples has to be looked up, so invalid references do no harm
    known = different & (reference if isinstance(reference, Set) else {*canonical(reference)})
    return SampleQuality(
        valid=len(valid) / len(samples),
        unique=len(set(first)) / len(first),
        novel=1 - len(known) / len(different),
        diversity=diversity(sorted(different)),
    )


@checked
def properties(smiles: Iterable[str], names: Sequence[str] = Properties._fields) -> Properties:
    """QED, logP, synthetic accessibility and weight of molecules.

    Parameters
    ----------
    smiles
        Texts; what is no molecule gets NaN.
    names
        Which of the four to compute, since that takes a millisecond or two for each molecule; the
        others are NaN.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import properties
    >>> properties(["CCO", "C("], ["weight"]).weight.round(1)
    array([46.1,  nan])
    """
    if unknown := set(names) - set(Properties._fields):
        raise ValueError(f"got {sorted(unknown)}, expected names among {Properties._fields}")
    qed, crippen, descriptors, accessibility = _rdkit(
        "Chem.QED", "Chem.Crippen", "Chem.Descriptors", "Contrib.SA_Score.sascorer"
    )
    functions = (qed.qed, crippen.MolLogP, accessibility.calculateScore, descriptors.MolWt)
    found = _molecules(smiles)
    columns = [
        [function(m) if m is not None and name in names else np.nan for m in found]
        for name, function in zip(Properties._fields, functions, strict=True)
    ]
    return Properties(*np.array(columns, dtype=np.float64))


@checked
def distances(a: Properties, b: Properties) -> dict[str, float]:
    r"""How far apart two collections are in each property: :math:`\int |F_a(t) - F_b(t)|\, dt`.

    The Wasserstein distance of order 1, in the unit of the property. NaN is left out, and so is a
    property that neither side has.

    Parameters
    ----------
    a, b
        What :func:`properties` gave for the two.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import distances, properties
    >>> ethanol, methanol = properties(["CCO"]), properties(["CO"])
    >>> round(distances(ethanol, methanol)["weight"], 1)  # a CH₂
    14.0
    """
    found = {}
    for name, x, y in zip(Properties._fields, a, b, strict=True):
        x, y = x[~np.isnan(x)], y[~np.isnan(y)]
        if len(x) and len(y):
            found[name] = float(wasserstein_distance(x, y))
        elif len(x) or len(y):
            raise ValueError(f"got no molecule with a {name}, expected one or more on each side")
    if not found:
        raise ValueError("got no molecule with any property, expected one or more on each side")
    return found


@checked
def fingerprints(smiles: Iterable[str]) -> NDArray[np.bool_]:
    """Which pieces of up to two bonds around an atom occur: Morgan's fingerprints, (N, 1024).

    Pieces are hashed to bits (Rogers & Hahn 2010). What is no molecule raises a ValueError.

    Parameters
    ----------
    smiles
        Texts, all of them molecules.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import fingerprints
    >>> bits = fingerprints(["CCO", "OCC", "c1ccccc1"])
    >>> bits.shape, np.array_equal(bits[0], bits[1]), np.array_equal(bits[0], bits[2])
    ((3, 1024), True, False)
    """
    generators, structs = _rdkit("Chem.rdFingerprintGenerator", "DataStructs")
    generator = generators.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    rows = []
    for m in _all_molecules(smiles):
        row = np.zeros(BITS, np.int8)
        structs.ConvertToNumpyArray(generator.GetFingerprint(m), row)
        rows.append(row.astype(bool))
    return np.array(rows).reshape(-1, BITS)


@checked
def similarity(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    r"""Tanimoto's similarity of sets of bits, :math:`|a \cap b| / |a \cup b|`: (N, M), 0 to 1.

    Parameters
    ----------
    a, b
        Fingerprints, (N, n) and (M, n). Two without any bit are alike.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import similarity
    >>> a, b = np.array([[True, True, False]]), np.array([[True, False, False]])
    >>> similarity(a, b)  # one of two
    array([[0.5]])
    """
    array("a", a, "(N, n)", "truth values", empty=True)
    array("b", b, f"(M, {a.shape[1]})", "truth values", empty=True)
    x, y = a.astype(np.float32), b.astype(np.float32)
    common = x @ y.T
    either = x.sum(1)[:, None] + y.sum(1) - common
    return np.where(either == 0, 1.0, common / np.maximum(either, 1)).astype(np.float64)


@checked
def nearest(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    r"""Mean similarity of each of a to the nearest of b, :math:`\frac1N \sum_i \max_j s(a_i, b_j)`.

    s is :func:`similarity`, from 0 to 1 (SNN of MOSES). Copies of b have 1.

    Parameters
    ----------
    a, b
        :func:`fingerprints`, (N, n) and (M, n), one or more each.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import fingerprints, nearest
    >>> nearest(fingerprints(["OCC", "CO"]), fingerprints(["CCO", "CO", "c1ccccc1"]))
    1.0
    """
    array("a", a, "(N, n)", "truth values")
    array("b", b, f"(M, {a.shape[1]})", "truth values")
    parts = [similarity(a[n : n + 1000], b).max(1).sum() for n in range(0, len(a), 1000)]
    return float(sum(parts) / len(a))


@checked
def fragments(smiles: Iterable[str]) -> Counter[str]:
    """How often each piece occurs that is left when the bonds of BRICS are cut.

    These are bonds that chemists know how to make (Degen et al. 2008). Each end carries a number
    that says which kind of bond was there. What is no molecule raises a ValueError.

    Parameters
    ----------
    smiles
        Texts, all of them molecules.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import fragments
    >>> sorted(fragments(["CCOc1ccccc1", "CC"]).items())  # an ether is cut on both sides
    [('CC', 1), ('[16*]c1ccccc1', 1), ('[3*]O[3*]', 1), ('[4*]CC', 1)]
    """
    chem, operations = _rdkit("Chem", "Chem.rdmolops")
    found = Counter()
    for m in _all_molecules(smiles):
        found.update(chem.MolToSmiles(operations.FragmentOnBRICSBonds(m)).split("."))
    return found


@checked
def scaffolds(smiles: Iterable[str]) -> Counter[str]:
    """How often each skeleton occurs: rings and what links them (Bemis & Murcko 1996).

    Only those of two rings or more count, as in MOSES. What is no molecule raises a ValueError.

    Parameters
    ----------
    smiles
        Texts, all of them molecules.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import scaffolds
    >>> scaffolds(["CCc1ccc(Oc2ccccc2)cc1", "Clc1ccccc1Oc1ccccc1", "Cc1ccccc1"])
    Counter({'c1ccc(Oc2ccccc2)cc1': 2})
    """
    chem, murcko = _rdkit("Chem", "Chem.Scaffolds.MurckoScaffold")
    found = (murcko.GetScaffoldForMol(m) for m in _all_molecules(smiles))
    return Counter(chem.MolToSmiles(m) for m in found if m.GetRingInfo().NumRings() >= 2)


@checked
def cosine(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    r"""Cosine of two vectors of counts, :math:`\sum_i a_i b_i / (|a| |b|)`, from 0 to 1.

    Of :func:`fragments` or :func:`scaffolds` these are Frag and Scaf of MOSES. What does not occur
    counts 0. NaN if nothing occurs on one side.

    Parameters
    ----------
    a, b
        How often each occurs.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import cosine
    >>> cosine({"x": 3, "y": 4}, {"x": 1})
    0.6
    """
    norms = math.hypot(*a.values()) * math.hypot(*b.values())
    return sum(n * b.get(key, 0) for key, n in a.items()) / norms if norms else math.nan


@checked
def passes(smiles: Iterable[str]) -> NDArray[np.bool_]:
    """Which molecules have no group that chemists would rather not have in a drug: (N,).

    These are the filters of MOSES: its own of medicinal chemistry (:data:`UNWANTED`), PAINS, which
    disturb many tests (Baell & Holloway 2010), no atoms but :data:`ATOMS`, no charges, no rings of
    8 atoms or more. All molecules of MOSES pass. What is no molecule raises a ValueError.

    Parameters
    ----------
    smiles
        Texts, all of them molecules.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import passes
    >>> passes(["CCO", "CC=O", "CC[NH3+]", "C1CCCCCCC1"])  # an aldehyde, a charge, a large ring
    array([ True, False, False, False])
    """
    (chem,) = _rdkit("Chem")
    unwanted, pains = _filters()

    def wanted(m: Any) -> bool:
        atoms, whole_ = list(m.GetAtoms()), chem.AddHs(m)
        return (
            ATOMS.issuperset(atom.GetSymbol() for atom in atoms)
            and not any(atom.GetFormalCharge() for atom in atoms)
            and all(len(ring) < 8 for ring in m.GetRingInfo().AtomRings())
            and not any(whole_.HasSubstructMatch(group) for group in unwanted)
            and not pains.HasMatch(whole_)
        )

    return np.array([wanted(m) for m in _all_molecules(smiles)], dtype=bool)


@checked
def activations(smiles: Iterable[str]) -> NDArray[np.float64]:
    """What ChemNet makes of molecules: its last layer but one, (N, 512).

    ChemNet was trained to predict thousands of tests of substances (Preuer et al. 2018). It reads
    the text, so that texts should be :func:`canonical`.

    Parameters
    ----------
    smiles
        Texts of up to 349 characters.

    Raises
    ------
    ImportError
        Without the package fcd, which brings the network: ``pip install "aebook[chem]"``.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import activations
    >>> activations(["CCO", "c1ccccc1"]).shape
    (2, 512)
    """
    fcd = need("fcd", "fcd", "chem")
    encode = need("fcd.utils", "fcd", "chem").get_one_hot
    texts = list(smiles)
    longest = max(map(len, texts), default=0)
    if longest >= CHARACTERS:
        raise ValueError(f"got a text of {longest} characters, expected at most {CHARACTERS - 1}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves a folder to be cleared away
        model = fcd.load_ref_model()
    rows = [np.zeros((0, 512))]
    for n in range(0, len(texts), 100):
        shown = np.stack([encode(text, CHARACTERS) for text in texts[n : n + 100]])
        with torch.no_grad():
            x = torch.from_numpy(shown / shown.shape[2]).float()
            rows.append(model(x.transpose(1, 2)).double().numpy())
    return np.concatenate(rows)


@checked
def frechet(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    r"""Fréchet's distance of two normal distributions that are fitted to vectors.

    .. math::

        |\mu_a - \mu_b|^2
        + \mathrm{tr}\bigl(\Sigma_a + \Sigma_b - 2 (\Sigma_a \Sigma_b)^{1/2}\bigr)

    Of :func:`activations` this is the Fréchet ChemNet distance, FCD (Preuer et al. 2018). It is 0
    for the same vectors, and above 0 for two samples of one distribution: the more so the fewer
    they are. Compare only distances from equally many.

    Parameters
    ----------
    a, b
        Vectors, (N, n) and (M, n), two or more each.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import frechet
    >>> a = np.array([[0.0], [2.0]])
    >>> round(frechet(a, a + 3), 6), round(frechet(a, 2 * a), 6)  # 3²; 1² + (2√2 - √2)²
    (9.0, 3.0)
    """
    array("a", a, "(N, n)", "float64")
    array("b", b, f"(M, {a.shape[1]})", "float64")
    counted("vectors in a", len(a), least=2)
    counted("vectors in b", len(b), least=2)
    # triangles R of n columns with Σ = RᵀR, whatever the number of vectors
    x, y = (
        np.asarray(np.linalg.qr((v - v.mean(0)) / math.sqrt(len(v) - 1), mode="r")) for v in (a, b)
    )
    # the trace of the root is the sum of the singular values of x yᵀ
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(apart + (x**2).sum() + (y**2).sum() - 2 * cross)


@checked
def diversity(smiles: Sequence[str]) -> float:
    r"""Internal diversity, :math:`1 - \frac1{N^2} \sum_{a, b} s(a, b)` over all pairs.

    s is :func:`similarity`; the pairs of each with itself count (IntDiv₁ of MOSES).

    Parameters
    ----------
    smiles
        N molecules, 1 or more.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import diversity
    >>> round(diversity(["CCO", "OCC"]), 6)  # one molecule, written twice
    0.0
    """
    bits = fingerprints(smiles)
    counted("molecules", len(bits))
    # a thousand rows at a time: the memory does not grow with the square
    parts = [similarity(bits[n : n + 1000], bits).sum() for n in range(0, len(bits), 1000)]
    return float(1 - sum(parts) / len(bits) ** 2)


@checked
def draw(
    smiles: Sequence[str],
    legends: Sequence[str] | None = None,
    *,
    columns: int = 4,
    size: tuple[int, int] = (260, 200),
) -> NDArray[np.float32]:
    """Structures in a grid, as an image (H, W, 3 or 4) for ``plt.imshow``.

    Parameters
    ----------
    smiles
        Texts; what is no molecule leaves its place empty.
    legends
        A line under each.
    columns
        Structures in a row.
    size
        Width and height of one in pixels.

    Examples
    --------
    >>> from aebook.applications.molecules.measures import draw
    >>> draw(["CCO", "c1ccccc1"], ["ethanol", "benzene"], columns=2, size=(260, 200)).shape[:2]
    (200, 520)
    """
    legends = [""] * len(smiles) if legends is None else legends
    counted("molecules", len(smiles))
    as_many(molecules=len(smiles), legends=len(legends))
    check_arguments(columns=columns, width=size[0], height=size[1])
    chem, drawing = _rdkit("Chem", "Chem.Draw.rdMolDraw2D")
    rows = -(-len(smiles) // columns)
    canvas = drawing.MolDraw2DCairo(columns * size[0], rows * size[1], *size)
    canvas.drawOptions().legendFontSize = 18
    known = [chem.MolFromSmiles("") if m is None else m for m in _molecules(smiles)]
    canvas.DrawMolecules(known, legends=list(legends))
    canvas.FinishDrawing()
    return matplotlib.image.imread(io.BytesIO(canvas.GetDrawingText()))


@cache
def _filters() -> tuple[list[Any], Any]:
    """The groups of medicinal chemistry, and the catalogue of PAINS."""
    chem, catalogs = _rdkit("Chem", "Chem.FilterCatalog")
    kind = catalogs.FilterCatalogParams.FilterCatalogs.PAINS
    pains = catalogs.FilterCatalog(catalogs.FilterCatalogParams(kind))
    return [chem.MolFromSmarts(group) for group in UNWANTED], pains


def _all_molecules(smiles: Iterable[str]) -> list[Any]:
    """Molecules of rdkit; what is none is refused."""
    found = _molecules(smiles := list(smiles))
    for text, m in zip(smiles, found, strict=True):
        if m is None:
            raise ValueError(f"got {text!r}, which is no molecule: leave out what is not canonical")
    return found


def _molecules(smiles: Iterable[str]) -> list[Any]:
    """Molecules of rdkit, or None; without the lines that it prints for each that is none."""
    chem, base = _rdkit("Chem", "rdBase")
    with base.BlockLogs():
        return [chem.MolFromSmiles(text) if text else None for text in smiles]


def _rdkit(*names: str) -> list[ModuleType]:
    return [need(f"rdkit.{name}", "rdkit", "chem") for name in names]
