"""`save` and `load`: tensors in a safetensors file, what holds them as JSON in its metadata.

Nothing that is loaded can run code, and other programs read the tensors by their dotted names.
"""

from __future__ import annotations

import math
import os
import zlib
from typing import IO, Any

from minitorch.backend import Device, get_default_device, mapped_array
from minitorch.boundary import guard
from minitorch.core.tensor import Tensor
from minitorch.creation import as_tensor
from minitorch.files import replacing

__all__ = ["load", "save"]

_STRUCTURE = "minitorch"  # the key of the structure in the file's metadata
_CHECKSUM = "crc32"  # and of the checksum of all else that stands in the file
# NumPy's names of safetensors' dtypes that are mapped into memory.
_MAPPED = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "U8": "uint8"}
_MAPPED |= {"I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64"}
_NAMES = {**{name: kind for kind, name in _MAPPED.items()}, "bool": "BOOL"}
_PICKLES = (b"PK\x03\x04", b"\x80")  # torch.save's zip file, and a bare pickle


class PickleError(ValueError):
    """A file is a pickle, which can run any code: it is not read."""


def save(obj: Any, path: str | os.PathLike[str], *, keep: bool = False) -> None:
    """Write a tensor, or dicts, lists and tuples of tensors, numbers, strings, bools and None.

    Dict keys may be strings, numbers, bools or None. A tensor that occurs several times (tied
    parameters) is written once. The file appears under its name only when it is complete and on
    the disk. keep: what had the name before stays beside it, as NAME.previous.
    Raises TypeError that names the key path of anything else, OSError that names the path.
    """
    import json  # late: who only computes need not wait for it

    tensors: dict[str, Tensor] = {}
    try:
        structure = _encode(obj, "", tensors, {})
    except RecursionError:
        raise ValueError("save: obj: nested too deeply, or holds itself") from None
    arrays = {name: t.detach().contiguous().cpu().numpy() for name, t in tensors.items()}
    with replacing(path, keep) as unfinished, open(unfinished, "wb") as file:
        _write(file, arrays, json.dumps(structure))


def _write(file: IO[bytes], arrays: dict[str, Any], structure: str) -> None:
    """Write a safetensors file: the length of the header, the header, the arrays."""
    import json

    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # each is aligned
    entries, end = {}, 0
    for name in order:
        a, start = arrays[name], end
        end += a.nbytes
        kind = _NAMES[a.dtype.name]
        entries[name] = {"dtype": kind, "shape": list(a.shape), "data_offsets": [start, end]}
    checksum = _checksum_of_header(entries, structure)
    for name in order:
        checksum = zlib.crc32(_bytes(arrays[name]), checksum)
    metadata = {_STRUCTURE: structure, _CHECKSUM: f"{checksum:08x}"}
    header = json.dumps({"__metadata__": metadata, **entries}).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(8, "little") + header)
    for name in order:
        file.write(_bytes(arrays[name]))


def _bytes(array: Any) -> Any:
    """The memory of an array; that of bfloat16 cannot be had but as bytes."""
    return array.reshape(-1).view("uint8")


def _checksum_of_header(entries: dict[str, Any], structure: str | None) -> int:
    import json

    return zlib.crc32(json.dumps([entries, structure], sort_keys=True).encode())


def _check(path: str, metadata: dict[str, str]) -> None:
    """Raise ValueError if a file is not as it was written, where it says how it was."""
    if _CHECKSUM not in metadata:
        return
    with open(path, "rb") as file:
        entries = _entries(file)
        checksum = _checksum_of_header(entries, metadata.get(_STRUCTURE))
        while data := file.read(1 << 20):
            checksum = zlib.crc32(data, checksum)
    if f"{checksum:08x}" != metadata[_CHECKSUM]:
        raise ValueError(
            f"load: {path} is damaged: its checksum is {checksum:08x}, it was written with "
            f"{metadata[_CHECKSUM]}"
        )


def _entries(file: IO[bytes]) -> dict[str, Any]:
    """What the header of a file says about each tensor; the data come next."""
    import json

    entries: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    entries.pop("__metadata__", None)
    return entries


