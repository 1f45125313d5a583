"""Files of the CVPR 2025 challenge: their geometry, their prompts, and the command that answers them."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limnet
from doubles import FakeLimNet, box_volume
from limnet.cli import main
from limnet.cli.predict import Predict
from limnet.errors import CaseError, GeometryError, LimNetError, OutputError, PromptError, VolumeError
from limnet.evaluation.cases import CaseFiles, TruthObject, objects_of, read_case
from limnet.evaluation.npz_answer import Claim, replay, settle
from limnet.evaluation.npz_case import read_npz_labels, read_npz_volume, write_npz_answer
from limnet.evaluation.npz_file import read_array
from limnet.evaluation.npz_prompt import PromptRound, read_npz_prompts
from limnet.prompt import Click

Capture = pytest.CaptureFixture[str]
SHAPE = (16, 24, 40)  # (D, H, W)
LEFT, RIGHT = (slice(4, 12), slice(6, 14), slice(4, 12)), (slice(4, 12), slice(6, 14), slice(24, 34))


def two_boxes() -> np.ndarray:
    """Two bright boxes in the dark, (D, H, W)."""
    imgs = np.zeros(SHAPE, np.uint8)
    imgs[LEFT] = imgs[RIGHT] = 200
    return imgs


def save(path: Path, **arrays: Any) -> Path:
    """A challenge file of two boxes, of 1 x 1 x 2 mm voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **({"imgs": two_boxes(), "spacing": (1.0, 1.0, 2.0)} | arrays))
    return path


def box(x: tuple[int, int], y: tuple[int, int], z: int) -> dict[str, Any]:
    """A box as the challenge writes it, with NumPy's numbers."""
    values = {"z_min": 4, "z_max": 11, "z_mid": z}
    values |= {"z_mid_x_min": x[0], "z_mid_x_max": x[1], "z_mid_y_min": y[0], "z_mid_y_max": y[1]}
    return {key: np.int64(value) for key, value in values.items()}


def clicks(fg: list[list[int]], bg: list[list[int]] | None = None) -> dict[str, Any]:
    """Clicks [z, y, x] as the challenge writes them."""
    return {"fg": [[np.int64(n) for n in point] for point in fg], "bg": bg or []}


# Geometry


def test_axes_are_reversed_and_spacing_is_not(tmp_path: Path) -> None:
    imgs = np.arange(24, dtype=np.int16).reshape(2, 3, 4)  # (D, H, W)
    volume = read_npz_volume(save(tmp_path / "a.npz", imgs=imgs, spacing=(0.5, 0.7, 5.0)))
    assert volume.shape == (4, 3, 2)
    assert volume.array[3, 2, 1] == imgs[1, 2, 3] == 23
    assert volume.spacing == (0.5, 0.7, 5.0)
    assert volume.orientation == ("L", "P", "S")
    assert volume.sweep_axis == 2


def test_a_challenge_file_is_a_case_whose_ids_are_objects(tmp_path: Path) -> None:
    gts = np.zeros(SHAPE, np.uint8)
    gts[LEFT], gts[RIGHT] = 1, 2
    path = save(tmp_path / "a.npz", gts=gts)
    found = list(objects_of(read_case(CaseFiles("a", path, path))))
    assert all(isinstance(item, TruthObject) for item in found)
    assert [(item.object_id, item.truth.sum()) for item in found] == [(1, 512), (2, 640)]
    assert found[1].truth[30, 10, 8]  # x, y, z
    assert found[0].volume_ml == pytest.approx(512 * 2 / 1000)


def test_truth_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", gts=np.zeros((16, 24, 39), np.uint8))
    with pytest.raises(GeometryError, match=r"\(16, 24, 39\) does not fit .*\(16, 24, 40\)"):
        read_npz_labels(path, like=read_npz_volume(path))


