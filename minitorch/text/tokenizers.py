"""Tokenizers: what turns the text of a sentence into words, and what they leave of its letters."""

import importlib
import inspect
import os
import re
import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain, groupby

__all__ = ["tokenize"]

Tokenizer = Callable[[str], Iterable[str]]

_ASCII_WORD = re.compile("[a-z]+")
_BEYOND = re.compile("[\U00010000-\U0010ffff]")
# Code points that may be letters or marks: plane 0, or planes 0 to 3 and the variation selectors.
_PLANES = {False: (range(0x10000),), True: (range(0x40000), range(0xE0100, 0xE01F0))}
# What joins letters to one word: zero-width (non-)joiners (Persian, Malayalam), the middle dot of
# Catalan, geresh and gershayim of Hebrew. Apostrophes do not.
_JOINERS = "\u200c\u200d\xb7\u05f3\u05f4"


def tokenize(text: str) -> list[str]:
    """Words of a text in any script: its runs of letters, lower-cased.

    A letter (Unicode's category L) takes the marks behind it along (M: accents, vowel signs,
    points), and a zero-width joiner or non-joiner, a middle dot, geresh or gershayim between
    letters stays in its word (Unicode Standard Annex #29, "Text segmentation"). Everything else
    separates words: digits, hyphens, and apostrophes, so that ASCII gives the runs of a to z.
    Soft hyphens go. Composed and decomposed letters are equal (NFC), and the Turkish İ becomes i.
    Scripts without blanks (Chinese, Japanese, Thai, ...) need a tokenizer of their own.

    >>> minitorch.text.tokenize("Frogs & toads don't hop.")
    ['frogs', 'toads', 'don', 't', 'hop']
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    composed = unicodedata.normalize("NFC", text).replace("\xad", "")
    pattern = _word(beyond=_BEYOND.search(text) is not None)
    return pattern.findall(composed.replace("\u0130", "i").lower())


def tokenize_ascii(text: str) -> list[str]:
    """The runs of a to z after lower-casing; other letters separate words and are lost."""
    return _ASCII_WORD.findall(text.lower())


TOKENIZERS: dict[str, Tokenizer] = {
    "words": tokenize,
    "whitespace": str.split,
    "ascii": tokenize_ascii,
}


@cache
def _word(beyond: bool) -> re.Pattern[str]:
    """A word; of the letters beyond plane 0, too, which takes six times as long."""
    letter, mark = (_ranges(kind, *_PLANES[beyond]) for kind in "LM")
    run = f"[{letter}][{letter}{mark}]*"
    return re.compile(f"{run}(?:[{_JOINERS}]+{run})*")


def _ranges(kind: str, *planes: range) -> str:
    """The code points of a category, as a regular expression has them in brackets."""
    found = (c for c in chain(*planes) if unicodedata.category(chr(c))[0] == kind)
    runs = ([c for _, c in run] for _, run in groupby(enumerate(found), lambda p: p[1] - p[0]))
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)


def find_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of that name: one of TOKENIZERS, or module:function, which is imported.

    The working folder is looked in for the module, too. Raises ValueError for any other name,
    and ImportError.
    """
    if name in TOKENIZERS:
        return TOKENIZERS[name]
    module, colon, path = name.partition(":")
    if not (module and colon and path):
        raise ValueError(
            f"tokenizer: expected {', '.join(TOKENIZERS)} or module:function, got {name!r}"
        )
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"tokenizer {name!r}: {error}") from error
    finally:
        sys.path.remove(here)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ValueError(f"tokenizer {name!r}: {module} has no function {path}")
    return found


def listed(words: object, tokenizer: Tokenizer) -> list[str]:
    """A tokenizer's words, as a list. Raises ValueError if they cannot be the words of a text."""
    if isinstance(words, Iterable) and not isinstance(words, str | bytes):
        return list(words)
    raise ValueError(
        f"tokenizer {_name(tokenizer)}: expected a list of words, got {str(words)[:40]!r} of the "
        f"type {type(words).__name__}"
    )


def _name(tokenizer: Tokenizer) -> str:
    names = [name for name, known in TOKENIZERS.items() if known is inspect.unwrap(tokenizer)]
    return names[0] if names else getattr(tokenizer, "__qualname__", repr(tokenizer))


# ---------------------------------------------------------------------- what is left of a text
_LOST = 0.1  # the part of the letters that may be lost without a warning
_AT_FIRST, _OF_REST = 1 << 16, 64  # characters that are looked at: the first, then every 64th
# Thai and Lao, Burmese, Khmer, kana, Han.
_NO_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_RUN = 5.0  # letters, which the words of these scripts do not have on average, but clauses have


class LetterCheck:
    """Looks at a part of what a tokenizer makes of a text, and warns of what is lost.

    Letters are compared after composition (NFC), whatever their case. A sentence that is looked at
    stands for all characters since the one before.
    """

    def __init__(self) -> None:
        self.read = self.seen = self.stood_for = 0  # characters
        self.given = self.kept = 0.0  # letters of the text, and of its words
        self.runs = self.run_letters = 0.0  # words of scripts without blanks, and their letters
        self.lost: Counter[str] = Counter()

    def is_due(self, length: int) -> bool:
        """Whether the next sentence, of so many characters, is to be looked at."""
        self.read += length
        return self.seen <= _AT_FIRST + self.read // _OF_REST

    def look(self, text: str, words: list[str]) -> None:
        """Take note of the sentence that is due."""
        self.seen += len(text)
        weight = (self.read - self.stood_for) / max(len(text), 1)
        self.stood_for = self.read
        given, kept = _letters([text]), _letters(words)
        self.given += weight * given.total()
        self.kept += weight * kept.total()
        if given != kept:
            self.lost += given - kept
        if not text.isascii():
            runs = [word for word in words if _NO_BLANKS.search(word)]
            self.runs += weight * len(runs)
            self.run_letters += weight * _letters(runs).total()

    def warn(self, source: str, tokenizers: list[Tokenizer]) -> None:
        """Warn where a tenth of the letters is lost, or where words do not seem to be separated."""
        if self.given and self.kept <= self.given * (1 - _LOST):
            lost = ", ".join(letter for letter, _ in self.lost.most_common(5))
            lost += ", ..." * (len(self.lost) > 5)
            warnings.warn(
                f"corpus {source}: the tokenizer {' and '.join(map(_name, tokenizers))} drops "
                f"{1 - self.kept / self.given:.0%} of the letters ({lost}); known are "
                f"{', '.join(TOKENIZERS)} and module:function",
                stacklevel=3,
            )
        if self.runs and self.run_letters >= max(_RUN * self.runs, _LOST * self.kept):
            warnings.warn(
                f"corpus {source}: words do not seem to be separated: those of scripts without "
                f"blanks have {self.run_letters / self.runs:.1f} letters on average; use a "
                "tokenizer for the language (module:function, e.g. jieba:lcut for Chinese)",
                stacklevel=3,
            )


def _letters(texts: Iterable[str]) -> Counter[str]:
    """The letters of some texts, in lower case."""
    composed = (unicodedata.normalize("NFC", text).lower() for text in texts)
    return Counter(filter(str.isalpha, chain.from_iterable(composed)))
