"""Run benchmarks: `python -m benchmarks [NAME ...] [--OPTION ...]`, all of them if none is named.

Options go to each benchmark; `python -m benchmarks NAME --help` tells them.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem[0] != "_" and p.stem != "harness")


def main(arguments: list[str]) -> int:
    """Run each benchmark in a process of its own; returns the exit status of the first to fail."""
    count = next((i for i, a in enumerate(arguments) if a.startswith("-")), len(arguments))
    names, options = arguments[:count], arguments[count:]
    if not names and {"-h", "--help"} & set(options):
        print(f"{__doc__}\nbenchmarks: {', '.join(NAMES)}")
        return 0
    for name in names or NAMES:
        if name not in NAMES:
            print(f"no benchmark {name!r}: choose from {', '.join(NAMES)}", file=sys.stderr)
            return 2
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        status = subprocess.run(command, cwd=FOLDER.parent, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