def test_an_answer_is_written_in_the_axes_of_the_challenge(tmp_path: Path) -> None:
    labels = np.zeros((4, 3, 2), np.uint16)
    labels[3, 2, 1] = 7
    write_npz_answer(tmp_path / "a.npz", labels)
    segs = np.load(tmp_path / "a.npz")["segs"]
    assert (segs.shape, segs.dtype, segs[1, 2, 3], segs.sum()) == ((2, 3, 4), np.uint8, 7, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_many_objects_need_two_bytes(tmp_path: Path) -> None:
    write_npz_answer(tmp_path / "a.npz", np.full((2, 2, 2), 300, np.uint16))
    assert np.load(tmp_path / "a.npz")["segs"].dtype == np.uint16


def test_an_answer_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_npz_answer(tmp_path / "absent" / "a.npz", np.zeros((2, 2, 2), np.uint16))


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"imgs": np.zeros((2, 3), np.uint8)}, CaseError, r"'imgs' of shape \(2, 3\)"),
        ({"imgs": np.zeros((2, 3, 4), np.uint8)}, VolumeError, "all-equal"),
        ({"spacing": (1.0, 1.0)}, CaseError, r"'spacing' of shape \(2,\)"),
        ({"spacing": (1.0, 0.0, 1.0)}, GeometryError, "singular"),
    ],
)
def test_an_unusable_volume_is_told(
    arrays: dict[str, Any], error: type[LimNetError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        read_npz_volume(save(tmp_path / "a.npz", **arrays))


# Files of strangers


class Trap:
    """Runs a command when it is unpickled the usual way."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("sprung",)


def test_a_file_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "a.npz", boxes=np.array([Trap()], dtype=object))
    with pytest.raises(CaseError, match=r"a\.npz: holds a Python object .*mkdir, which is not read"):
        read_array(path, "boxes")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("core", [b"numpy.core.", b"numpy._core."])
def test_prompts_may_come_from_either_numpy(core: bytes, tmp_path: Path) -> None:
    boxes = np.array([box((4, 11), (6, 13), 7)], dtype=object)
    packed = pickle.dumps(
        boxes, protocol=3
    )  # which ends names with a new line, so that they can be exchanged
    for other in (b"numpy.core.", b"numpy._core."):
        packed = packed.replace(b"c" + other, b"c" + core)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(boxes))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("boxes.npy", header.getvalue() + packed)
    found = read_array(tmp_path / "a.npz", "boxes")
    assert found is not None
    assert found.tolist() == boxes.tolist()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CaseError, match=r"a\.npz: 'imgs' cannot be read"):
        read_npz_volume(path)


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=two_boxes())
    with pytest.raises(CaseError, match="no 'imgs' in it"):
        read_npz_volume(tmp_path / "a.npz")


# Prompts


def test_a_box_is_a_round_of_clicks_on_its_slice_and_a_click_a_round_of_its_own(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.npz", boxes=[box((4, 11), (6, 13), 7)], clicks=[clicks([[8, 9, 10]], [[7, 0, 0]])]
    )
    (rounds,) = read_npz_prompts(path, SHAPE[::-1])
    around = [(3, 5), (3, 9), (3, 14), (7, 5), (7, 14), (12, 5), (12, 9), (12, 14)]
    assert rounds[0].axis == 2
    assert rounds[0].clicks == (Click((7, 9, 7)), *(Click((i, j, 7), positive=False) for i, j in around))
    assert rounds[1:] == (PromptRound((Click((10, 9, 8)),)), PromptRound((Click((0, 0, 7), positive=False),)))


@pytest.mark.parametrize(
    "order",
    [
        [["bg", "fg", "fg"]],  # as NumPy stores lists of one length: text
        np.array([["bg", "fg", None, "fg"], []], dtype=object)[:1],  # of several lengths: objects
    ],
    ids=["text", "objects"],
)
def test_clicks_come_in_their_order(order: Any, tmp_path: Path) -> None:
    given = [clicks([[1, 1, 1], [2, 2, 2]], [[3, 3, 3]])]
    (rounds,) = read_npz_prompts(save(tmp_path / "a.npz", clicks=given, clicks_order=order), SHAPE[::-1])
    assert [(made.clicks[0].index[0], made.clicks[0].positive) for made in rounds] == [
        (3, False),
        (1, True),
        (2, True),
    ]


def test_without_an_order_positive_clicks_come_first(tmp_path: Path) -> None:
    given = [clicks([[1, 1, 1]], [[3, 3, 3]]), clicks([])]
    first, second = read_npz_prompts(save(tmp_path / "a.npz", clicks=given), SHAPE[::-1])
    assert [made.clicks[0].positive for made in first] == [True, False]
    assert second == ()


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({}, CaseError, "neither 'boxes' nor 'clicks'"),
        ({"boxes": [{"z_min": 3}]}, CaseError, "must have z_mid, z_mid_x_min"),
        ({"boxes": [box((4, 40), (6, 13), 7)]}, PromptError, r"\[7, 13, 40\] lies outside 'imgs'"),
        ({"boxes": [box((9, 4), (6, 13), 7)]}, PromptError, "ends before it starts"),
        ({"clicks": [{"fg": [[1, 2]], "bg": []}]}, CaseError, r"must be three whole numbers \[z, y, x\]"),
        ({"clicks": [clicks([[16, 0, 0]])]}, PromptError, r"\[16, 0, 0\] lies outside 'imgs'"),
        ({"clicks": [{"fg": []}]}, CaseError, "must have lists 'fg' and 'bg'"),
        ({"clicks": [clicks([[1, 1, 1]])], "clicks_order": [["bg"]]}, CaseError, "'clicks_order'"),
        (
            {"clicks": [clicks([])], "boxes": [box((4, 11), (6, 13), 7)] * 2},
            CaseError,
            "'clicks' of 1 objects",
        ),
    ],
)
def test_prompts_that_cannot_be_followed_are_told(
    arrays: dict[str, Any], error: type[LimNetError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        read_npz_prompts(save(tmp_path / "a.npz", **arrays), SHAPE[::-1])


# Objects that meet


def claim(label: int, joined: list[int], *clicked: tuple[int, int]) -> Claim:
    """A claim on a row of voxels: the round in which each joined (0: none); round and voxel of its clicks."""
    where = (slice(0, len(joined)), slice(0, 1), slice(0, 1))
    array = np.array(joined, np.uint16).reshape(-1, 1, 1)
    return Claim(label, where, array, tuple((number, (at, 0, 0)) for number, at in clicked))


def owners(*claims: Claim | None) -> list[int]:
    labels = settle(claims, (5, 1, 1))
    return [int(label) for label in labels.ravel()]


def test_the_later_round_takes_a_voxel() -> None:
    assert owners(claim(1, [1, 1, 2, 2, 0]), claim(2, [0, 0, 1, 1, 1])) == [1, 1, 1, 1, 2]


def test_of_one_round_the_smaller_object_stays() -> None:
    assert owners(claim(1, [0, 1, 1, 0, 0]), claim(2, [1, 1, 1, 1, 1])) == [2, 1, 1, 2, 2]
    assert owners(claim(1, [1, 1, 1, 1, 1]), claim(2, [0, 1, 1, 0, 0])) == [1, 2, 2, 1, 1]


def test_a_click_counts_for_all_of_the_contested_piece_it_lies_in() -> None:
    large, small = claim(1, [1, 1, 1, 1, 1], (2, 0), (2, 3)), claim(2, [1, 0, 1, 1, 0])
    assert owners(large, small) == [1, 1, 1, 1, 1]
    assert owners(claim(1, [1, 1, 1, 1, 1], (2, 3)), small) == [
        2,
        1,
        1,
        1,
        1,
    ]  # the piece of voxel 0 is another


def test_an_object_without_a_voxel_owns_nothing() -> None:
    assert owners(None, claim(2, [1, 0, 0, 0, 0])) == [2, 0, 0, 0, 0]


def test_a_negative_click_before_any_mask_is_passed_over() -> None:
    session = limnet.Session(box_volume(), FakeLimNet())
    outside = PromptRound((Click((1, 1, 1), positive=False),))
    assert replay(session, [outside]) is None
    found = replay(session, [outside, PromptRound((Click((12, 12, 8)),))])
    assert found is not None
    assert (found.num_voxels, found.joined.max()) == (8 * 8 * 8, 2)


# The command


@pytest.fixture
def inputs(tmp_path: Path, fake_networks: FakeLimNet) -> Path:
    """Two files with two objects each: one of boxes, one of clicks."""
    folder = tmp_path / "inputs"
    save(folder / "boxes.npz", boxes=[box((4, 11), (6, 13), 7), box((24, 33), (6, 13), 7)])
    save(folder / "clicks.npz", clicks=[clicks([[8, 10, 28]]), clicks([[8, 10, 8]])])
    return folder


def segs(path: Path) -> np.ndarray:
    return np.asarray(np.load(path)["segs"])


def test_every_file_gets_an_answer_of_its_name(inputs: Path, tmp_path: Path, capsys: Capture) -> None:
    output = tmp_path / "new" / "outputs"
    assert Predict(inputs, output).run() == 0
    assert sorted(path.name for path in output.iterdir()) == ["boxes.npz", "clicks.npz"]
    expected = np.zeros(SHAPE, np.uint8)
    expected[LEFT], expected[RIGHT] = 1, 2
    assert np.array_equal(segs(output / "boxes.npz"), expected)
    assert np.array_equal(segs(output / "clicks.npz"), np.array([0, 2, 1], np.uint8)[expected])
    assert "boxes.npz  2 objects" in capsys.readouterr().out


def test_a_file_that_fails_is_named_and_the_others_are_answered(
    inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    (inputs / "bad.npz").write_bytes(b"not a zip")
    assert Predict(inputs, tmp_path / "outputs").run() == 1
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["boxes.npz", "clicks.npz"]
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"limnet: failed: {inputs / 'bad.npz'}: 'imgs' cannot be read")
    assert told[1] == "limnet: 1 of 3 files failed"


def test_one_file_may_be_answered_alone(inputs: Path, tmp_path: Path) -> None:
    assert Predict(inputs / "clicks.npz", tmp_path / "outputs").run() == 0
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["clicks.npz"]


def test_the_same_file_gets_the_same_answer(inputs: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        Predict(inputs / "boxes.npz", tmp_path / name).run()
    assert (tmp_path / "one" / "boxes.npz").read_bytes() == (tmp_path / "two" / "boxes.npz").read_bytes()


def test_predict_is_a_command(inputs: Path, tmp_path: Path) -> None:
    assert main(["predict", str(inputs), "-o", str(tmp_path / "outputs"), "--threads", "1"]) == 0
    assert len(list((tmp_path / "outputs").iterdir())) == 2


def test_inputs_are_never_replaced(inputs: Path) -> None:
    with pytest.raises(OutputError, match="would replace the inputs"):
        Predict(inputs, inputs).run()


def test_a_folder_without_files_is_told(tmp_path: Path, fake_networks: FakeLimNet) -> None:
    with pytest.raises(CaseError, match=r"no \.npz file there"):
        Predict(tmp_path, tmp_path / "outputs").run()
