"""Pairs of rounds for the fusion network: recorded from the real Session, and made up beside them.

A batch is images (B, 2, 3, 128, 128), the slice and its reference, and maps (B, 6, 128, 128): the masks
truth, previous, current and the reference's, and the nearness of previous and current to their prompts,
the same in every pixel.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from limnet.errors import CaseError, ConfigError
from limnet.fusion import Round, nearness, shrink
from limnet.model import FUSION_SIZE, Judgement, LimNet, Reference
from limnet.networks.export import export_networks
from limnet.networks.fusion import FusionNetwork
from limnet.networks.interaction import InteractionNetwork
from limnet.networks.memory import MemoryNetwork
from limnet.prompt import Click, centre
from limnet.session import Session
from limnet.training.build import load_network
from limnet.training.cases import TrainingCase
from limnet.training.clicking import error_click, perturb
from limnet.training.clips import made_up_image
from limnet.training.recipe import Recipe
from limnet.training.shapes import ShapeFactory
from limnet.training.stream import SHAPES, ClipStream, is_held_out, shape_case
from limnet.volume import Volume

PAIRS = "pairs.npz"
HELD_OUT_PAIRS = "pairs-held-out.npz"
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


class Pair(NamedTuple):
    """One slice before and after a round."""

    images: NDArray[np.uint8]  # (2, 3, 128, 128), 0 .. 255: the slice, its reference
    masks: NDArray[np.bool_]  # (4, 128, 128): truth, previous, current, the reference's
    nearness: NDArray[np.float32]  # (2,), of previous and current to their prompts


def batch_stream(
    recipe: Recipe, cases: Sequence[TrainingCase], folder: Path, seed: int
) -> IterableDataset[tuple[Tensor, Tensor]]:
    """What a recipe's network is trained on: clips, or pairs of rounds for the fusion network."""
    if recipe.network != "fusion":
        return ClipStream(recipe, cases, seed)
    held_out = bool(cases) and all(is_held_out(case, recipe.data) for case in cases)
    return PairStream(recipe, cases, seed, folder / (HELD_OUT_PAIRS if held_out else PAIRS))


class PairStream(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches of pairs without end: some recorded, some made up."""

    def __init__(self, recipe: Recipe, cases: Sequence[TrainingCase], seed: int, path: Path) -> None:
        self.recipe = recipe
        self.cases = cases
        self.seed = seed
        self.path = path

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng(self.seed)
        recorded = read_pairs(self.path) if self.path.exists() else []
        batch = self.recipe.batch
        num_made_up = round(batch * self.recipe.pairs.made_up) if recorded else batch
        clips = ClipStream(replace(self.recipe, batch=max(2, num_made_up)), self.cases, self.seed)
        for images, truths in clips:
            drawn = zip(images.numpy(), truths.numpy() > 0.5, strict=True)
            pairs = [_made_up(image, truth, rng) for image, truth in drawn]
            chosen = rng.integers(len(recorded), size=batch - len(pairs)).tolist() if recorded else []
            yield _stack(pairs + [_varied(recorded[index], rng) for index in chosen])


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
    session = Session(volume, model)
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
            else:
                judged[item.index] = judge.judged.popleft()
        pairs += _round_pairs(judged, session.rounds[-1], truth, recipe.pairs.slices, rng)
        mask = session.mask
    return pairs


def read_pairs(path: Path) -> list[Pair]:
    """Read what `write_pairs` wrote."""
    with np.load(path) as file:
        masks = np.unpackbits(file["masks"], axis=-1).astype(bool)
        parts = zip(file["images"], masks, file["nearness"], strict=True)
        return [Pair(two, mask, near) for two, mask, near in parts]


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Keep pairs in one compressed file."""
    images = np.stack([pair.images for pair in pairs])
    masks = np.packbits(np.stack([pair.masks for pair in pairs]), axis=-1)
    near = np.stack([pair.nearness for pair in pairs])
    np.savez_compressed(path, images=images, masks=masks, nearness=near)


def _model_of(recipe: Recipe, start_folder: Path) -> LimNet:
    """The networks that the recipe starts from, exported and loaded as in use."""
    loaded = dict(load_network(start_folder / source) for source in recipe.start)
    interaction, memory = loaded.get("interaction"), loaded.get("memory")
    if not (isinstance(interaction, InteractionNetwork) and isinstance(memory, MemoryNetwork)):
        raise ConfigError(
            "start: the fusion network needs an interaction and a memory checkpoint to make rounds with"
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


def _made_up(image: NDArray[np.float32], truth: NDArray[np.bool_], rng: np.random.Generator) -> Pair:
    """Two wrong masks of slice 0 of a clip (S, 3, H, W): perturbed, a neighbour's, or empty.

    The reference is another slice of the clip, one with the object if there is any.
    """
    masks = [truth[0]]
    for _ in range(2):
        kind = rng.random()
        if kind < 0.15:
            masks.append(np.zeros_like(truth[0]))
        elif kind < 0.4 and len(truth) > 1:
            masks.append(truth[rng.integers(1, len(truth))])
        else:
            masks.append(perturb(truth[0], rng))
    others = range(1, len(truth))
    there = int(rng.choice([index for index in others if truth[index].any()] or others))
    images = np.stack([shrink(image[0]), shrink(image[there])])
    small = np.stack([shrink(mask.astype(np.float32)) > 0.5 for mask in (*masks, truth[there])])
    near = nearness(rng.integers(1, 30, 2))  # tells nothing
    return Pair((images * 255).astype(np.uint8), small, near)


def _varied(pair: Pair, rng: np.random.Generator) -> Pair:
    """Turned, flipped, the two masks swapped at random."""
    order = [0, 1] if rng.random() < 0.5 else [1, 0]
    masks, near = pair.masks[[0, 1 + order[0], 1 + order[1], 3]], pair.nearness[order]
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    images, masks = np.rot90(pair.images, turns, (2, 3)), np.rot90(masks, turns, (1, 2))
    return Pair(images[..., ::-1], masks[..., ::-1], near) if mirrored else Pair(images, masks, near)


def _stack(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    images = np.stack([pair.images for pair in pairs]).astype(np.float32) / 255
    masks = np.stack([pair.masks for pair in pairs]).astype(np.float32)
    near = np.stack([pair.nearness for pair in pairs])[:, :, None, None]
    maps = np.concatenate([masks, np.broadcast_to(near, (len(pairs), 2, FUSION_SIZE, FUSION_SIZE))], axis=1)
    return torch.from_numpy(images), torch.from_numpy(maps.astype(np.float32))