def load(
    path: str | os.PathLike[str], device: str | Device | None = None, mmap: bool = False
) -> Any:
    """Read what `save` wrote; any other safetensors file becomes a flat dict of tensors.

    Tensors come to `device` (None: the default device) and do not require grad. mmap: on the CPU
    their memory is that of the file, read-only, which is read where it is used, so that its
    checksum is not; on other devices it changes nothing. Raises ValueError for a pickle, and for a
    file that is damaged or cut short.
    """
    import json

    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    with open(path, "rb") as file:
        start = file.read(9)
    # The length of the header may well begin like a pickle; byte 8 of a safetensors file is "{".
    if start.startswith(_PICKLES) and start[8:] != b"{":
        raise PickleError(
            f"load: {path} is a pickle, which can run any code, so minitorch does not read it; "
            "where it was made, write safetensors.torch.save_file(state_dict, 'name.safetensors')"
        )
    try:
        with safe_open(path, framework="numpy") as contents:
            metadata = contents.metadata() or {}
            if not mmap:
                _check(path, metadata)
            mapped = _mapped(path, device) if mmap else {}
            tensors = mapped | {
                name: as_tensor(contents.get_tensor(name), device=device)
                for name in contents.keys()  # noqa: SIM118  (it is no dict)
                if name not in mapped
            }
    except SafetensorError as error:
        raise ValueError(f"load: {path} is not a complete safetensors file: {error}") from None
    except (TypeError, AttributeError) as error:  # the latter of a dtype that NumPy lacks
        raise ValueError(f"load: {path} holds a dtype that is not supported: {error}") from None
    except ValueError as error:
        if path in str(error):
            raise
        raise ValueError(f"load: {path} holds a shape that is not supported: {error}") from None
    if _STRUCTURE not in metadata:
        return tensors
    try:
        return _decode(json.loads(metadata[_STRUCTURE]), tensors)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"load: {path} has damaged metadata: {error!r}") from None


def _mapped(path: str, device: str | Device | None) -> dict[str, Tensor]:
    """The tensors of a complete safetensors file as views of its memory, if they are to stay here.

    Those without elements are left out, and dtypes that NumPy lacks.
    """
    if (get_default_device() if device is None else Device(device)).type != "cpu":
        return {}
    with open(path, "rb") as file:
        entries = _entries(file)
        data = file.tell()
    tensors = {}
    for name, about in entries.items():
        kind, (start, end) = _MAPPED.get(about["dtype"]), about["data_offsets"]
        if kind is not None and start < end:
            array = mapped_array(path, kind, about["shape"], data + start)
            tensors[name] = as_tensor(array, device="cpu")
    return tensors


def _encode(value: Any, path: str, tensors: dict[str, Tensor], names: dict[int, str]) -> Any:
    """Return `value` for JSON and put its tensors into `tensors`; `names` is by array identity."""
    if isinstance(value, Tensor):
        name = names.get(id(value.array))
        if name is None:
            name = path or "tensor"
            while name in tensors or name == "__metadata__":
                name += "_"
            tensors[name] = value
            names[id(value.array)] = name
        return {"tensor": name}
    if isinstance(value, dict):
        entries = []
        for key, item in value.items():
            if not isinstance(key, (str, int, float, type(None))):
                raise TypeError(f"save: {path or 'obj'} has a key of {type(key).__name__}: {key!r}")
            entries.append([key, _encode(item, _below(path, key), tensors, names)])
        return {"dict": entries}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(v, _below(path, i), tensors, names) for i, v in enumerate(value)]}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(
        f"save: {path or 'obj'} is a {type(value).__name__}; expected tensors, numbers, strings, "
        "bools, None, or dicts, lists and tuples of them (of a module or optimizer: state_dict())"
    )


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "float":
        return float(content)
    if kind == "dict":
        return {key: _decode(item, tensors) for key, item in content}
    items = [_decode(item, tensors) for item in content]
    if kind == "list":
        return items
    if kind == "tuple":
        return tuple(items)
    raise ValueError(f"unknown kind {kind!r}")


guard(globals())
