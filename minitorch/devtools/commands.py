"""`minitorch kernels ...`: check, compile and count the kernels in `kernels/`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatch
from itertools import zip_longest
from multiprocessing import get_context

from tqdm import tqdm

from minitorch import sim
from minitorch.backend import cuda_sources, named, why_unavailable
from minitorch.backend.sim import cost
from minitorch.backend.sim.cost import Cost, Report
from minitorch.core.dtypes import ARRAY_DTYPES
from minitorch.devtools import grids, static
from minitorch.devtools.occupancy import CARDS


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
    known = cuda_sources.files()
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help=f"source files of kernels/, without .cu (default: all of {', '.join(known)})",
    )


def chosen_files(names: Sequence[str]) -> list[str]:
    """The files that a user named, or all; ValueError for one that does not exist."""
    known = cuda_sources.files()
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
    """Print a table, with names on the left and numbers on the right."""
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    for row in (columns, *rows):
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        print("  ".join((row[0].ljust(widths[0]), *cells)))


# ---------------------------------------------------------------------- compile
def compile_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `kernels compile`."""
    _files(parser)
    add = parser.add_argument
    add("--device", choices=("cuda", "sim"), default="sim", help="what to compile for")
    add("--checked", action="store_true", help="sim: the build that checks every access, too")
    add("--quiet", action="store_true", help="no progress bar")


def compile_ahead(args: argparse.Namespace) -> None:
    """Compile kernels into the user's cache, in parallel, so that first use does not wait."""
    _available(args.device)
    modes = (False, True) if args.checked and args.device == "sim" else (False,)
    jobs = [
        (args.device, file, dtype.name, checked)
        for file in chosen_files(args.files)
        for dtype in cuda_sources.SUFFIXES
        for checked in modes
    ]
    most = 8 if args.device == "cuda" else len(jobs)  # each holds some 500 MB of the GPU
    processes = min(os.cpu_count() or 1, len(jobs), most)
    with (
        ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
        tqdm(total=len(jobs), unit="file", disable=_hidden(args.quiet), leave=False) as bar,
    ):
        started = time.perf_counter()
        for _ in pool.map(_compile_one, *zip(*jobs)):
            bar.update()
    seconds = time.perf_counter() - started
    print(f"{len(jobs)} modules ready for device '{args.device}' in {seconds:.0f} s")


def _available(device: str) -> None:
    """Raise ImportError with the reason where a device is not available."""
    missing = why_unavailable(device)
    if missing is not None:
        raise ImportError(f"device '{device}' is not available: {missing}")


def _compile_one(device: str, file: str, dtype: str, checked: bool) -> None:
    gpu = named(device).gpu
    with sim.config(checked=checked):
        # The process may have the module of the other build: compile this build if it is missing.
        gpu.kernels.module(file, ARRAY_DTYPES[dtype], gpu.current()).compile()


# ---------------------------------------------------------------------- count
Steps = Mapping[str, Callable[[], Iterator[Report]]]  # what `kernels count` knows, by name


def count_arguments(steps: Steps, parser: argparse.ArgumentParser) -> None:
    """The arguments of `kernels count`."""
    known = " or ".join(steps)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"{known} (default: all)")


def count(steps: Steps, args: argparse.Namespace) -> None:
    """Print each launch of training steps on the checked simulator, totals, and their grids."""
    unknown = [name for name in args.steps if name not in steps]
    if unknown:
        raise ValueError(f"no step {unknown[0]!r}: there are {', '.join(steps)}")
    _available("sim")
    for name in args.steps or steps:
        for report in steps[name]():
            print(report.title)
            if report.costs:
                _print_costs(report.costs, report.floors)
            if report.step is not None:
                _print_grids(report.step)
            print(*report.remarks, "", sep="\n")


def _print_costs(costs: Sequence[Cost], floors: Sequence[int]) -> None:
    work = cost.of_kind(costs, *cost.LAUNCHES)
    rows = [
        (
            c.name + (" (assumed)" if c.kind in cost.LIBRARY else ""),
            f"{c.read:,}",
            f"{c.written:,}",
            "" if floor is None else f"{floor:,}",
            "" if c.kind in cost.LIBRARY else f"{c.excess:.2f}",
        )
        for c, floor in zip_longest(work, floors)
    ]
    _print_table(("launch", "bytes in", "bytes out", "floor", "sectors/needed"), rows)
    own = cost.of_kind(costs, "kernel")
    library = cost.of_kind(costs, *cost.LIBRARY)
    moved, inside = _megabytes(own), _megabytes(library)
    print(
        f"{len(work)} launches ({len(own)} of kernels/, {len(library)} of cublasLt), "
        f"{len(cost.of_kind(costs, 'sync'))} synchronisations, "
        f"{len(cost.host_copies(costs))} copies to or from the host"
    )
    least = sum(floor for c, floor in zip(work, floors) if c.kind == "kernel")
    against = f" ({moved * 1e6 / least:.3f} of their floor)" if least else ""
    print(f"{moved + inside:.1f} MB: {moved:.1f} of kernels/{against}, {inside:.1f} of cublasLt")


def _print_grids(step: Callable[[], object]) -> None:
    """Print the blocks of each launch against what GPUs hold of them at once."""
    for card in CARDS:
        with grids.recorded(card.processors) as (launches, _):
            step()
        try:
            static.check_installed([card.arch])
        except ImportError as missing:
            print(f"the blocks that an {card.name} holds at once: {missing}")
            continue
        rows = [
            (launch.name, f"{launch.blocks:,}", str(launch.threads), f"{held:,}", f"{waves:.2f}")
            for launch, held in zip(launches, grids.held(launches, card))
            for waves in [launch.blocks / held]
        ]
        head = f"{card.name}, {card.processors} multiprocessors"
        _print_table((head, "blocks", "threads", "held at once", "waves"), rows)


def _megabytes(costs: Iterable[Cost]) -> float:
    return sum(c.moved for c in costs) / 1e6
