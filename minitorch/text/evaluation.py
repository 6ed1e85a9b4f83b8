"""How good word vectors are: human similarity judgments and analogies, as gensim measures them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from scipy import stats

from minitorch.creation import tensor
from minitorch.tensor import Tensor

_QUESTIONS_AT_ONCE = 512  # bounds the matrix of scores, (questions, words)

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


def word_pairs(
    keys: Sequence[str],
    units: Tensor,
    pairs: str | Path,
    delimiter: str = "\t",
    encoding: str = "utf8",
    restrict_vocab: int | None = 300000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
) -> tuple[Correlation, Correlation, float]:
    """Pearson and Spearman correlation with human judgments, and the per cent of unknown pairs.

    keys: words; units: their vectors scaled to length one, (len(keys), D).
    pairs: a file with word, word and score on each line; # starts a comment.
    restrict_vocab: know only so many of the first keys. dummy4unknown: a pair with an unknown
    word counts as similarity 0 instead of being left out.
    Raises ValueError if no pair can be judged.
    """
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
    if not human:
        raise ValueError(f"{pairs}: no line has two known words and a score")
    model: list[float] = []
    if rows:
        device = units.device
        left, right = (units[tensor([row[i] for row in rows], device=device)] for i in (0, 1))
        model = (left * right).sum(dim=1).tolist()
    model += [0.0] * (len(human) - len(model))
    out_of = len(human) if dummy4unknown else len(rows) + len(unknown)
    return (
        Correlation(*map(float, stats.pearsonr(human, model))),
        Correlation(*map(float, stats.spearmanr(human, model))),
        len(unknown) / out_of * 100,
    )


def word_analogies(
    keys: Sequence[str],
    units: Tensor,
    analogies: str | Path,
    restrict_vocab: int | None = 300000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
) -> tuple[float, list[Section]]:
    """Part of the analogies a : b :: c : d whose d is the word nearest to b - a + c.

    keys: words; units: their vectors scaled to length one, (len(keys), D).
    analogies: a file with four words on each line, sections headed by ": name".
    The other arguments are those of `word_pairs`; with dummy4unknown a question with an unknown
    word counts as wrong. Returns the score and the sections, "Total accuracy" the last of them.
    Raises ValueError if the file has no section header or no question.
    """
    keys = keys[:restrict_vocab]
    known = _positions(keys, case_insensitive)
    sections = _questions(Path(analogies), case_insensitive)
    asked = [
        (section, words) for section, words in sections if all(word in known for word in words)
    ]
    answers = iter(_answers(units[: len(keys)], [words for _, words in asked], known))
    results: dict[str, Section] = {}
    total: Section = {"section": "Total accuracy", "correct": [], "incorrect": []}
    for name, words in sections:
        section = results.setdefault(name, {"section": name, "correct": [], "incorrect": []})
        if all(word in known for word in words):
            right = _fold(keys[next(answers)], case_insensitive) == words[3]
        elif dummy4unknown:
            right = False
        else:
            continue
        for part in (section, total):
            part["correct" if right else "incorrect"].append(words)
    count = len(total["correct"]) + len(total["incorrect"])
    return len(total["correct"]) / count if count else 0.0, [*results.values(), total]


def _fold(word: str, case_insensitive: bool) -> str:
    return word.upper() if case_insensitive else word


def _positions(keys: Sequence[str], case_insensitive: bool) -> dict[str, list[int]]:
    """Where each word stands, the first place first: spellings differ in case only."""
    positions: dict[str, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        positions[_fold(key, case_insensitive)].append(i)
    return dict(positions)


def _judgments(
    path: Path, delimiter: str, encoding: str
) -> Iterator[tuple[tuple[str, str], float]]:
    with open(path, encoding=encoding) as file:
        for line in file:
            try:
                a, b, score = line.split(delimiter)
                yield (a, b), float(score)
            except ValueError:  # a comment or a header
                continue


def _questions(path: Path, case_insensitive: bool) -> list[tuple[str, Quadruple]]:
    found: list[tuple[str, Quadruple]] = []
    section = None
    with open(path, encoding="utf8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith(": "):
                section = line[2:].strip()
                continue
            if section is None:
                raise ValueError(f"{path}: line {number} comes before the first ': section' line")
            words = [_fold(word, case_insensitive) for word in line.split()]
            if len(words) == 4:
                found.append((section, (words[0], words[1], words[2], words[3])))
    if not found:
        raise ValueError(f"{path}: no line of four words")
    return found


def _answers(units: Tensor, questions: list[Quadruple], known: dict[str, list[int]]) -> list[int]:
    """Position of the word nearest to b - a + c for each question, a, b and c left out."""
    answers: list[int] = []
    for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
        part = questions[start : start + _QUESTIONS_AT_ONCE]
        a, b, c = (
            units[tensor([known[words[i]][0] for words in part], device=units.device)]
            for i in range(3)
        )
        scores = (b - a + c) @ units.T
        given = [
            (row, position)
            for row, words in enumerate(part)
            for word in words[:3]
            for position in known[word]
        ]
        rows, columns = tensor(given, device=units.device).T
        scores[rows, columns] = -float("inf")
        answers += scores.argmax(dim=1).tolist()
    return answers
