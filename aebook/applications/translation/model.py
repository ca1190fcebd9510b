r"""Translation: an encoder of one language, a decoder of another.

.. math::

    L(θ, φ) = E_{(x, y)} [\, -\textstyle\sum_t \log p_θ(y_t \mid E_φ(x), y_{<t}) \,]

It is the book's equation with a target y that is not the message x. Texts become symbols in a
:class:`Vocabulary`, networks are those of :mod:`aebook.recurrent`, the score is
:func:`scores`. What has to be beaten is in :mod:`aebook.applications.translation.lexicon`. Needs
``aebook[translation]``.

>>> source, target = Vocabulary(english), Vocabulary(french)
>>> translator = Translator(source, target)
>>> aebook.fit(translator.objective(), translator.batches(english, french), epochs=15, lr=3e-3)
>>> translator.translate(["Insert a table."], beam=5)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from aebook._internal.checks import as_many, need, number, whole
from aebook._internal.checks import symbols as check_symbols
from aebook._internal.contract import checked
from aebook.applications.translation.lexicon import checked_texts
from aebook.core import Autoencoder, Objective
from aebook.distances import categorical
from aebook.inference import evaluating
from aebook.recurrent import END, PADDING, Decoder, Encoder
from aebook.variants import Penalties

__all__ = ["Scores", "Translator", "Vocabulary", "scores"]

#: The symbol of what is in no vocabulary.
UNKNOWN = 2
#: Texts translated at once.
CHUNK = 256


class Vocabulary:
    r"""Symbols for pieces of words: byte-pair encoding (Sennrich, Haddow & Birch 2016).

    It begins with the characters, and joins the most frequent pair of neighbours to a new symbol,
    again and again, but never across a space or a punctuation mark. Symbols 0, 1 and 2 are
    padding, the end, and whatever has never been seen.

    Parameters
    ----------
    texts
        What to learn from: the training texts.
    size
        Most symbols, 4 or more. If it is less than there are characters, the rarest are unknown.

    Examples
    --------
    >>> from aebook.applications.translation import Vocabulary
    >>> vocabulary = Vocabulary(["the table", "the tables"], size=40)
    >>> vocabulary.decode(vocabulary.encode(["the tables"]))
    ['the tables']
    """

    @checked
    def __init__(self, texts: Sequence[str], size: int = 1000) -> None:
        texts = checked_texts(texts)
        size = whole("size", size, least=4, most=2**24)
        tokenizers = need("tokenizers", "tokenizers", "translation")
        before = tokenizers.pre_tokenizers
        self._pieces = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[unknown]"))
        # the same symbols however an accent was typed
        self._pieces.normalizer = tokenizers.normalizers.NFC()
        self._pieces.pre_tokenizer = before.Sequence([before.Metaspace(), before.Punctuation()])
        self._pieces.decoder = tokenizers.decoders.Metaspace()
        # characters first, the commonest of them, so that joining cannot push them out
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            limit_alphabet=size - 3,
            special_tokens=["[padding]", "[end]", "[unknown]"],
            show_progress=False,
        )
        self._pieces.train_from_iterator(texts, trainer)

    def __len__(self) -> int:
        return self._pieces.get_vocab_size()

    @checked
    def pieces(self, text: str) -> list[str]:
        """The symbols of a text, written out; ``▁`` is the space before a word."""
        return self._pieces.encode(text).tokens

    @checked
    def encode(self, texts: Sequence[str], *, reverse: bool = False) -> Tensor:
        """Symbols of N texts, int64 (N, T): each text, the end, and padding up to the longest.

        Parameters
        ----------
        texts
            The texts.
        reverse
            Write each backwards, the end still last.
        """
        rows = [
            row.ids[:: -1 if reverse else 1]
            for row in self._pieces.encode_batch(checked_texts(texts))
        ]
        symbols = torch.full((len(rows), max(map(len, rows)) + 1), PADDING)
        for given, row in zip(symbols, rows, strict=True):
            given[: len(row) + 1] = torch.tensor([*row, END])
        return symbols

    @checked
    def decode(self, symbols: Tensor) -> list[str]:
        """The texts of symbols (N, T), each up to its end; unknown ones are left out."""
        check_symbols(symbols)
        texts = []
        for row in symbols.tolist():
            row = row[: row.index(END)] if END in row else row
            text = self._pieces.decode([symbol for symbol in row if symbol > UNKNOWN])
            texts.append(" ".join(text.split()))
        return texts


class Translator:
    """From texts of one language to texts of another.

    Parameters
    ----------
    source, target
        The vocabularies of the two.
    model
        What has been trained, or is to be: recurrent, or of
        :mod:`aebook.applications.translation.transformer`. The default is a new recurrent one of
        the sizes below.
    reverse
        Whether it reads the source backwards (Sutskever, Vinyals & Le 2014).
    attention
        Whether the decoder sees a code of each position; without it, one code of the whole text.
    bidirectional
        Whether the encoder reads from both ends.
    code, embedding, hidden, length, forget, dropout
        As in :class:`aebook.recurrent.Encoder` and :class:`aebook.recurrent.Decoder`.

    Attributes
    ----------
    model
        The :class:`aebook.Autoencoder`, from messages of the source to messages of the target.

    Examples
    --------
    >>> from aebook.applications.translation import Translator, Vocabulary
    >>> english, french = ["a house", "a book"], ["une maison", "un livre"]
    >>> translator = Translator(Vocabulary(english), Vocabulary(french), hidden=16)
    >>> history = aebook.fit(translator.objective(), translator.batches(english, french), epochs=1)
    >>> len(translator.translate(["a house", "a book"]))
    2
    """

    @checked
    def __init__(
        self,
        source: Vocabulary,
        target: Vocabulary,
        model: Autoencoder | None = None,
        *,
        reverse: bool = False,
        attention: bool = True,
        bidirectional: bool = True,
        code: int = 128,
        embedding: int = 64,
        hidden: int = 128,
        length: int = 64,
        forget: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        self.source, self.target, self.reverse = source, target, reverse
        if model is None:
            sizes = {"embedding": embedding, "hidden": hidden, "dropout": dropout}
            sizes["attention"] = attention
            model = Autoencoder(
                Encoder(len(source), code, bidirectional=bidirectional, **sizes),
                Decoder(len(target), code, length, forget=forget, **sizes),
            )
        for vocabulary, part in ((source, model.encoder), (target, model.decoder)):
            if part.embedding.num_embeddings != len(vocabulary):
                raise ValueError(
                    f"got a vocabulary of {len(vocabulary)} symbols for a network with "
                    f"{part.embedding.num_embeddings}, expected those it was trained with: the "
                    "same texts and size, and the same version of tokenizers"
                )
        self.model = model

    @checked
    def objective(self, hide: float = 0.0, *, penalties: Penalties | None = None) -> Objective:
        r"""What to minimise: :math:`-\sum_t \log p(y_t | E(T(x)), y_{<t})`, in nats a text.

        Parameters
        ----------
        hide
            The corruption T: the probability that a symbol of the source is replaced by the unknown
            one. It is noise against learning by heart, and shows what to do with the unknown.
        penalties
            As in :func:`aebook.variants.plain`.
        """
        hide = number("hide", hide, least=0, below=1)
        corruption = partial(_hidden, share=hide) if hide else None
        return Objective(self.model, corruption, partial(categorical, ignore=PADDING), penalties)

    @checked
    def batches(
        self, sources: Sequence[str], targets: Sequence[str], *, size: int = 64
    ) -> DataLoader:
        """Pairs of texts for :func:`aebook.fit`, in batches of like length, anew each epoch.

        Parameters
        ----------
        sources, targets
            N texts each; the second of each pair translates the first.
        size
            Pairs a batch, 1 or more.
        """
        size = whole("size", size)
        x = self.source.encode(sources, reverse=self.reverse)
        y = self.target.encode(targets)
        as_many(sources=len(x), targets=len(y))
        lengths = (y != PADDING).sum(1) + (x != PADDING).sum(1) / x.shape[1]
        order = _ByLength(lengths, size)
        return DataLoader(TensorDataset(x, y), batch_sampler=order, collate_fn=_trimmed)

    @checked
    @torch.no_grad()
    def translate(self, texts: Sequence[str], beam: int = 1) -> list[str]:
        """Translate N texts, each on its own.

        Parameters
        ----------
        texts
            The texts.
        beam
            Translations kept at each step; 1 takes the likeliest symbol each time.
        """
        beam = whole("beam", beam)
        x = self.source.encode(texts, reverse=self.reverse)
        # those of like length together: no time is spent on padding
        order = (x != PADDING).sum(1).argsort(stable=True)
        write = self.model.decoder if beam == 1 else partial(self.model.decoder.beam, width=beam)
        translated = [""] * len(x)
        with evaluating(self.model):
            for rows in order.split(CHUNK):
                (part,) = _trimmed([(row,) for row in x[rows]])
                z = self.model.encode(part.to(next(self.model.parameters()).device))
                for row, text in zip(rows.tolist(), self.target.decode(write(z)), strict=True):
                    translated[row] = text
        return translated


class Scores(NamedTuple):
    """How like the references some translations are, 0 to 100, the more the better."""

    bleu: float
    """Geometric mean of the shares of 1- to 4-grams of words that are in the reference, times a
    penalty on shortness (Papineni et al. 2002)."""
    chrf: float
    """Mean F-score of the 1- to 6-grams of characters (Popović 2015)."""
    signature: str
    """The version and the settings of BLEU, without which its number says little (Post 2018)."""


@checked
def scores(
    translations: Sequence[str], references: Sequence[str], *, chinese: bool = False
) -> Scores:
    """BLEU and chrF of N translations as one text, by sacrebleu.

    Parameters
    ----------
    translations
        What is judged.
    references
        What a person wrote, one for each.
    chinese
        Whether the texts are Chinese: a character is then a word.

    Examples
    --------
    >>> from aebook.applications.translation import scores
    >>> text = ["The table is in the first room."]
    >>> bleu, chrf, signature = scores(text, text)
    >>> round(bleu, 6), round(chrf, 6)
    (100.0, 100.0)
    """
    translations, references = checked_texts(translations, empty=True), checked_texts(references)
    as_many(translations=len(translations), references=len(references))
    sacrebleu = need("sacrebleu", "sacrebleu", "translation")
    bleu = sacrebleu.BLEU(tokenize="zh" if chinese else "13a")
    value = bleu.corpus_score(translations, [references]).score
    chrf = sacrebleu.CHRF().corpus_score(translations, [references]).score
    return Scores(value, chrf, str(bleu.get_signature()))


class _ByLength:
    """Batches of rows of like length in a random order, as a batch sampler."""

    #: Batches that are drawn together before their rows are put in order of length.
    POOL = 16

    def __init__(self, lengths: Tensor, size: int) -> None:
        self.lengths, self.size = lengths, size

    def __len__(self) -> int:
        return len(list(self._cut(torch.arange(len(self.lengths)))))

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(self._cut(torch.randperm(len(self.lengths))))
        for chosen in torch.randperm(len(batches)).tolist():
            yield batches[chosen].tolist()

    def _cut(self, rows: Tensor) -> Iterator[Tensor]:
        for pool in rows.split(self.size * self.POOL):
            yield from pool[self.lengths[pool].argsort(stable=True)].split(self.size)


def _hidden(x: Tensor, share: float) -> Tensor:
    chosen = torch.rand(x.shape, device=x.device) < share
    return x.masked_fill(chosen & (x != END) & (x != PADDING), UNKNOWN)


def _trimmed(rows: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Batches without the columns that are padding in all their rows."""
    stacked = [torch.stack(column) for column in zip(*rows, strict=True)]
    return tuple(column[:, : int((column != PADDING).sum(1).max())] for column in stacked)
