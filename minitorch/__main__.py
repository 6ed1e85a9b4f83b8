"""`python -m minitorch`: the same as the command `minitorch`."""

import sys

from minitorch.cli import main

if __name__ == "__main__":
    sys.exit(main())
