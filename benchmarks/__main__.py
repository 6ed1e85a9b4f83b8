"""Run benchmarks: `python -m benchmarks [NAME ...] [--OPTION ...]`, all of them if none is named.

Options go to each benchmark; `python -m benchmarks NAME --help` tells them. Where none is named,
they go to those that take --rounds, --threads, --dry and --check, and the others are left out.
`python -m benchmarks compare A B` compares the results of two runs.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks import _compare

FOLDER = Path(__file__).parent
FOUND = {p.stem for p in FOLDER.glob("*.py") if p.stem[0] != "_" and p.stem != "harness"}
WORDS = sorted(name for name in FOUND if name.startswith("word2vec"))
LAST = ["fashion_epoch", "fashion_mnist", "half_precision", "gpu", *WORDS]  # they take long
NAMES = [*sorted(FOUND - {*LAST}), *LAST]
OTHER_OPTIONS = {"fashion_mnist", "half_precision", "gpu", *WORDS}


def main(arguments: list[str]) -> int:
    """Run each benchmark in a process of its own; returns the exit status of the first to fail."""
    if arguments[:1] == ["compare"]:
        return _compare.main(arguments[1:])
    count = next((i for i, a in enumerate(arguments) if a.startswith("-")), len(arguments))
    names, options = arguments[:count], arguments[count:]
    if not names and {"-h", "--help"} & set(options):
        print(f"{__doc__}\nbenchmarks: {', '.join(NAMES)}")
        return 0
    for name in names or NAMES:
        if name not in NAMES:
            print(f"no benchmark {name!r}: choose from {', '.join(NAMES)}", file=sys.stderr)
            return 2
        if options and not names and name in OTHER_OPTIONS:
            print(f"== {name}: left out, it has other options")
            continue
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        status = subprocess.run(command, cwd=FOLDER.parent, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
