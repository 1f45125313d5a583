"""Checkpoints: what was saved comes back bit for bit, in small files; damage is one line."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from limnet.errors import WeightsError
from limnet.training import checkpoint
from limnet.training.checkpoint import INDEX, load_checkpoint, save_checkpoint

TENSORS = {
    "weight": torch.arange(6.0).reshape(2, 3),
    "half": torch.ones(3, dtype=torch.float16),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 4),
}


def test_tensors_and_state_come_back_bit_for_bit(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "new" / "folder", TENSORS, {"step": 3, "network": "memory"})
    tensors, state = load_checkpoint(tmp_path / "new" / "folder")
    assert state == {"step": 3, "network": "memory"}
    assert list(tensors) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_no_file_is_larger_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 1000)
    tensors = {str(n): torch.full((60,), float(n)) for n in range(20)}  # 240 bytes each: four per file
    save_checkpoint(tmp_path, tensors, {"step": 0})
    parts = sorted(tmp_path.glob("part-*.pt"))
    assert [len(torch.load(part, weights_only=True)) for part in parts] == [4] * 5
    loaded, _ = load_checkpoint(tmp_path)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_a_part_does_not_drag_the_storage_of_a_view_along(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"row": torch.zeros(1_000_000)[:10]}, {"step": 0})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_000


def test_the_former_checkpoint_goes_when_the_new_one_is_whole(tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {"a": torch.tensor(step)}, {"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == [INDEX, "part-0000002-0.pt"]
    assert load_checkpoint(tmp_path)[0]["a"] == 2


def test_an_interrupted_save_leaves_the_former_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, TENSORS, {"step": 1})

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(tmp_path, {"weight": torch.zeros(1)}, {"step": 2})
    assert torch.equal(load_checkpoint(tmp_path)[0]["weight"], TENSORS["weight"])


def test_a_missing_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no readable checkpoint.*train without --resume first"):
        load_checkpoint(tmp_path)


def test_an_index_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text("{")
    with pytest.raises(WeightsError, match=INDEX):
        load_checkpoint(tmp_path)


def test_an_index_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(json.dumps({"step": 3}))
    with pytest.raises(WeightsError, match=INDEX):
        load_checkpoint(tmp_path)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, TENSORS, {"step": 1})
    (tmp_path / "part-0000001-0.pt").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(WeightsError, match=r"part-0000001-0\.pt: damaged checkpoint part"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"garbage " * 100,
    ],
)
def test_a_damaged_part_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    save_checkpoint(tmp_path, TENSORS, {"step": 1})
    part = tmp_path / "part-0000001-0.pt"
    part.unlink() if content is None else part.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load_checkpoint(tmp_path)
    assert "\n" not in str(error.value)
