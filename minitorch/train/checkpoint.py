"""Checkpoints: nested state as one safetensors file, its structure as JSON in the metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minitorch import serialization
from minitorch.tensor import Tensor

_TENSOR, _ITEMS = "__tensor__", "__items__"


def save_checkpoint(
    path: str | Path, state: dict[str, Any], metadata: dict[str, Any] | None = None
) -> None:
    """Write `state`, nested dicts and lists of tensors and plain values, to `path`.

    The file is a safetensors file: every tensor by its path (`model.0.weight`), the rest as JSON.
    It is written under another name and then renamed. Raises TypeError for other values.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _pack(state, "", tensors)
    text = {"state": json.dumps(skeleton), "metadata": json.dumps(metadata or {})}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    serialization.save(tensors, path, metadata=text)


def load_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read back the state and the metadata of `save_checkpoint`.

    Raises FileNotFoundError for a missing file, ValueError for one that is not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    tensors, text = serialization.load(path, metadata=True)
    if "state" not in text:
        raise ValueError(f"{path}: not a checkpoint of a training run")
    return _unpack(json.loads(text["state"]), tensors), json.loads(text["metadata"])


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value
        return {_TENSOR: path}
    if isinstance(value, dict):
        return {
            _ITEMS: [[key, _pack(item, _join(path, key), tensors)] for key, item in value.items()]
        }
    if isinstance(value, (list, tuple)):
        return [_pack(item, _join(path, i), tensors) for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"save_checkpoint: {path} is a {type(value).__name__}, which JSON cannot hold")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    return {key: _unpack(item, tensors) for key, item in value[_ITEMS]}


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
