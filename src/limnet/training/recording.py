"""Recording: sessions of the real Session on training cases, kept as pairs of rounds.

The fusion network learns from them which mask is better, the interaction network how to mend what sweeps
really leave.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.errors import CaseError, ConfigError
from limnet.fusion import Round, shrink
from limnet.model import Judgement, LimNet, Reference
from limnet.networks.export import export_networks
from limnet.networks.fusion import FusionNetwork
from limnet.networks.interaction import InteractionNetwork
from limnet.networks.memory import MemoryNetwork
from limnet.prompt import Click, centre
from limnet.session import Session
from limnet.training.build import exported_networks, is_exported, load_network
from limnet.training.cases import TrainingCase
from limnet.training.clicking import error_click
from limnet.training.clips import made_up_image
from limnet.training.pair import HELD_OUT_PAIRS, PAIRS, Pair, write_pairs
from limnet.training.recipe import Recipe
from limnet.training.shapes import ShapeFactory
from limnet.training.stream import SHAPES, is_held_out, shape_case
from limnet.volume import Volume

MAX_SLICES = 64  # of a case around the object; longer ones are cut before a session runs


class Judged(NamedTuple):
    """What the fusion network was shown of a slice; without a previous mask, the current one twice."""

    image: NDArray[np.float32]  # (3, 128, 128), in [0, 1]
    previous: NDArray[np.float32]  # (128, 128), in [0, 1]
    current: NDArray[np.float32]
    nearness: NDArray[np.float32]  # (2,)
    reference: Reference


class NearestJudge:
    """Stands in for the fusion network and remembers what it was shown, in order.

    It keeps the mask from the nearer prompt, and now and then the other one, so that bad states are met
    too. A network that is not trained yet could not decide, and rounds without any fusion would be worse
    than those it will meet in use.
    """

    def __init__(self, rng: np.random.Generator, contrary: float) -> None:
        self.judged = deque[Judged]()
        self._rng = rng
        self._contrary = contrary  # share of slices on which the farther mask is kept

    def judge(
        self,
        image: NDArray[np.float32],
        previous: NDArray[np.float32],
        current: NDArray[np.float32],
        nearness: NDArray[np.float32],
        reference: Reference,
    ) -> Judgement:
        """Prefer by nearness alone; quality is not known."""
        self.judged.append(Judged(image, previous, current, nearness, reference))
        nearer = bool(nearness[0] > nearness[1])
        return Judgement(float(nearer != (self._rng.random() < self._contrary)), 0.5, 0.5)


def record_pairs(
    recipe: Recipe, cases: Sequence[TrainingCase], folder: Path, start_folder: Path
) -> Iterator[float]:
    """Run sessions on training cases and keep pairs of rounds in `folder`; yields the minutes spent.

    The networks are those of the recipe's `start`; see `NearestJudge` for what stands in for fusion.
    """
    rng = np.random.default_rng(recipe.seed)
    model = _model_of(recipe, start_folder)
    factory = ShapeFactory(recipe.shapes, recipe.seed)
    by_group = {case.group: [other for other in cases if other.group == case.group] for case in cases}
    weights = {group: recipe.data.weights.get(group, recipe.data.default_weight) for group in by_group}
    weights[SHAPES] = recipe.data.shapes
    groups, shares = list(weights), np.array(list(weights.values()))
    kept: dict[bool, list[Pair]] = {True: [], False: []}
    began = time.monotonic()
    while (spent := (time.monotonic() - began) / 60) < recipe.pairs.minutes:
        group = groups[int(rng.choice(len(groups), p=shares / shares.sum()))]
        case = shape_case(factory, rng) if group == SHAPES else _drawn(by_group[group], rng)
        kept[is_held_out(case, recipe.data)] += session_pairs(model, case, recipe, rng)
        yield spent
    if not kept[False]:
        raise CaseError(
            f"no pair of rounds in {recipe.pairs.minutes:g} minutes; raise pairs.minutes in the recipe"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for held_out, name in ((False, PAIRS), (True, HELD_OUT_PAIRS)):
        if kept[held_out]:
            write_pairs(folder / name, kept[held_out])


def _drawn(cases: Sequence[TrainingCase], rng: np.random.Generator) -> TrainingCase:
    return cases[int(rng.integers(len(cases)))]


def session_pairs(model: LimNet, case: TrainingCase, recipe: Recipe, rng: np.random.Generator) -> list[Pair]:
    """One session with a careless simulated user: what fusion had to judge, slice by slice, round by round.

    Fusion of `model` is left to a NearestJudge. The model must have one lane: there slices are judged in the
    order in which they come.
    """
    judge = NearestJudge(rng, recipe.pairs.contrary)
    model.judge = judge.judge  # type: ignore[method-assign]  # the networks are the recorder's own
    volume, truth = _around_object(case, rng)
    # Slices are judged in the order in which they come: along one axis alone, and once.
    session = Session(volume, model, crossing=False, overview=False)
    axis, mask, pairs = session.axis, np.zeros(truth.shape, np.uint8), list[Pair]()
    for number in range(recipe.pairs.rounds):
        click = _careless_click(truth, mask > 0, axis, rng)
        if click is None or (number == 0 and not click.positive):
            break
        session.click(click.index, click.positive)
        judged: dict[int, Judged] = {}
        for item in session.sweep():
            if item.index == click.index[axis]:  # the sweep begins, or begins anew in a larger view
                judged = {item.index: judge.judged.pop()}
                judge.judged.clear()
            elif judge.judged:  # what comes after the last of them has lost an island: nobody judged that
                judged[item.index] = judge.judged.popleft()
        pairs += _round_pairs(judged, session.rounds[-1], truth, recipe.pairs.slices, rng)
        mask = session.mask
    return pairs


def _model_of(recipe: Recipe, start_folder: Path) -> LimNet:
    """The networks that the recipe starts from, exported and loaded as in use."""
    if recipe.start and all(is_exported(source, start_folder) for source in recipe.start):
        former = exported_networks(recipe.start[-1], start_folder)
        loaded: dict[str, object] = {"interaction": former.interaction, "memory": former.memory}
    else:
        loaded = dict(load_network(start_folder / source) for source in recipe.start)
    interaction, memory = loaded.get("interaction"), loaded.get("memory")
    if not (isinstance(interaction, InteractionNetwork) and isinstance(memory, MemoryNetwork)):
        raise ConfigError(
            "start: rounds are recorded with an interaction and a memory network; name both, or 'shipped'"
        )
    fusion = loaded.get("fusion") or FusionNetwork()
    assert isinstance(fusion, FusionNetwork)
    with tempfile.TemporaryDirectory() as place:
        export_networks(
            interaction, memory, fusion, Path(place), version="training", size=recipe.clip.size, threshold=0.5
        )
        return LimNet(Path(place), threads=1)


def _around_object(case: TrainingCase, rng: np.random.Generator) -> tuple[Volume, NDArray[np.bool_]]:
    """A case's volume and the truth of a random object of it, cut along the sweep axis to MAX_SLICES.

    A label map alone gets made-up intensities.
    """
    target = case.objects[int(rng.integers(len(case.objects)))]
    affine = np.diag([*case.spacing, 1.0])
    axis = Volume(case.labels, affine).sweep_axis
    middle = (target.box[axis].start + target.box[axis].stop) // 2
    first = int(np.clip(middle - MAX_SLICES // 2, 0, max(0, case.labels.shape[axis] - MAX_SLICES)))
    cut = tuple(slice(first, first + MAX_SLICES) if a == axis else slice(None) for a in range(3))
    labels = case.labels[cut]
    if case.image is None:
        return Volume(made_up_image(labels, target.label, rng), affine), labels == target.label
    image = case.image[cut].astype(np.float32)
    array = (image * 255).astype(np.uint8) if image.ndim == 4 else image
    return Volume(array, affine), labels == target.label


def _careless_click(
    truth: NDArray[np.bool_], mask: NDArray[np.bool_], axis: int, rng: np.random.Generator
) -> Click | None:
    """A click on a large error of a random slice that has many; the first one in the object's middle."""
    errors = np.moveaxis(truth ^ mask, axis, 0)
    counts = errors.reshape(len(errors), -1).sum(1).astype(float)
    if counts.sum() == 0:
        return None
    index = int(rng.choice(len(counts), p=counts**2 / (counts**2).sum()))
    plane_truth, plane_mask = (np.moveaxis(a, axis, 0)[index] for a in (truth, mask))
    if not mask.any():
        row, column = centre(plane_truth)
        positive = True
    else:
        click = error_click(plane_truth, plane_mask, rng)
        assert click is not None  # the slice has errors
        row, column, positive = click
    place = [row, column]
    place.insert(axis, index)
    return Click((place[0], place[1], place[2]), positive)


def _round_pairs(
    judged: dict[int, Judged], done: Round, truth: NDArray[np.bool_], most: int, rng: np.random.Generator
) -> list[Pair]:
    """Pairs of up to `most` slices of a round; where the two masks differ come first."""
    planes = np.moveaxis(truth, done.axis, 0)
    order = [index for index in rng.permutation(list(judged)) if done.swept[index]]
    order.sort(key=lambda index: bool((judged[index].previous == judged[index].current).all()))
    pairs = []
    for index in order[:most]:
        seen = judged[index]
        wanted = shrink(done.lens.view.look(planes[index])[0])
        masks = np.stack([wanted, seen.previous, seen.current, seen.reference.mask]) > 0.5
        images = np.stack([seen.image, seen.reference.image])
        pairs.append(Pair((images * 255).astype(np.uint8), masks, seen.nearness))
    return pairs
