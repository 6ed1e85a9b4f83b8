"""The rooms of the package, and how much code stands in each.

python -m tests.house [FOLDER]

FOLDER: a package (default: minitorch beside this file). Code is lines without blanks, comments and
docstrings.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "minitorch"
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


def main() -> None:
    """Print the tree."""
    package = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE
    counts = files(package)
    for room, lines in sorted(rooms(counts).items()):
        inner = room.rstrip("/").count("/")
        print(f"{'    ' * inner}{room.rstrip('/').rpartition('/')[2]:{40 - 4 * inner}}{lines:7,}")
    simulator = sum(n for name, n in counts.items() if name.startswith("backend/sim/"))
    print(f"{'all':40}{sum(counts.values()):7,}")
    print(f"{'all but the simulator':40}{sum(counts.values()) - simulator:7,}")


if __name__ == "__main__":
    main()
