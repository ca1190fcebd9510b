r"""Molecules as sequences of symbols: SMILES, SELFIES, and a variational autoencoder of them.

A molecule is written as a line of text, cut into symbols, and each symbol becomes a number: a
message of :mod:`aebook.recurrent`. SMILES needs nothing but this module. SELFIES, in which every
line stands for some molecule, needs the package selfies, and whoever judges molecules needs rdkit
(:mod:`aebook.applications.molecules.measures`): ``pip install "aebook[chem]"``.

>>> alphabet = Alphabet.of(smiles)
>>> messages = alphabet.encode(smiles)
>>> objective = variational(len(alphabet), 64, messages.shape[1])
>>> history = aebook.fit(objective, messages, epochs=20, anneal=warm_up(0.2))
>>> new = sample(objective.model, alphabet, 100)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from aebook import variants
from aebook._internal.checks import counted, need, number, whole
from aebook._internal.checks import symbols as check_symbols
from aebook._internal.contract import checked, taken
from aebook.core import Autoencoder, Objective
from aebook.distances import categorical
from aebook.recurrent import END, PADDING, Decoder, Encoder
from aebook.theory.likelihood import prior

__all__ = [
    "Alphabet",
    "from_selfies",
    "language_model",
    "sample",
    "split_selfies",
    "split_smiles",
    "to_selfies",
    "variational",
    "warm_up",
]

_SMILES = re.compile(
    r"\[[^\[\]]+\]"  # an atom in brackets, with its charge, hydrogens and so on
    r"|Br|Cl|[BCNOPSFI]|[bcnops]|\*"  # other atoms; small letters are aromatic
    r"|[-=#$:/\\~.]|[()]"  # bonds and branches
    r"|%\d\d|\d"  # the two ends of a bond that closes a ring
)
_SELFIES = re.compile(r"\[[^\[\]]+\]|\.")


@checked
def split_smiles(smiles: str) -> list[str]:
    """Cut a SMILES into symbols; joined again they are the same text (Weininger 1988).

    An atom is one symbol, however many letters it has: ``"Cl"``, ``"[nH]"``. So is each bond,
    bracket and number of a ring.

    Examples
    --------
    >>> from aebook.applications.molecules import split_smiles
    >>> split_smiles("ClC=C[NH3+]")
    ['Cl', 'C', '=', 'C', '[NH3+]']
    """
    return _split(smiles, _SMILES, "SMILES")


@checked
def split_selfies(selfies: str) -> list[str]:
    """Cut a SELFIES into its symbols, which stand in square brackets (Krenn et al. 2020).

    Examples
    --------
    >>> from aebook.applications.molecules import split_selfies
    >>> split_selfies("[C][C][=O]")
    ['[C]', '[C]', '[=O]']
    """
    return _split(selfies, _SELFIES, "SELFIES")


@checked
def to_selfies(smiles: str) -> str:
    """Write the molecule of a SMILES as SELFIES.

    Raises
    ------
    ValueError
        If it is none, or no molecule that SELFIES can write.
    ImportError
        Without the package selfies: ``pip install "aebook[chem]"``.

    Examples
    --------
    >>> from aebook.applications.molecules import to_selfies
    >>> to_selfies("CC=O")
    '[C][C][=O]'
    """
    selfies = need("selfies", "selfies", "chem")
    try:
        return selfies.encoder(smiles)
    except selfies.EncoderError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"got {smiles!r}, which SELFIES cannot write; expected a molecule that it can: {reason}"
        ) from error


@checked
def from_selfies(selfies: str) -> str:
    """Write the molecule of a SELFIES as SMILES; every sequence of its symbols has one.

    Symbols that would ask too many bonds of an atom are read as fewer, or as none. What is left
    may be the empty text.

    Examples
    --------
    >>> from aebook.applications.molecules import from_selfies
    >>> from_selfies("[C][C][O]")
    'CCO'
    """
    library = need("selfies", "selfies", "chem")
    try:
        return library.decoder("".join(split_selfies(selfies)))
    except library.DecoderError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"got {selfies!r}, expected symbols of SELFIES: {reason}") from error


class Alphabet:
    """Symbols and their numbers; 0 is padding, 1 the end.

    Parameters
    ----------
    symbols
        All symbols, in the order of their numbers, which start at 2.
    split
        Cuts a text into symbols: :func:`split_smiles`, :func:`split_selfies`, ``list`` for
        characters.

    Examples
    --------
    >>> from aebook.applications.molecules import Alphabet
    >>> alphabet = Alphabet(["C", "Cl", "O"])
    >>> messages = alphabet.encode(["CCO", "CCl"])
    >>> messages.tolist(), alphabet.decode(messages)
    ([[2, 2, 4, 1], [2, 3, 1, 0]], ['CCO', 'CCl'])
    """

    @checked
    def __init__(
        self, symbols: Sequence[str], split: Callable[[str], Sequence[str]] = split_smiles
    ) -> None:
        counted("symbols", len(symbols))
        self.symbols, self.split = tuple(symbols), split
        self._numbers = {symbol: number for number, symbol in enumerate(self.symbols, END + 1)}
        if len(self._numbers) < len(self.symbols) or "" in self._numbers:
            raise ValueError("got a symbol twice, or an empty one, expected different symbols")

    @classmethod
    @checked
    def of(
        cls, texts: Iterable[str], split: Callable[[str], Sequence[str]] = split_smiles
    ) -> Alphabet:
        """The alphabet of all symbols in some texts, in alphabetical order."""
        return cls(sorted({symbol for text in texts for symbol in _cut(split, text)}), split)

    def __len__(self) -> int:
        """How many numbers there are, those of padding and end included."""
        return len(self.symbols) + END + 1

    @checked
    def encode(self, texts: Sequence[str], length: int | None = None) -> Tensor:
        """Messages of texts: numbers, the end, padding; int64, (N, length).

        Parameters
        ----------
        texts
            The texts, none of them empty.
        length
            Numbers a message, the end included; the default is as many as the longest text needs.

        Raises
        ------
        ValueError
            If a text is empty or too long, or has a symbol that is not in the alphabet.
        """
        rows = [self._row(text) for text in texts]
        longest = max(map(len, rows), default=0)
        length = longest if length is None else whole("length", length)
        if longest > length:
            text = texts[max(range(len(rows)), key=lambda n: len(rows[n]))]
            raise ValueError(
                f"got a text of {longest} symbols, its end included, expected at most {length}: "
                f"{text!r}"
            )
        messages = torch.full((len(rows), length), PADDING)
        for message, row in zip(messages, rows, strict=True):
            message[: len(row)] = torch.tensor(row)
        return messages

    @checked
    def decode(self, messages: Tensor) -> list[str]:
        """Texts of messages (N, T), each up to its end."""
        check_symbols(messages, len(self))
        texts = []
        for row in messages.tolist():
            end = next((t for t, number in enumerate(row) if number <= END), len(row))
            texts.append("".join(self.symbols[number - END - 1] for number in row[:end]))
        return texts

    def _row(self, text: str) -> list[int]:
        try:
            row = [self._numbers[symbol] for symbol in _cut(self.split, text)]
        except KeyError as error:
            raise ValueError(
                f"got the symbol {error.args[0]!r} in {text!r}, expected one of the "
                f"{len(self.symbols)} of the alphabet: {' '.join(self.symbols)}"
            ) from None
        if not row:
            raise ValueError("got an empty text, expected at least one symbol")
        return [*row, END]


@checked
def variational(
    alphabet: int,
    code: int,
    length: int,
    *,
    hidden: int = 256,
    beta: float = 1.0,
    forget: float = 0.0,
    corruption: variants.Corruption | None = None,
    penalties: variants.Penalties | None = None,
) -> Objective:
    r"""A variational autoencoder of sequences, :math:`-\log p(x|z) + β D_{KL}(q(z|x) \| p(z))`.

    Both are in nats a message, so that β = 1 is the evidence lower bound (Bowman et al. 2016;
    Gómez-Bombarelli et al. 2018 on SMILES). Where the likelihood is averaged over the T symbols of
    a message, as some do, a weight w of the divergence is β = T w here.

    Parameters
    ----------
    alphabet
        V, ``len(alphabet)``.
    code
        p, numbers a code.
    length
        Most symbols of a message, the end included.
    hidden
        Units of the decoder; the encoder has half as many in each direction.
    beta
        β, 0 or more; :func:`warm_up` raises it during training.
    forget
        As in :class:`aebook.recurrent.Decoder`.
    corruption, penalties
        As in :func:`aebook.variants.variational`.

    Examples
    --------
    >>> from aebook.applications.molecules import Alphabet, variational
    >>> messages = Alphabet(["C", "O"]).encode(["CCO", "OCCO"])
    >>> objective = variational(4, code=8, length=messages.shape[1], hidden=16)
    >>> objective.model.encode(messages).shape, list(objective(messages).terms)
    (torch.Size([2, 8]), ['distance', 'kl'])
    """
    return variants.variational(
        (
            Encoder(alphabet, 2 * code, embedding=32, hidden=max(1, hidden // 2)),
            Decoder(alphabet, code, length, embedding=32, hidden=hidden, forget=forget),
        ),
        beta=beta,
        corruption=corruption,
        distance=partial(categorical, ignore=PADDING),
        penalties=penalties,
    )


@checked
def language_model(alphabet: int, length: int, *, hidden: int = 256) -> Objective:
    r"""The same writer without a code, :math:`-\log p(x)` in nats a message.

    What writes is the decoder of :func:`variational`. Its encoder says zero, and the weights by
    which the decoder reads codes are zero. The gradient of either is a multiple of the other, so
    both stay zero in training, and :func:`sample` and files take the model as they take one with
    codes. An autoencoder that writes has to be better than this, with the same data and steps.

    Parameters
    ----------
    alphabet, length, hidden
        As in :func:`variational`.

    Examples
    --------
    >>> from aebook.applications.molecules import Alphabet, language_model
    >>> messages = Alphabet(["C", "O"]).encode(["CCO", "OCCO"])
    >>> objective = language_model(4, length=messages.shape[1], hidden=16)
    >>> objective.model.encode(messages), list(objective(messages).terms)
    (tensor([[0.],
            [0.]]), ['distance'])
    """
    # no narrower encoder can be made
    encoder = Encoder(alphabet, 1, embedding=1, hidden=1, bidirectional=False)
    decoder = Decoder(alphabet, 1, length, embedding=32, hidden=hidden)
    with torch.no_grad():
        encoder.to_code.weight.zero_()
        decoder.from_code.weight.zero_()
        # beside the embedding of the symbol before
        decoder.gru.get_parameter("weight_ih_l0")[:, -1].zero_()
    model = Autoencoder(encoder.requires_grad_(False), decoder)
    return Objective(model, distance=partial(categorical, ignore=PADDING))


@checked
def warm_up(beta: float, until: float = 0.5) -> Callable[[Objective, float], None]:
    r"""Let the weight of the divergence rise from 0: :math:`β_t = β \min(1, t / u)`.

    A decoder that is told the symbols before learns to do without the code long before the code
    is of use. While the code costs little, it is taken up (Bowman et al. 2016).

    Parameters
    ----------
    beta
        β, 0 or more.
    until
        u, the fraction of the training after which β stays, above 0.

    Returns
    -------
    callable
        For ``fit(..., anneal=...)``.

    Examples
    --------
    >>> from aebook.applications.molecules import warm_up
    >>> objective, anneal = aebook.variants.variational((8, 2)), warm_up(2.0, until=0.5)
    >>> for t in (0.0, 0.25, 0.75):
    ...     anneal(objective, t)
    ...     print(objective.weight("kl").item())
    0.0
    1.0
    2.0
    """
    number("beta", beta, least=0)
    number("until", until)
    return lambda objective, t: objective.set_weight("kl", beta * min(1.0, t / until))


@checked
def sample(
    model: Autoencoder,
    alphabet: Alphabet,
    n: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[str]:
    r"""Write n texts from the prior: :math:`z \sim N(0, I)`, then :math:`x \sim p(x|z)`.

    Parameters
    ----------
    model
        What :func:`variational` made, trained.
    alphabet
        The alphabet that it was trained with.
    n
        How many.
    temperature
        As in :meth:`aebook.recurrent.Decoder.sample`.
    generator
        Where the randomness comes from; the default is PyTorch's own.

    Examples
    --------
    >>> from aebook.applications.molecules import Alphabet, sample, variational
    >>> alphabet = Alphabet(["C", "O"])
    >>> objective = variational(len(alphabet), code=4, length=10, hidden=16)
    >>> texts = sample(objective.model.eval(), alphabet, 5)
    >>> len(texts), set("".join(texts)) <= {"C", "O"}  # untrained, it writes anything
    (5, True)
    """
    z = prior(model.decoder, n, generator=generator)
    return alphabet.decode(model.decoder.sample(z, temperature, generator))


def _cut(split: Callable[[str], Sequence[str]], text: str) -> Sequence[str]:
    return taken("what split gave", split(text), Sequence[str])


def _split(text: str, pattern: re.Pattern[str], kind: str) -> list[str]:
    symbols = pattern.findall(text)
    if sum(map(len, symbols)) < len(text):
        at = 0
        while (match := pattern.match(text, at)) is not None:
            at = match.end()
        raise ValueError(
            f"got {text!r}, which is no {kind}, expected symbols of it alone: no symbol starts "
            f"with {text[at:]!r}"
        )
    return symbols
