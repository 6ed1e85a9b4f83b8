"""PyTorch's names for things that live elsewhere in minitorch."""

from importlib import import_module
from types import ModuleType

__all__ = ["checkpoint", "data", "flop_counter"]


def __getattr__(name: str) -> ModuleType:
    """A module of this package, imported when it is first used."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
