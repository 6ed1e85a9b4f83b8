"""`minitorch kernels ...`: check, compile and count what is in `kernels/`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatch

from tqdm import tqdm

from minitorch.backend import kernels
from minitorch.backend.cuda import static


# ---------------------------------------------------------------------- check
def check_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `kernels check`."""
    add = parser.add_argument
    _files(parser)
    add(
        "--arch",
        nargs="+",
        default=list(static.ARCHITECTURES),
        metavar="SM",
        help=f"architectures (default: {' '.join(static.ARCHITECTURES)})",
    )
    add("--kernel", default="*", metavar="NAME", help="print those of this name (* stands for any)")
    add("--quiet", action="store_true", help="print what is wrong only")


def _files(parser: argparse.ArgumentParser) -> None:
    known = kernels.files()
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help=f"source files of kernels/, without .cu (default: all of {', '.join(known)})",
    )


def chosen_files(names: Sequence[str]) -> list[str]:
    """The files that a user named, or all; ValueError for one that does not exist."""
    known = kernels.files()
    for name in names:
        if name not in known:
            raise ValueError(f"kernels/{name}.cu does not exist: there are {', '.join(known)}")
    return list(names) or known


def check(args: argparse.Namespace) -> int:
    """Compile for each element type and architecture; 1 if something is wrong with a kernel."""
    static.check_installed(args.arch)
    units = static.units(chosen_files(args.files), args.arch)
    with tqdm(total=len(units), unit="file", disable=_hidden(args.quiet), leave=False) as bar:
        try:
            compiled = static.compile_all(units, bar.update)
        except static.DoesNotCompile as error:
            print(error)
            return 1
    if not args.quiet:
        shown = [k for k in compiled if fnmatch(k.name, args.kernel)]
        _print_table(static.COLUMNS, static.table(shown))
    wrong = static.violations(compiled)
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(
        f"{len({(k.file, k.name) for k in compiled})} kernels for {', '.join(args.arch)}: "
        f"{len(wrong) or 'nothing'} wrong"
    )
    return 1 if wrong else 0


def _hidden(quiet: bool) -> bool:
    return quiet or not sys.stderr.isatty()


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    for row in (columns, *rows):
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        print("  ".join((row[0].ljust(widths[0]), *cells)))
