"""The rooms of the package, and how much code stands in each.

python -m tests.house [FOLDER]

FOLDER: a package (default: minitorch beside this file). Code is lines without blanks, comments and
docstrings. The script fails where the core outgrows its bound, a file is long for no reason, a list
of names is kept twice, or a room imports from one above it; `test_project.py` has the order of the
rooms, and fails as well.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "minitorch"
CORE = 2_600  # lines of core/ in all, which an afternoon reads
LONG = 600  # lines of a file that is about one thing; longer ones need a reason
LONG_FILES = {
    "cli.py": "the command: a table of subcommands, with the arguments and the function of each",
    "nn/layers.py": "a table of layers, each for itself",
    "nn/module.py": "one class: PyTorch's Module has sixty methods",
    "optim/lr_scheduler.py": "a table of schedules, each for itself",
    "text/vector_table.py": "one class: gensim's table of vectors by key",
    "text/word2vec/model.py": "one class: gensim's Word2Vec, whose options fill a third of it",
}
# Lists that choose among the names of another module, and what they choose. The same names in the
# dicts of the op table's kernels are no lists: each stands for something else there.
CHOICES = {
    "autocasting.py": "the functions that autocast gives float32",
    "backend/cuda/elementwise.py": "the functions that have a kernel in functions.cu",
    "operands.py": "the functions whose first argument is no number",
    "ops/forms.py": "the functions that have a form that changes its argument",
    "ops/methods.py": "the functions that are methods, and the themes that they come from",
}
_NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}


def lines_of_code(text: str) -> int:
    """Lines of a Python source that hold code."""
    found = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):  # a docstring
                found -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(found)


def files(package: Path = PACKAGE) -> dict[str, int]:
    """Lines of code of each file, by its path in the package."""
    return {
        path.relative_to(package).as_posix(): lines_of_code(path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    }


def rooms(counts: dict[str, int]) -> Counter[str]:
    """Lines of code of each folder, with what lies below it, and of the files beside folders."""
    found: Counter[str] = Counter()
    for name, lines in counts.items():
        *folders, _ = name.split("/")
        for depth in range(1, len(folders) + 1):
            found["/".join(folders[:depth]) + "/"] += lines
        if not folders:
            found[name] += lines
    return found


# ---------------------------------------------------------------------- what is wrong
def lists_of_names(path: Path) -> Iterator[tuple[int, set[str]]]:
    """(line, names) of the lists, strings of words and imports of a file that name eight things."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    formatted = {part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        match node:
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                texts = [p.value for p in parts if isinstance(p, ast.Constant)]
            case ast.Constant(value=str() as text) if node not in formatted:
                texts = [text]
            case ast.ImportFrom(names=parts):
                texts = [part.name for part in parts]
            case _:
                continue
        words = [word for text in texts for word in str(text).split()]
        if len(set(words)) >= 8 and all(word.isidentifier() for word in words):
            yield node.lineno, set(words)


def kept_twice(package: Path = PACKAGE) -> list[str]:
    """Lists in two files that share eight names and three quarters of the shorter one."""
    found = [
        (path.relative_to(package).as_posix(), line, names)
        for path in sorted(package.rglob("*.py"))
        for line, names in lists_of_names(path)
    ]
    return [
        f"{a}:{i} and {b}:{j} share {len(x & y)} names"
        for (a, i, x), (b, j, y) in combinations(found, 2)
        if len(x & y) >= max(8, 0.75 * min(len(x), len(y)))
        and a != b
        and not CHOICES.keys() & {a, b}
    ]


def too_long(package: Path = PACKAGE) -> list[str]:
    """What is wrong about the length of files, and the reasons that no file needs."""
    lines = {
        path.relative_to(package).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted(package.rglob("*.py"))
    }
    core = sum(n for name, n in lines.items() if name.startswith("core/"))
    long = {name for name, n in lines.items() if n > LONG}
    return [
        *([f"core/ has {core:,} lines, {core - CORE:,} more than its bound"] * (core > CORE)),
        *(
            f"{name} has {lines[name]} lines: say why in LONG_FILES"
            for name in long - {*LONG_FILES}
        ),
        *(f"{name} is not long: LONG_FILES need not name it" for name in {*LONG_FILES} - long),
    ]


def main() -> None:
    """Print the tree, then what is wrong."""
    from tests.test_project import upward_imports  # which imports this module

    package = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE
    counts = files(package)
    for room, lines in sorted(rooms(counts).items()):
        inner = room.rstrip("/").count("/")
        print(f"{'    ' * inner}{room.rstrip('/').rpartition('/')[2]:{40 - 4 * inner}}{lines:7,}")
    simulator = sum(n for name, n in counts.items() if name.startswith("backend/sim/"))
    print(f"{'all':40}{sum(counts.values()):7,}")
    print(f"{'all but the simulator':40}{sum(counts.values()) - simulator:7,}")
    if package == PACKAGE:
        wrong = [*too_long(), *kept_twice(), *upward_imports()]
        sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
