"""The answer to a challenge file: its prompts replayed object by object, and the objects put into one array.

Objects are segmented apart, so two may claim a voxel. Then the later click wins: the object in whose mask the
voxel came in a later round. A positive click inside a contested piece counts for all of the piece, as of its
own round, and before what merely came in with that round. Whatever is still undecided goes to the smaller
object, which the other would otherwise swallow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.errors import CaseError
from limnet.evaluation.box import Box, box_of
from limnet.evaluation.npz_case import read_npz_volume, write_npz_answer
from limnet.evaluation.npz_prompt import PromptRound, read_npz_prompts
from limnet.prompt import Voxel
from limnet.session import Session
from limnet.volume import Volume

_NEIGHBOURS_26 = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class Claim:
    """What one object takes for itself."""

    label: int
    box: Box  # around it
    joined: NDArray[np.uint16]  # in the box: the round, from 1, in which a voxel last came in; 0 outside
    clicks: tuple[tuple[int, Voxel], ...]  # round and voxel of its positive clicks

    @property
    def num_voxels(self) -> int:
        """Its size."""
        return int(np.count_nonzero(self.joined))

    def holds(self, voxel: Voxel) -> bool:
        """Whether it claims `voxel`."""
        inside = all(side.start <= n < side.stop for n, side in zip(voxel, self.box, strict=True))
        return inside and bool(self.joined[tuple(n - s.start for n, s in zip(voxel, self.box, strict=True))])


def answer(source: Path, target: Path, new_session: Callable[[Volume], Session]) -> int:
    """Segment all objects that the challenge file `source` prompts, write `target`; how many there were.

    Errors of limnet: CaseError, PromptError and VolumeError when `source` cannot be used, OutputError when
    `target` cannot be written.
    """
    volume = read_npz_volume(source)
    prompts = read_npz_prompts(source, volume.shape)
    if len(prompts) > np.iinfo(np.uint16).max:
        raise CaseError(f"{source}: {len(prompts)} objects, must be 65535 at most")
    claims = (replay(new_session(volume), rounds, n) for n, rounds in enumerate(prompts, start=1))
    write_npz_answer(target, settle(claims, volume.shape))
    return len(prompts)


def replay(session: Session, rounds: Sequence[PromptRound], label: int = 1) -> Claim | None:
    """Tell a new session all rounds; what it makes of them, None when that is nothing.

    A negative click while nothing is segmented says nothing, and is passed over.
    """
    joined = np.zeros(session.volume.shape, np.uint16)
    clicks = []
    for number, prompt in enumerate(rounds, start=1):
        for click in prompt.clicks:
            if click.positive or session.pending or joined.any():
                session.click(click.index, positive=click.positive, axis=prompt.axis)
            if click.positive:
                clicks.append((number, click.index))
        if session.pending:
            session.propagate()
            mask = session.mask != 0
            joined[mask & (joined == 0)] = number
            joined[~mask] = 0
    box = box_of(joined != 0)
    return None if box is None else Claim(label, box, joined[box].copy(), tuple(clicks))


def settle(claims: Iterable[Claim | None], shape: Voxel) -> NDArray[np.uint16]:
    """Labels (I, J, K) in which every voxel has one owner, by the rules above."""
    found = sorted((claim for claim in claims if claim is not None), key=lambda claim: -claim.num_voxels)
    pieces = _contested_pieces(found, shape)
    labels = np.zeros(shape, np.uint16)
    latest = np.zeros(shape, np.uint16)
    for claim in found:  # the smaller come later, and take over what is undecided
        rank = _rank(claim, pieces)
        wins = (rank > 0) & (rank >= latest[claim.box])
        labels[claim.box][wins] = claim.label
        latest[claim.box][wins] = rank[wins]
    return labels


def _contested_pieces(claims: Sequence[Claim], shape: Voxel) -> NDArray[np.int32]:
    """What more than one object claims, (I, J, K), a number for each 26-connected piece; else 0."""
    num_claims = np.zeros(shape, np.uint16)
    for claim in claims:
        num_claims[claim.box] += claim.joined > 0
    pieces = np.zeros(shape, np.int32)
    contested = box_of(num_claims > 1)
    if contested is not None:
        pieces[contested], _ = ndimage.label(num_claims[contested] > 1, structure=_NEIGHBOURS_26)
    return pieces


def _rank(claim: Claim, pieces: NDArray[np.int32]) -> NDArray[np.uint16]:
    """How strong a claim is, in its box: twice the round, and one more where a click says it."""
    rank = 2 * claim.joined
    for number, voxel in claim.clicks:
        piece = pieces[voxel]
        if piece and claim.holds(voxel):
            here = (pieces[claim.box] == piece) & (claim.joined > 0)
            rank[here] = np.maximum(rank[here], 2 * number + 1)
    return rank
