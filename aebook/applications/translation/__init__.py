"""Translation: networks, word by word, and Chinese characters in parts."""

from aebook.applications.translation import hanzi, transformer
from aebook.applications.translation.lexicon import Lexicon, Memory, Recalled
from aebook.applications.translation.model import Scores, Translator, Vocabulary, scores

__all__ = [
    "Lexicon",
    "Memory",
    "Recalled",
    "Scores",
    "Translator",
    "Vocabulary",
    "hanzi",
    "scores",
    "transformer",
]
