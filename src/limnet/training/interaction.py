"""Training of the interaction network: iterative clicks against its own errors (RITM, arXiv:2102.06583).

The first prompt of a sample may be a box, a scribble or a lasso instead. An area is looked at twice, as in
use (`limnet.answer`), and corrected by clicks afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from limnet.answer import LOOKS
from limnet.hints import by_colour, click_hints, click_maps, reference_maps
from limnet.networks.interaction import InteractionNetwork
from limnet.training.clicking import SliceClick, error_click, leak, perturb
from limnet.training.device import moved
from limnet.training.losses import batch_dice, mask_loss
from limnet.training.pair import Pair, varied
from limnet.training.prompting import Area, drawn_box, drawn_lasso, scribble
from limnet.training.recipe import ClicksConfig

VALIDATION_ROUNDS = 3
VALIDATION_PAIRS = 256  # held-out ones, at most
MAX_DRAWS = 4  # of recorded rounds, in search of a mask that is not right already


class ClickedSlices:
    """A batch of slices with the masks they start from and the clicks given so far."""

    def __init__(
        self,
        image: Tensor,
        truth: Tensor,
        config: ClicksConfig,
        rng: np.random.Generator,
        previous: Tensor | None = None,
        reference: Tensor | None = None,
    ) -> None:
        self.image = image  # (B, 3, H, W)
        self.truth = truth.numpy() > 0.5  # (B, H, W)
        self.config = config
        self.rng = rng
        self.clicks: list[list[SliceClick]] = [[] for _ in image]
        self.areas: list[Area | None] = [None for _ in image]  # that the network is being told of
        self.num_prompts = 0
        self.previous = torch.zeros_like(image[:, :1]) if previous is None else previous  # (B, 1, H, W)
        self.reference = torch.zeros_like(image) if reference is None else reference  # (B, 3, H, W), maps

    @classmethod
    def of_clips(
        cls, image: Tensor, truth: Tensor, config: ClicksConfig, rng: np.random.Generator
    ) -> ClickedSlices:
        """One slice of each clip (B, S, 3, H, W), (B, S, H, W): the prompt slice, or a mask to refine.

        A mask to refine is what a sweep would leave: the mask of the clip's first slice on its last one
        (drifted, or carried past the object's end), or the slice's own truth, perturbed; some leak. The
        clip's other end is the reference, where it holds the object.
        """
        chosen = torch.zeros(len(image), dtype=torch.long)
        previous = torch.zeros_like(truth[:, :1])  # (B, 1, H, W)
        there = torch.full((len(image),), truth.shape[1] - 1)  # the slice that is shown beside
        shown = torch.zeros_like(truth[:, 0])  # (B, H, W), its mask; nothing where none is shown
        for index, masks in enumerate(truth.numpy() > 0.5):
            refines = rng.random() < config.refine
            is_carried = refines and rng.random() < config.carried
            if is_carried:
                chosen[index], there[index] = there[index], 0
            if chosen[index] != there[index] and rng.random() < config.shown * (1 if refines else 0.5):
                mask = masks[there[index]]
                mask = perturb(mask, rng) if rng.random() < 0.5 else mask
                shown[index] = torch.from_numpy(mask.astype(np.float32))
            if not refines:
                continue
            mask = masks[0]
            if not is_carried or rng.random() < 0.5:
                mask = perturb(mask, rng)
            if rng.random() < config.leak:
                mask = leak(image[index, chosen[index]].numpy(), mask, rng)
            previous[index, 0] = torch.from_numpy(mask.astype(np.float32))
        every = torch.arange(len(image))
        here, beside = image[every, chosen], image[every, there]
        return cls(here, truth[every, chosen], config, rng, previous, _reference(here, beside, shown))

    @classmethod
    def of_pairs(cls, pairs: Sequence[Pair], config: ClicksConfig, rng: np.random.Generator) -> ClickedSlices:
        """Slices of recorded rounds, each with one of its two masks to mend."""
        chosen = [pair.masks[rng.integers(1, 3)] for pair in pairs]
        image = torch.from_numpy(np.stack([pair.images[0] for pair in pairs]).astype(np.float32) / 255)
        truth = torch.from_numpy(np.stack([pair.masks[0] for pair in pairs]).astype(np.float32))
        previous = torch.from_numpy(np.stack(chosen).astype(np.float32))[:, None]
        beside = torch.from_numpy(np.stack([pair.images[1] for pair in pairs]).astype(np.float32) / 255)
        shown = torch.from_numpy(np.stack([pair.masks[3] for pair in pairs]).astype(np.float32))
        shown *= (image != beside).flatten(1).any(1)[:, None, None]  # a slice is no reference for itself
        return cls(image, truth, config, rng, previous, _reference(image, beside, shown))

    def with_others(self, others: ClickedSlices) -> ClickedSlices:
        """These and others as one batch, before the first click."""
        image, previous, reference = (
            torch.cat([getattr(slices, name) for slices in (self, others)])
            for name in ("image", "previous", "reference")
        )
        truth = torch.from_numpy(np.concatenate([self.truth, others.truth]).astype(np.float32))
        return ClickedSlices(image, truth, self.config, self.rng, previous, reference)

    def click(self) -> None:
        """Each slice gets a prompt on its largest error; a perfect slice gets none.

        A slice that was given a box or a lasso gets nothing more before the network has looked twice.
        """
        for index in range(len(self.clicks)):
            self._leave_area(index)
            if self.areas[index] is None:
                self._give(index)
        self.num_prompts += 1

    def _give(self, index: int) -> None:
        """One prompt on one slice."""
        truth, mask, config = self.truth[index], self.previous[index, 0].numpy() > 0.5, self.config
        others = config.boxes + config.lassos + config.scribbles
        kind = self.rng.random() if others > 0 and self.num_prompts == 0 else 1.0
        if kind < config.boxes + config.lassos and truth.any():
            area = (drawn_box if kind < config.boxes else drawn_lasso)(truth, self.rng)
            self.areas[index] = area
            self.previous[index, 0] = torch.from_numpy(area.start.astype(np.float32))
        elif config.boxes + config.lassos <= kind < others:
            self.clicks[index] += scribble(truth, mask, self.rng)
        else:
            click = self._click_of_view(index) or error_click(truth, mask, self.rng, config.central)
            self.clicks[index] += [click] if click is not None else []

    def _click_of_view(self, index: int) -> SliceClick | None:
        """The click that the view was laid around, as a session's first one is; only on a share of slices."""
        truth, middle = self.truth[index], self.truth.shape[-1] // 2
        if self.config.centred == 0 or self.num_prompts > 0 or self.previous[index].any():
            return None
        is_drawn = truth[middle, middle] and self.rng.random() < self.config.centred
        return SliceClick(middle, middle, True) if is_drawn else None

    def _leave_area(self, index: int) -> None:
        """What the network found outside a slice's area does not count; after two looks it is done with."""
        area = self.areas[index]
        if area is not None:
            self.previous[index, 0] *= torch.from_numpy(area.inside)
            self.areas[index] = area if self.num_prompts < LOOKS else None

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Image, previous mask, click maps, hints and reference, as the network takes them."""
        size = self.image.shape[-1]
        seeds = np.zeros((2, len(self.clicks), size, size), bool)
        maps = np.zeros((len(self.clicks), 2, size, size), np.float32)
        for index, (given, area) in enumerate(zip(self.clicks, self.areas, strict=True)):
            clicks = given if area is None else [*area.marks, *given]
            for sign, positive in enumerate((True, False)):
                pixels = [(c.row, c.column) for c in clicks if c.positive is positive]
                maps[index, sign] = click_maps(pixels, size)
                for pixel in pixels:
                    seeds[sign, index][pixel] = True
        hints = by_colour(self.image.numpy(), *seeds, hints=click_hints)
        told = torch.from_numpy(maps), torch.from_numpy(hints)
        return self.image, self.previous, *told, self.reference

    @torch.no_grad()
    def advance(self, network: InteractionNetwork) -> None:
        """Let the network answer the clicks; its mask becomes the previous mask."""
        training = network.training
        network.eval()
        self.previous = (network(*moved(self.inputs(), network)) > 0).float().cpu()
        network.train(training)


def _reference(image: Tensor, there: Tensor, mask: Tensor) -> Tensor:
    """Maps of references: slices (B, 3, H, W) twice, masks there (B, H, W) -> (B, 3, H, W)."""
    maps = by_colour(image.numpy(), there.numpy(), mask.numpy(), hints=reference_maps)
    return torch.from_numpy(maps)


class InteractionStep:
    """Loss of one batch, and Dice after clicks on held-out clips.

    `recorded` and `held_out` are pairs of rounds of the real Session; see `ClicksConfig.recorded`.
    """

    def __init__(self, network: InteractionNetwork, config: ClicksConfig, seed: int) -> None:
        self.network = network
        self.config = config
        self.rng = np.random.default_rng(seed)
        self.recorded: Sequence[Pair] = ()
        self.held_out: Sequence[Pair] = ()

    def loss(self, image: Tensor, truth: Tensor, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Clips (B, S, 3, H, W), (B, S, H, W) -> loss and its Dice on one slice of each."""
        del progress
        slices, num_before = self._drawn(image, truth)
        for _ in range(num_before):
            slices.click()
            slices.advance(self.network)
        slices.click()
        logits = self.network(*moved(slices.inputs(), self.network))
        wanted = torch.from_numpy(slices.truth).to(logits.device)  # (B, H, W)
        dice = batch_dice(logits[:, 0] > 0, wanted).mean()
        return mask_loss(logits, wanted[:, None].float()), {"dice": float(dice)}

    def _drawn(self, image: Tensor, truth: Tensor) -> tuple[ClickedSlices, int]:
        """What a batch of clips is learned from, and after how many clicks."""
        if self.config.first > 0 and self.rng.random() < self.config.first:
            config = replace(self.config, refine=0.0, shown=0.0)
            return ClickedSlices.of_clips(image, truth, config, self.rng), 0
        return self._slices(image, truth), int(self.rng.integers(self.config.max_rounds + 1))

    def _slices(self, image: Tensor, truth: Tensor) -> ClickedSlices:
        """What a batch of clips is learned from; recorded rounds take the place of some of them."""
        count = int(self.rng.binomial(len(image), self.config.recorded)) if self.recorded else 0
        count = min(count, len(image) - 1)
        slices = ClickedSlices.of_clips(image[count:], truth[count:], self.config, self.rng)
        if count == 0:
            return slices
        pairs = [varied(self._wrong_pair(), self.rng) for _ in range(count)]
        return slices.with_others(ClickedSlices.of_pairs(pairs, self.config, self.rng))

    def _wrong_pair(self) -> Pair:
        """A recorded pair of which a mask differs visibly from the truth, if one is soon found."""
        for _ in range(MAX_DRAWS):
            pair = self.recorded[int(self.rng.integers(len(self.recorded)))]
            errors = (pair.masks[1:3] ^ pair.masks[0]).sum((1, 2))
            if errors.min() > 0.05 * pair.masks[0].sum():
                break
        return pair

    def validate(self, image: Tensor, truth: Tensor, number: int = 0) -> dict[str, float]:
        """Dice on held-out clips after each of three central clicks, from nothing and on a carried mask.

        `carried_0` is that of the mask itself, before any click; `recorded` is on held-out recorded rounds,
        others for every `number` of a batch.
        """
        result: dict[str, float] = {}
        for name, refine in (("dice", 0.0), ("carried", 1.0)):
            config = ClicksConfig(refine=refine, carried=1, central=1)
            slices = ClickedSlices.of_clips(image, truth, config, np.random.default_rng(0))
            result |= self._after_clicks(name, slices)
        if self.held_out:
            config = ClicksConfig(central=1)
            chosen = self.held_out[:: max(1, len(self.held_out) // VALIDATION_PAIRS)]  # of all sessions
            pairs = [chosen[(number * len(image) + n) % len(chosen)] for n in range(len(image))]
            slices = ClickedSlices.of_pairs(pairs, config, np.random.default_rng(0))
            result |= self._after_clicks("recorded", slices)
        del result["dice_0"]
        return result

    def _after_clicks(self, name: str, slices: ClickedSlices) -> dict[str, float]:
        """Mean Dice after 0 .. VALIDATION_ROUNDS clicks."""
        result = {}
        for number in range(VALIDATION_ROUNDS + 1):
            if number:
                slices.click()
                slices.advance(self.network)
            dice = batch_dice(slices.previous[:, 0] > 0.5, torch.from_numpy(slices.truth))
            result[f"{name}_{number}"] = float(dice.mean())
        return result
