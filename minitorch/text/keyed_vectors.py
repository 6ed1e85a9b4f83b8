"""KeyedVectors: word vectors to look up, compare, evaluate, write and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minitorch.backend import Device
from minitorch.core import dtypes
from minitorch.creation import tensor
from minitorch.text.evaluation import Evaluated
from minitorch.text.io import formats, model_file
from minitorch.text.io.model_file import from_text, text
from minitorch.text.options import real
from minitorch.text.vector_table import Attributes, Key, floating

__all__ = ["KeyedVectors"]

_WITH_VECTORS = ("KeyedVectors", "Word2Vec", "GloVe", "LSA")  # whose files have vectors


class KeyedVectors(model_file.Saved, Evaluated):
    """Vectors (n, vector_size) by key, with the interface of gensim's KeyedVectors.

    vectors: a floating-point Tensor on any device (or what becomes one), which `vectors` shares;
    keys: strings or integers, index_to_key; key_to_index: their rows. counts: how often each
    occurred, get_vecattr(key, "count").

    On the CPU vectors, and whatever else gensim gives as arrays, come back as NumPy arrays, and
    `vectors` shares the memory of `tensor`, the Tensor; on another device they are Tensors of it,
    for nothing is copied to the host unless somebody says so: `to("cpu")`.

    Left out of gensim's is what it calls obsolete (init_sims, word_vec, vocab, index2word,
    index2entity, vectors_norm): an error says what to use.
    """

    KIND = "KeyedVectors"

    # ------------------------------------------------------------------ files
    def state_dict(self) -> dict[str, Any]:
        """The state for a file: the tensor "vectors", and "keys" and "attributes" as `text`.

        `text` is UTF-8 bytes of JSON.
        """
        return {
            "vectors": self.tensor,
            "keys": text(self.index_to_key),
            "attributes": text({attr: _listed(values) for attr, values in self.expandos.items()}),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> KeyedVectors:
        """The vectors that `state_dict` was taken of."""
        vectors = state["vectors"]
        made = cls(vectors.size(1), from_text(state["keys"]), vectors)
        made.expandos = Attributes(from_text(state["attributes"]))
        for attr, values in made.expandos.items():
            if len(values) != len(made):
                raise ValueError(f"{len(values)} values of {attr!r} for {len(made)} keys")
        return made

    @classmethod
    def load(
        cls, path: str | Path, mmap: str | None = None, device: Device | str | None = None
    ) -> KeyedVectors:
        """Read what `save` wrote, or the vectors out of the file of a whole model.

        mmap="r": on the CPU the vectors are the memory of the file, which is read where it is
        used; they cannot be written to (`copy.deepcopy` of them can). Raises ValueError for any
        other file, a pickle among them.
        """
        with model_file.reading(path, *_WITH_VECTORS, device=device, mmap=mmap) as state:
            return cls.from_state_dict(state)

    def save_word2vec_format(
        self,
        fname: str | Path,
        fvocab: str | Path | None = None,
        binary: bool = False,
        total_vec: int | None = None,
        write_header: bool = True,
        prefix: str = "",
        append: bool = False,
        sort_attr: str = "count",
        progress: bool | None = None,
    ) -> None:
        """Write the format of word2vec.c and gensim: a header, then a key and its vector each.

        fname: .gz, .bz2 and .xz are compressed. fvocab: a file for the keys' counts. total_vec:
        another number for the header. write_header=False: GloVe's format. prefix: what each key
        is to begin with. append: go on with a file that is there. sort_attr: largest values of
        this attribute first, or as they stand if there is none such.
        Raises ValueError for a key that the format cannot hold and for fvocab without counts.
        """
        order: Sequence[int] = range(len(self))
        values = self.expandos.get(sort_attr)
        if values is not None:
            listed = values.tolist()
            order = sorted(order, key=lambda i: -listed[i])
        if fvocab is not None:
            if values is None:
                raise ValueError(
                    f"save_word2vec_format: fvocab: the keys have no attribute {sort_attr!r}"
                )
            keys = [self.index_to_key[i] for i in order]
            formats.write_counts(Path(fvocab), keys, [values[i] for i in order], prefix, append)
        total = len(self) if total_vec is None else total_vec
        formats.write_word2vec(
            Path(fname),
            self.index_to_key,
            self.tensor,
            order,
            binary=binary,
            header=f"{total} {self.vector_size}" if write_header else None,
            prefix=prefix,
            append=append,
            progress=progress,
        )

    @classmethod
    def load_word2vec_format(
        cls,
        fname: str | Path,
        fvocab: str | Path | None = None,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        datatype: Any = dtypes.float32,
        no_header: bool = False,
        device: Device | str | None = None,
        progress: bool | None = None,
    ) -> KeyedVectors:
        """Read the format of word2vec.c and gensim, or (no_header) GloVe's text.

        fvocab: a file with counts; without it they fall from n by one to the key, as gensim's
        do. unicode_errors: what to do about keys that are not in this encoding ("strict",
        "ignore", "replace"). limit: only so many of the first vectors. datatype: float16,
        float32 or float64, of minitorch or NumPy.
        Of a key that stands there twice the first vector counts. Raises ValueError for a wrong
        header, line or key, EOFError for a file that is cut short (which a text's last number
        cannot show).
        """
        dtype = floating(datatype)
        counts = formats.read_counts(Path(fvocab), encoding, unicode_errors) if fvocab else None
        keys, numbers, size = formats.read_word2vec(
            Path(fname),
            binary=binary,
            no_header=no_header,
            limit=limit,
            encoding=encoding,
            unicode_errors=unicode_errors,
            double=dtype is not dtypes.float32,
            progress=progress,
        )
        vectors = tensor(numbers, dtype=dtype, device=device).reshape(len(keys), size)
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        descending = range(len(keys), 0, -1)
        if len(first) < len(keys):
            rows = sorted(first.values())
            keys, vectors = [keys[i] for i in rows], vectors[tensor(rows, device=device)]
        if counts is None:
            return cls(size, keys, vectors, descending[: len(keys)])
        missing = [key for key in keys if key not in counts]
        if missing:
            raise ValueError(
                f"{fvocab}: has no count of {len(missing)} keys of {fname}, {missing[0]!r} is the "
                "first"
            )
        return cls(size, keys, vectors, [counts[key] for key in keys])

    def intersect_word2vec_format(
        self,
        fname: str | Path,
        lockf: float = 0.0,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
    ) -> int:
        """Take the vectors of known keys from a file; returns how many there were.

        lockf: which part of each of its steps such a vector takes in further training, see
        `vectors_lockf`: 0.0, as in gensim, keeps it as it is, with 1.0 training goes on from it.
        Raises ValueError for vectors of another size.
        """
        lockf, factors = real("intersect_word2vec_format: lockf", lockf), self.lock_factors()
        other = KeyedVectors.load_word2vec_format(
            fname,
            binary=binary,
            encoding=encoding,
            unicode_errors=unicode_errors,
            datatype=self.tensor.dtype,
            device=self.device,
        )
        if other.vector_size != self.vector_size:
            raise ValueError(
                f"{fname}: has vectors of {other.vector_size} numbers, expected {self.vector_size}"
            )
        shared: list[Key] = [key for key in other.index_to_key if key in self.key_to_index]
        if shared:
            self[shared] = other[shared]
            factors[[self.get_index(key) for key in shared]] = lockf
            self.vectors_lockf = factors
        return len(shared)

    def save_projector(self, folder: str | Path) -> None:
        """Write vectors.tsv and metadata.tsv for the TensorFlow Embedding Projector.

        The attributes of the keys are columns of the metadata.
        """
        formats.write_projector(Path(folder), self.index_to_key, self.tensor, self.expandos)


def _listed(values: Any) -> Any:
    """An array of an attribute for a file: a list where `attribute` makes the same of it."""
    usual = values.dtype.name in ("int64", "float64", "bool", "object")
    return values.tolist() if usual else values
