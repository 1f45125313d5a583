"""What nnInteractive's clients ask about a model before they show their tools, answered for LIM-Net."""

from __future__ import annotations

from typing import TypedDict

LICENCE = "Apache-2.0: networks and software, free for any use, commercial use included"
SESSION_VERSION = "2.6.0"  # of nnInteractive's session, whose calls are answered


class Capabilities(TypedDict):
    """The keys that its clients read; names are theirs."""

    supported_interactions: dict[str, bool]
    channel_mapping: dict[str, list[int]]
    num_interaction_channels: int
    supports_initial_label: bool
    supports_zero_shot_label_refinement: bool
    preferred_scribble_thickness: list[int]
    interaction_decay: float | None
    inference_session_version: str
    license: str
    supports_undo: bool
    do_autozoom: bool


def capabilities() -> Capabilities:
    """All of them.

    Channels are nnInteractive's, of an input that LIM-Net does not have; clients only show them.
    """
    return Capabilities(
        supported_interactions={
            "points": True,
            "bbox2d": True,
            "bbox3d": False,
            "scribble": True,
            "lasso": True,
        },
        channel_mapping={
            "points": [0, 1],
            "bbox2d": [2, 3],
            "scribble": [4, 5],
            "lasso": [6, 7],
            "prev_seg": [8],
        },
        num_interaction_channels=9,
        supports_initial_label=True,
        supports_zero_shot_label_refinement=True,
        preferred_scribble_thickness=[1, 1, 1],  # what is drawn is law, so a line should be one
        interaction_decay=None,  # prompts do not fade
        inference_session_version=SESSION_VERSION,
        license=LICENCE,
        supports_undo=True,
        do_autozoom=True,
    )
