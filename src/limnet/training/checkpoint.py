"""Checkpoints: named tensors in files of at most 14 MB each, and a small JSON that makes them one.

The JSON is written last, under a temporary name, then renamed: an interrupted save leaves the former
checkpoint valid.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limnet.errors import WeightsError

MAX_BYTES = 14_000_000
INDEX = "checkpoint.json"


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write `tensors` and the JSON-able `state`, replacing the checkpoint that was there."""
    folder.mkdir(parents=True, exist_ok=True)
    former = _read_index(folder)["files"] if (folder / INDEX).exists() else []
    stamp = f"{int(state['step']):07d}"
    files = []
    for number, part in enumerate(_parts(tensors)):
        files.append(f"part-{stamp}-{number}.pt")
        torch.save(part, folder / files[-1])
    temporary = folder / (INDEX + ".tmp")
    temporary.write_text(json.dumps({"files": files, "state": dict(state)}, indent=1))
    temporary.replace(folder / INDEX)
    for name in set(former) - set(files):
        (folder / name).unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what `save_checkpoint` wrote; a missing or damaged one is a WeightsError."""
    index = _read_index(folder)
    tensors: dict[str, Tensor] = {}
    for name in index["files"]:
        try:
            tensors.update(torch.load(folder / name, map_location="cpu", weights_only=True))
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise WeightsError(
                f"{folder / name}: damaged checkpoint part ({reason}); delete {folder}"
            ) from None
    return tensors, index["state"]


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index: Any = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: no readable checkpoint ({error}); train without --resume first"
        ) from None
    if not isinstance(index, dict) or {"files", "state"} - index.keys():
        raise WeightsError(f"{path}: not the index of a checkpoint; expected the keys files and state")
    return index


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Group tensors, in order, into dicts of at most MAX_BYTES (one larger tensor stands alone)."""
    part: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        count = tensor.numel() * tensor.element_size()
        if part and size + count > MAX_BYTES:
            yield part
            part, size = {}, 0
        part[name] = tensor.detach().cpu().clone()
        size += count
    yield part
