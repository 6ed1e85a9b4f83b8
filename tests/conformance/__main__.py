"""Prints the table."""

from __future__ import annotations

import sys

import minitorch
from tests.conformance.operators import COVERED, covered, database, run


def main(arguments: list[str]) -> None:
    """Run the names given, or all, and print a line for each."""
    options = {a for a in arguments if a.startswith("-")}
    if "--write" in options:
        COVERED.write_text("\n".join(covered()) + "\n")
        return
    names = [a for a in arguments if a not in options] or sorted(database())
    device = next((o[9:] for o in options if o.startswith("--device=")), "cpu")
    minitorch.set_default_device(device)
    results = [run(name, device=device) for name in names]
    for r in results:
        if not r.covered:
            print(f"{r.name:50} missing")
            continue
        state = "whole" if r.passed == r.samples and r.typed == r.errors else ""
        errors = f"{r.raised:3}/{r.typed:3}/{r.errors:<3}"
        print(f"{r.name:50} {r.passed:5}/{r.samples:<5} {errors} {state}")
        if "-v" in options:
            for failure in (*r.failures, *r.error_failures):
                print("   ", failure[:300])
    found = [r for r in results if r.covered]
    passed, samples = sum(r.passed for r in found), sum(r.samples for r in found)
    print(f"names {len(found)} of {len(results)}")
    print(f"samples {passed} of {samples} ({100 * passed / max(samples, 1):.2f}%)")
    errors, raised, typed = (
        sum(getattr(r, n) for r in found) for n in ("errors", "raised", "typed")
    )
    print(f"error inputs {errors}, raised {raised}, with PyTorch's type {typed}")


main(sys.argv[1:])
