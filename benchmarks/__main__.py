"""Run the benchmarks named on the command line, or all: `python -m benchmarks [NAME ...]`."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem[0] != "_" and p.stem != "harness")


def main(names: list[str]) -> int:
    """Run each benchmark in a process of its own; returns the exit status of the first to fail."""
    for name in names or NAMES:
        if name not in NAMES:
            print(f"no benchmark {name!r}: choose from {', '.join(NAMES)}", file=sys.stderr)
            return 2
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        status = subprocess.run(command, cwd=FOLDER.parent, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
