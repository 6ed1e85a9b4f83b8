"""Mutants of kernels/ that no test can kill, and why: (file, operator, piece of the line, reason).

A file or operator of "*" stands for all of them. `mutate.py` fails where another one survives.
"""

SURVIVORS: list[tuple[str, str, str, str]] = [
    ("*", "32-bit", "", "differs from 2^31 elements on: more than a test can have"),
    ("*", "32-bit variable", "", "differs from 2^31 elements on: more than a test can have"),
]
