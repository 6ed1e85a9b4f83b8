"""Arguments stand where PyTorch has them and have its defaults."""

import inspect

import pytest
import torch

from minitorch import nn, optim
from tests.referee import require_newest

POSITIONAL = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
HOMES = [
    (nn, torch.nn),
    (nn.functional, torch.nn.functional),
    (nn.init, torch.nn.init),
    (nn.utils, torch.nn.utils),
    (nn.Module, torch.nn.Module),
    (optim, torch.optim),
    (optim.lr_scheduler, torch.optim.lr_scheduler),
]
# Parameter() without data is nothing here; forward and state_dict take anything in PyTorch.
DIFFERENT = {"Parameter", "forward", "state_dict"}
# Arguments by keyword that only minitorch has.
BEYOND = {"batch_norm": {"activation", "count", "p"}}


def arguments(function):
    """The arguments of a function or class; None where they cannot be read (built in)."""
    try:
        return list(inspect.signature(function).parameters.values())
    except ValueError:
        return None


def pairs():
    for ours, theirs in HOMES:
        for name, value in vars(ours).items():
            public = callable(value) and name[0] != "_" and name not in DIFFERENT
            expected = getattr(theirs, name, None)
            if public and callable(expected) and arguments(expected) is not None:
                yield pytest.param(value, expected, id=f"{ours.__name__}.{name}")


@pytest.mark.parametrize(("ours", "theirs"), list(pairs()))
def test_arguments_are_pytorchs(ours, theirs):
    expected = arguments(theirs)
    by_name = {p.name: p for p in expected}
    takes_any = any(p.kind in ANY for p in expected)
    for i, p in enumerate(arguments(ours)):
        if p.kind in ANY:
            continue
        if p.name in BEYOND.get(ours.__name__, ()):
            assert p.kind is inspect.Parameter.KEYWORD_ONLY
            continue
        if p.name not in by_name and not takes_any:
            require_newest()
            pytest.fail(f"{p.name} is unknown there")
        if p.kind in POSITIONAL and not takes_any:
            assert expected[i].name == p.name
        if p.name in by_name and by_name[p.name].default is not inspect.Parameter.empty:
            assert p.default == by_name[p.name].default, p.name
