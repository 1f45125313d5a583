"""LimNet: numpy in, numpy out; weights that are missing, wrong or damaged are one-line errors."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import exported_folder
from limnet.errors import WeightsError
from limnet.memory.bank import elements_of
from limnet.model import GRAPHS, MANIFEST, LimNet, Manifest, Reference, load_model, read_manifest, verify

RNG = np.random.default_rng(0)
SIZE = 64  # of the exported networks' view
MANIFEST_TABLE = {
    "version": "1",
    "size": 64,
    "threshold": 0.5,
    "key_dim": 2,
    "value_dim": 3,
    "sensory_dim": 4,
    "sha256": {},
}


def maps(channels: int, size: int = SIZE) -> NDArray[np.float32]:
    return RNG.random((channels, size, size), np.float32)


@pytest.fixture(scope="module")
def model() -> LimNet:
    pytest.importorskip("torch")
    return load_model(exported_folder(), threads=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("torch")
    return Path(shutil.copytree(exported_folder(), tmp_path / "weights"))


def test_a_sweep_step_goes_through_all_graphs(model: LimNet) -> None:
    image, sizes = maps(3), model.manifest
    probability = model.interaction(image, maps(1)[0], maps(2), maps(3), maps(3))
    features = model.query(image)
    elements = elements_of(features, model.value(image, probability, features.f16))
    sensory = np.zeros((sizes.sensory_dim, 4, 4), np.float32)
    carried = model.carry(image, features, image, probability, maps(3), elements, sensory)
    kept = model.potentiate(elements, np.array([3, 0, 9]))
    shapes = {
        "probability": probability.shape,
        "key": features.key.shape,
        "value": elements.value.shape,
        "carried": carried.probability.shape,
        "sensory": carried.sensory.shape,
        "usage": carried.usage.shape,
        "prototypes": kept.value.shape,
    }
    assert shapes == {
        "probability": (SIZE, SIZE),
        "key": (sizes.key_dim, 4, 4),
        "value": (sizes.value_dim, 16),
        "carried": (SIZE, SIZE),
        "sensory": (sizes.sensory_dim, 4, 4),
        "usage": (16,),
        "prototypes": (sizes.value_dim, 3),
    }
    assert 0 <= carried.probability.min() <= carried.probability.max() <= 1
    assert carried.usage.sum() == pytest.approx(16, rel=1e-4)  # each position shares out one
    np.testing.assert_array_equal(kept.key, elements.key[:, [3, 0, 9]])
    assert features.shrinkage.min() >= 1
    assert 0 < features.selection.min() < features.selection.max() < 1


def test_a_judgement_is_three_shares(model: LimNet) -> None:
    reference = Reference(maps(3, 128), maps(1, 128)[0])
    judgement = model.judge(maps(3, 128), *maps(2, 128), np.array([0.5, 1], np.float32), reference)
    assert all(isinstance(n, float) and 0 <= n <= 1 for n in judgement)


def test_the_same_input_gives_the_same_output(model: LimNet) -> None:
    inputs = maps(3), maps(1)[0], maps(2), maps(3), maps(3)
    np.testing.assert_array_equal(model.interaction(*inputs), model.interaction(*inputs))


def test_arrays_of_any_layout_and_dtype_are_taken(model: LimNet) -> None:
    image = maps(3)
    expected = model.query(image)
    for array in (np.asfortranarray(image), image.astype(np.float64), image[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(model.query(array).key, expected.key)


def test_the_identity_is_version_and_checksum(model: LimNet, folder: Path) -> None:
    assert model.identity.startswith("test-") and len(model.identity) == len("test-") + 8
    assert load_model(folder).identity == model.identity


def test_verify_accepts_what_was_exported() -> None:
    pytest.importorskip("torch")
    verify(exported_folder())


@pytest.mark.parametrize("name", GRAPHS)
def test_a_damaged_graph_is_named(folder: Path, name: str) -> None:
    data = bytearray((folder / f"{name}.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / f"{name}.onnx").write_bytes(data)
    for check in (verify, load_model):
        with pytest.raises(
            WeightsError, match=f"{name}.onnx: SHA-256 .* differs.*install the weights again"
        ) as error:
            check(folder)
        assert "\n" not in str(error.value)


def test_a_missing_graph_is_named(folder: Path) -> None:
    (folder / "carry.onnx").unlink()
    with pytest.raises(WeightsError, match=r"carry\.onnx: cannot be read \(No such file") as error:
        load_model(folder)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_graph_is_named(folder: Path) -> None:
    (folder / "query.onnx").write_bytes(b"not a graph")
    table = json.loads((folder / MANIFEST).read_text())
    table["sha256"]["query"] = hashlib.sha256(b"not a graph").hexdigest()
    (folder / MANIFEST).write_text(json.dumps(table))
    with pytest.raises(WeightsError, match=r"query\.onnx: ONNX Runtime cannot load it") as error:
        load_model(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; expected a folder of exported networks"),
        (b"", "not readable as JSON"),
        (b'{"version": ', "not readable as JSON"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"[1, 2]", "expected a JSON object"),
        (b'{"version": "1"}', "'size' is missing"),
        (json.dumps(MANIFEST_TABLE | {"more": 1}).encode(), "'more' is not a setting; known: key_dim"),
    ],
)
@pytest.mark.parametrize("read", [read_manifest, verify, load_model])
def test_a_manifest_that_cannot_be_used_is_one_line(
    tmp_path: Path, content: bytes | None, message: str, read: Callable[[Path], Any]
) -> None:
    if content is not None:
        (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(WeightsError, match=message) as error:
        read(tmp_path)
    assert str(error.value).startswith(str(tmp_path / MANIFEST))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"sha256": ["a"]}, {"size": "64"}, {"threshold": None}])
def test_a_manifest_of_wrong_types_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps(MANIFEST_TABLE | change))
    with pytest.raises(WeightsError):
        read_manifest(tmp_path)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps(MANIFEST_TABLE))
    assert read_manifest(tmp_path) == Manifest(**MANIFEST_TABLE)


@pytest.mark.parametrize("path", ["missing", "file"])
def test_a_path_that_is_no_folder_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError) as error:
        load_model(str(tmp_path / path))
    assert "\n" not in str(error.value)


def test_the_shipped_networks_are_whole_and_loaded_once() -> None:
    if not (files("limnet") / "weights" / MANIFEST).is_file():
        pytest.skip("no weights are shipped yet")
    with as_file(files("limnet") / "weights") as folder:
        verify(folder)
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 20e6
    model = load_model(threads=1)
    assert load_model(threads=1) is model
    assert model.manifest.size % 32 == 0
    probability = model.interaction(
        *(maps(n, model.manifest.size) for n in (3,)),
        np.zeros((model.manifest.size,) * 2),
        maps(2, model.manifest.size),
        *(maps(3, model.manifest.size) for _ in range(2)),
    )
    assert np.isfinite(probability).all()
