"""How good word vectors are: human similarity judgments and analogies, as gensim measures them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from tqdm import tqdm

from minitorch.core.tensor import Tensor
from minitorch.creation import tensor
from minitorch.text.io.files import read_lines
from minitorch.text.progress import hidden
from minitorch.text.similarity import COSMUL_EPSILON, Similarity
from minitorch.text.vector_table import Key

_QUESTIONS_AT_ONCE = 256  # bounds the matrix of scores, (questions, words)

Quadruple = tuple[str, str, str, str]


class Correlation(NamedTuple):
    """A correlation coefficient and the two-sided p-value of no correlation."""

    statistic: float
    pvalue: float


class Section(TypedDict):
    """Analogies of one section of a questions file, by how they were answered."""

    section: str
    correct: list[Quadruple]
    incorrect: list[Quadruple]


class Evaluated(Similarity):
    """Vectors measured against what people say of words."""

    def evaluate_word_pairs(
        self,
        pairs: str | Path,
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[Correlation, Correlation, float]:
        """Pearson and Spearman correlation with human judgments, and the per cent of unknown pairs.

        pairs: a file with word, word and score on each line; # starts a comment.
        restrict_vocab: know only so many of the first keys. dummy4unknown: a pair with an unknown
        word counts as similarity 0 instead of being left out.
        Raises ValueError if no pair can be judged, and for a vector that is not finite.
        """
        keys, units = self.index_to_key, self._units()
        known = _positions(keys[:restrict_vocab], case_insensitive)
        rows: list[tuple[int, int, float]] = []  # both words and the human score
        unknown: list[float] = []
        for words, score in _judgments(Path(pairs), delimiter, encoding):
            a, b = (known.get(_fold(word, case_insensitive)) for word in words)
            if a is None or b is None:
                unknown.append(score)
            else:
                rows.append((a[0], b[0], score))
        human = [score for _, _, score in rows] + (unknown if dummy4unknown else [])
        if len(human) < 2:
            none = "only one line has" if human else "no line has"
            raise ValueError(
                f"{pairs}: {none} two known words and a score, which gives no correlation"
            )
        model: list[float] = []
        _require_finite(pairs, keys, units, {row for a, b, _ in rows for row in (a, b)})
        if rows:
            device = units.device
            left, right = (units[tensor([row[i] for row in rows], device=device)] for i in (0, 1))
            model = (left * right).sum(dim=1).tolist()
        model += [0.0] * (len(human) - len(model))
        out_of = len(human) if dummy4unknown else len(rows) + len(unknown)
        from scipy import stats  # late: its import takes longer than that of all the rest

        return (
            Correlation(*map(float, stats.pearsonr(human, model))),
            Correlation(*map(float, stats.spearmanr(human, model))),
            len(unknown) / out_of * 100,
        )

    def evaluate_word_analogies(
        self,
        analogies: str | Path,
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        similarity_function: str = "most_similar",
        progress: bool | None = None,
    ) -> tuple[float, list[Section]]:
        """Part of the analogies a : b :: c : d whose d is the word that fits b - a + c best.

        analogies: a file with four words on each line, sections headed by ": name".
        similarity_function: "most_similar" (largest cosine) or "most_similar_cosmul" (largest
        product; gensim 4.4 takes no notice of the argument).
        The other arguments are those of `evaluate_word_pairs`; with dummy4unknown a question with
        an unknown word counts as wrong. A vector that is not finite is no answer. progress: show a
        bar (None: where stderr is a terminal).
        Returns the score and the sections, "Total accuracy" the last of them.
        Raises ValueError if the file has no section header or no question, and for a word whose
        vector is not finite in a question.
        """
        if similarity_function not in _SCORES:
            raise ValueError(
                f"similarity_function: expected one of {', '.join(_SCORES)}, got "
                f"{similarity_function!r}"
            )
        keys, units = self.index_to_key[:restrict_vocab], self._units()
        known = _positions(keys, case_insensitive)
        sections = _questions(Path(analogies), case_insensitive)
        asked = [words for _, questions in sections for words in questions if _all(words, known)]
        used = {known[word][0] for words in asked for word in words}
        _require_finite(analogies, keys, units, used)
        bar = tqdm(total=len(asked), unit=" questions", disable=hidden(progress))
        with bar:
            found = _answers(units[: len(keys)], asked, known, _SCORES[similarity_function], bar)
        answers = iter(found)
        results: list[Section] = []
        total: Section = {"section": "Total accuracy", "correct": [], "incorrect": []}
        for name, questions in sections:
            section: Section = {"section": name, "correct": [], "incorrect": []}
            for words in questions:
                if _all(words, known):
                    right = _fold(keys[next(answers)], case_insensitive) == words[3]
                elif dummy4unknown:
                    right = False
                else:
                    continue
                for part in (section, total):
                    part["correct" if right else "incorrect"].append(words)
            results.append(section)
        count = len(total["correct"]) + len(total["incorrect"])
        return len(total["correct"]) / count if count else 0.0, [*results, total]


def _require_finite(
    path: str | Path, keys: Sequence[Key], units: Tensor, rows: Iterable[int]
) -> None:
    """Raise ValueError that names a word whose vector is not finite, if one of these rows is."""
    used = sorted(rows)
    finite = units[tensor(used, dtype=int, device=units.device)].isfinite().all(dim=1).tolist()
    for row, is_finite in zip(used, finite):
        if not is_finite:
            raise ValueError(
                f"{path}: the vector of {keys[row]!r} has NaN or infinity in it: it is like nothing"
            )


def _all(words: Quadruple, known: dict[str, list[int]]) -> bool:
    return all(word in known for word in words)


def _fold(word: Key, case_insensitive: bool) -> str:
    return str(word).upper() if case_insensitive else str(word)


def _positions(keys: Sequence[Key], case_insensitive: bool) -> dict[str, list[int]]:
    """Where each word stands, the first place first: spellings differ in case only."""
    positions: dict[str, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        positions[_fold(key, case_insensitive)].append(i)
    return dict(positions)


def _lines(path: Path, encoding: str = "utf8") -> Iterator[tuple[int, str]]:
    """Numbered lines of a text file, plain or compressed.

    Raises ValueError as `read_lines` does.
    """
    return enumerate(read_lines(path, encoding), 1)


def _judgments(
    path: Path, delimiter: str, encoding: str
) -> Iterator[tuple[tuple[str, str], float]]:
    for _, line in _lines(path, encoding):
        if line.startswith("#"):
            continue
        try:
            a, b, score = line.split(delimiter)
            yield (a, b), float(score)
        except ValueError:  # a header
            continue


def _questions(path: Path, case_insensitive: bool) -> list[tuple[str, list[Quadruple]]]:
    """The sections of a file of analogies, each with its questions."""
    sections: list[tuple[str, list[Quadruple]]] = []
    for number, line in _lines(path):
        if line.startswith(": "):
            sections.append((line.lstrip(": ").strip(), []))
            continue
        if not sections:
            raise ValueError(f"{path}: line {number} comes before the first ': section' line")
        words = [_fold(word, case_insensitive) for word in line.split()]
        if len(words) == 4:
            sections[-1][1].append((words[0], words[1], words[2], words[3]))
    if not any(questions for _, questions in sections):
        raise ValueError(f"{path}: no line of four words")
    return sections


def _sums(units: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Cosines with b - a + c, up to a factor for each question ("3CosAdd"), (questions, n)."""
    return (b - a + c) @ units.T


def _products(units: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Products of the cosines with b and c over those with a ("3CosMul"), (questions, n)."""
    of_a, of_b, of_c = ((1 + x @ units.T) / 2 for x in (a, b, c))
    return of_b * of_c / (of_a + COSMUL_EPSILON)


_SCORES = {"most_similar": _sums, "most_similar_cosmul": _products}


def _answers(
    units: Tensor,
    questions: list[Quadruple],
    known: dict[str, list[int]],
    score: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    bar: Any,
) -> list[int]:
    """Position of the word with the highest score for each question, a, b and c left out."""
    answers: list[int] = []
    for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
        part = questions[start : start + _QUESTIONS_AT_ONCE]
        a, b, c = (
            units[tensor([known[words[i]][0] for words in part], device=units.device)]
            for i in range(3)
        )
        scores = score(units, a, b, c)
        scores = scores.masked_fill(scores.isnan(), -float("inf"))
        given = [
            (row, position)
            for row, words in enumerate(part)
            for word in words[:3]
            for position in known[word]
        ]
        rows, columns = tensor(given, device=units.device).T
        scores[rows, columns] = -float("inf")
        answers += scores.argmax(dim=1).tolist()
        bar.update(len(part))
    return answers
