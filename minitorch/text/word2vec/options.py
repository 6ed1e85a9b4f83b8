"""The options of `Word2Vec`: their defaults, how each is read, and which of them a file holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from minitorch.backend import Device, get_default_device
from minitorch.text.options import LONGEST_VECTOR, flag, integer, real, require_memory
from minitorch.text.vocab import TrimRule
from minitorch.text.word2vec.kernels.machine_code import check_numba

Sentences = Iterable[Sequence[str]]

# Noise words that the pairs of a block share, at window 5 with 5 negatives.
_SHARED_NEGATIVES = {"sg": 40, "cbow": 16}
# What holds an option besides the model: its file, and if the result depends on it, every
# checkpoint, which has to have it in common with the run that goes on from it.
FILE, RESULT = "file", "result"

_whole = partial(integer, least=0)
_positive = partial(integer, least=1)
_optional = partial(integer, least=1, optional=True)


def _truth(what: str, value: Any) -> bool:
    return bool(value)


def _option(
    default: Any, read: Callable[[str, Any], Any] | None = None, held: str | None = None
) -> Any:
    """A field. read: gives a value of any kind in Python's own type, or raises ValueError."""
    return field(default=default, metadata={"read": read, "held": held})


@dataclass(eq=False, repr=False)
class Options:
    """The options of `Word2Vec`, which has them as attributes and explains them."""

    sentences: InitVar[Sentences | None] = None
    corpus_file: InitVar[str | Path | None] = None
    vector_size: int = _option(100, partial(integer, least=1, most=LONGEST_VECTOR), RESULT)
    alpha: float = _option(0.025, real, FILE)
    window: int = _option(5, _positive, RESULT)
    min_count: int = _option(5, _whole, FILE)
    max_vocab_size: int | None = _option(None, _optional, FILE)
    sample: float = _option(1e-3, real, RESULT)
    seed: int = _option(1, integer, RESULT)
    workers: int = _option(3, _positive, FILE)
    min_alpha: float = _option(1e-4, real, FILE)
    sg: int = _option(0, flag, RESULT)
    hs: int = _option(0, flag, RESULT)
    negative: int = _option(5, _whole, RESULT)
    ns_exponent: float = _option(0.75, real, RESULT)
    cbow_mean: int = _option(1, flag, RESULT)
    hashfxn: object = hash
    epochs: int = _option(5, _positive, FILE)
    null_word: int = 0
    trim_rule: InitVar[TrimRule | None] = None
    sorted_vocab: int = _option(1, flag, FILE)
    batch_words: int = _option(10_000, _whole, FILE)
    compute_loss: bool = _option(False, _truth, FILE)
    callbacks: Sequence[Any] = ()
    comment: str | None = _option(None, None, FILE)
    max_final_vocab: int | None = _option(None, _optional, FILE)
    shrink_windows: bool = _option(True, _truth, RESULT)
    _: KW_ONLY
    full_softmax: int = _option(0, flag, RESULT)
    device: Device | str | None = None
    block_size: int = _option(32, _positive, RESULT)
    pool_size: int | None = _option(None, _positive, RESULT)
    step_words: int = _option(512, _positive, RESULT)
    progress: bool | None = None
    cache: str | Path | None = None
    checkpoint: str | Path | None = None
    save_every: int | None = _option(None, _optional)
    resume: InitVar[bool] = False
    overwrite: InitVar[bool] = False
    compiled: bool | None = None
    deterministic: bool | None = _option(None, None, RESULT)

    def held(self, *holders: str) -> dict[str, Any]:
        """The options that FILE or RESULT holds."""
        return {name: getattr(self, name) for name in held(*holders)}

    def read(self) -> None:
        """Bring options to their own types, and look at them.

        Raises ValueError for what is out of range, ImportError if Numba is needed and missing.
        """
        self.device = get_default_device() if self.device is None else Device(self.device)
        self.callbacks = tuple(self.callbacks)
        if self.pool_size is None:
            self.pool_size = self._shared_negatives()
        for option in fields(self):
            if option.metadata.get("read") is not None:
                value = option.metadata["read"](
                    f"Word2Vec: {option.name}", getattr(self, option.name)
                )
                setattr(self, option.name, value)
        self._check_memory()
        self._check_ranges()
        self._check_compiled(self.device)

    def _shared_negatives(self) -> int:
        """Noise words to a block: each stands for as many pairs as at the defaults, or fewer."""
        pairs = self.negative * (self.window if self.sg else 5)
        return round(_SHARED_NEGATIVES["sg" if self.sg else "cbow"] * max(1.0, pairs / 25))

    def _check_memory(self) -> None:
        window, block, shared = self.window, self.block_size, self.pool_size
        bands = (window + 1) ** 2 * (2 * window + 1)
        pairs = block * (block + 2 * window + (shared or 0))
        options = f"window={window}, block_size={block} and pool_size={shared}"
        require_memory(f"Word2Vec: {options}", 4 * max(bands, pairs), "use smaller ones")

    def _check_ranges(self) -> None:
        if not (self.negative or self.hs or self.full_softmax):
            raise ValueError(
                "Word2Vec: negative=0, hs=0 and full_softmax=0 leave nothing to learn: set one"
            )
        if not 0 <= self.min_alpha <= self.alpha:
            raise ValueError(
                f"Word2Vec: expected 0 <= min_alpha <= alpha, got min_alpha={self.min_alpha} and "
                f"alpha={self.alpha}"
            )
        if not 0 <= self.sample < 1:
            raise ValueError(f"Word2Vec: sample: expected 0 <= sample < 1, got {self.sample}")
        if not isinstance(self.comment, str | None):
            raise ValueError(f"Word2Vec: comment: expected None or text, got {self.comment!r}")

    def _check_compiled(self, device: Device) -> None:
        for name in ("compiled", "deterministic"):
            value = getattr(self, name)
            if value not in (None, True, False):
                raise ValueError(f"Word2Vec: {name}: expected True, False or None, got {value!r}")
        if self.compiled:
            if device.type != "cpu":
                raise ValueError(f"Word2Vec: compiled=True is for the CPU, not for {device}")
            check_numba()


for _name, _kind in Options.__annotations__.items():
    if _kind.startswith("InitVar"):  # which the constructor passes on, and no model has
        delattr(Options, _name)


def held(*holders: str) -> list[str]:
    """The names of the options that FILE or RESULT holds."""
    return [f.name for f in fields(Options) if f.metadata.get("held") in holders]
