"""A script that changes one import gets what the real client gets from a server, call by call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
from numpy.typing import NDArray

from doubles import WilfulLimNet, box_volume
from limnet.compat import NnInteractiveSession
from limnet.errors import LimNetWarning, PromptError
from nni_server import serving

IMAGE = box_volume().array.transpose(2, 1, 0)[None]
SHAPE = IMAGE.shape[1:]
SQUARE = np.ones((1, 4, 4), np.uint8)
BOUNDS = [[6, 7], [9, 13], [9, 13]]
SEG = np.zeros(SHAPE, np.uint8)
SEG[5:8, 9:12, 9:12] = 1

CALLS: list[Callable[[Any], object]] = [
    lambda s: s.set_do_autozoom(False),
    lambda s: s.reset_interactions(),
    lambda s: s.add_point_interaction([6, 10, 10], True),
    lambda s: s.add_point_interaction([6, 2, 2], False),
    lambda s: s.add_bbox_interaction([[4.0, 12.0], [10.0, 11.0], [8.0, 16.0]], True),
    lambda s: s.undo(),
    lambda s: s.add_scribble_interaction(SQUARE, True, interaction_bbox=BOUNDS),
    lambda s: s.add_lasso_interaction(SQUARE, False, interaction_bbox=BOUNDS),
    lambda s: s.undo(),
    lambda s: s.undo(),
    lambda s: s.add_point_interaction([9, 12, 12], True, run_prediction=False),
    lambda s: s.add_point_interaction([2, 12, 12], True, run_prediction=False),
    lambda s: s._predict(),
    lambda s: s.undo(),
    lambda s: s._predict(),
    lambda s: s.add_initial_seg_interaction(SEG),
    lambda s: s.add_point_interaction([6, 10, 10], True),
    lambda s: s.undo(),
    lambda s: s.undo(),
    lambda s: s.add_initial_seg_interaction(SEG, run_prediction=True),
    lambda s: s._predict(force_full_refine=True),
    lambda s: s.reset_interactions(),
    lambda s: s.undo(),
    lambda s: s.add_lasso_interaction(SQUARE, True, interaction_bbox=BOUNDS),
    *[lambda s: s.undo()] * 3,
]


@pytest.fixture
def session() -> NnInteractiveSession:
    session = NnInteractiveSession(model=WilfulLimNet())
    session.set_image(IMAGE, {"spacing": [2.0, 1.0, 1.0]})
    session.set_target_buffer(np.zeros(SHAPE, np.uint8))
    return session


def test_every_call_does_the_same_in_this_process_and_over_http(
    session: NnInteractiveSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(tmp_path, WilfulLimNet()) as (url, _), nnInteractiveRemoteInferenceSession(url) as remote:
        remote.set_image(IMAGE, {"spacing": np.array([2.0, 1.0, 1.0])})
        remote.set_target_buffer(np.zeros(SHAPE, np.uint8))
        for number, call in enumerate(CALLS):
            assert call(session) == call(remote), number
            np.testing.assert_array_equal(session.target_buffer, remote.target_buffer, str(number))


def test_both_have_the_same_attributes(
    session: NnInteractiveSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(tmp_path, WilfulLimNet()) as (url, _), nnInteractiveRemoteInferenceSession(url) as remote:
        remote.set_image(IMAGE)
        for name in (
            "supported_interactions",
            "channel_mapping",
            "num_interaction_channels",
            "supports_initial_label",
            "supports_zero_shot_label_refinement",
            "preferred_scribble_thickness",
            "interaction_decay",
            "INFERENCE_SESSION_VERSION",
            "license",
            "supports_undo",
            "original_image_shape",
            "do_autozoom",
        ):
            assert getattr(session, name) == getattr(remote, name), name


def test_it_has_every_public_method_of_the_real_one() -> None:
    of_http = {"ping", "heartbeat", "lease_status"}
    public = {name for name in vars(nnInteractiveRemoteInferenceSession) if not name.startswith("_")}
    assert public - of_http <= {name for name in dir(NnInteractiveSession) if not name.startswith("_")}


@pytest.mark.parametrize("dtype", [bool, np.int16, np.uint8])
def test_the_buffer_is_written_in_place_in_its_own_type(dtype: type) -> None:
    session = NnInteractiveSession(model=WilfulLimNet())
    session.set_image(IMAGE)
    buffer: NDArray[Any] = np.zeros(SHAPE, dtype)
    session.set_target_buffer(buffer)
    ((k, k_end), (j, j_end), (i, i_end)) = session.add_point_interaction([6, 10, 10], True) or [[0, 0]] * 3
    assert buffer[k:k_end, j:j_end, i:i_end].any()
    assert buffer[6, 10, 10] == 1


def test_all_objects_stay_in_the_annotation(session: NnInteractiveSession) -> None:
    session.add_point_interaction([6, 10, 10], True)
    session.reset_interactions()
    session.add_point_interaction([9, 4, 4], True)
    assert session.annotation is not None
    assert [len(item.session.rounds) for item in session.annotation.objects] == [1, 1]


def test_reset_of_an_object_that_was_undone_makes_no_other(session: NnInteractiveSession) -> None:
    session.add_point_interaction([6, 10, 10], True)
    session.undo()
    session.reset_interactions()
    session.add_point_interaction([9, 4, 4], True)
    assert session.annotation is not None
    assert [item.id for item in session.annotation.objects] == [1]


def test_an_empty_initial_segmentation_is_an_empty_buffer_and_can_be_undone(
    session: NnInteractiveSession,
) -> None:
    session.add_point_interaction([6, 10, 10], True)
    before = session.target_buffer.copy()  # type: ignore[union-attr]
    session.add_initial_seg_interaction(np.zeros(SHAPE, np.uint8))
    assert not session.target_buffer.any()  # type: ignore[union-attr]
    assert session.undo()
    np.testing.assert_array_equal(session.target_buffer, before)


def test_a_prompt_before_an_image_is_refused() -> None:
    with pytest.raises(PromptError, match="set_image"):
        NnInteractiveSession(model=WilfulLimNet()).add_point_interaction([1, 1, 1], True)


def test_a_failed_prompt_leaves_nothing_behind(session: NnInteractiveSession) -> None:
    with pytest.raises(PromptError):
        session.add_point_interaction([99, 1, 1], True)
    assert session.undo() is False


def test_a_folder_of_other_weights_is_not_read_and_that_is_said() -> None:
    with pytest.warns(LimNetWarning, match="not read"):
        NnInteractiveSession(model=WilfulLimNet()).initialize_from_trained_model_folder("nnInteractive_v1.0")


def test_assumptions_about_an_image_are_said() -> None:
    session = NnInteractiveSession(model=WilfulLimNet())
    with pytest.warns(LimNetWarning, match="only the first"):
        session.set_image(np.arange(2 * 4 * 5 * 6).reshape(2, 4, 5, 6))


def test_without_undo_there_is_none() -> None:
    session = NnInteractiveSession(model=WilfulLimNet(), enable_undo=False)
    session.set_image(IMAGE)
    session.add_point_interaction([6, 10, 10], True)
    assert not session.undo()
