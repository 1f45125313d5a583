"""Training of the interaction network: iterative clicks against its own errors (RITM, arXiv:2102.06583)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from limnet.hints import by_colour, click_hints, click_maps
from limnet.networks.interaction import InteractionNetwork
from limnet.training.clicking import SliceClick, error_click, perturb
from limnet.training.losses import batch_dice, mask_loss
from limnet.training.recipe import ClicksConfig

VALIDATION_ROUNDS = 3


class ClickedSlices:
    """A batch of slices with the clicks given so far."""

    def __init__(self, image: Tensor, truth: Tensor, config: ClicksConfig, rng: np.random.Generator) -> None:
        self.image = image  # (B, 3, H, W)
        self.truth = truth.numpy() > 0.5  # (B, H, W)
        self.config = config
        self.rng = rng
        self.clicks: list[list[SliceClick]] = [[] for _ in image]
        self.previous = torch.zeros_like(image[:, :1])  # (B, 1, H, W)
        for index, truth_mask in enumerate(self.truth):
            if rng.random() < config.refine:
                self.previous[index, 0] = torch.from_numpy(perturb(truth_mask, rng).astype(np.float32))

    def click(self) -> None:
        """Each slice gets a click on its largest error; a perfect slice gets none."""
        for clicks, truth, mask in zip(
            self.clicks, self.truth, self.previous[:, 0].numpy() > 0.5, strict=True
        ):
            click = error_click(truth, mask, self.rng, self.config.central)
            if click is not None:
                clicks.append(click)

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Image, previous mask, click maps and hints, as the network takes them."""
        size = self.image.shape[-1]
        seeds = np.zeros((2, len(self.clicks), size, size), bool)
        maps = np.zeros((len(self.clicks), 2, size, size), np.float32)
        for index, clicks in enumerate(self.clicks):
            for sign, positive in enumerate((True, False)):
                pixels = [(c.row, c.column) for c in clicks if c.positive is positive]
                maps[index, sign] = click_maps(pixels, size)
                for pixel in pixels:
                    seeds[sign, index][pixel] = True
        hints = by_colour(self.image.numpy(), *seeds, hints=click_hints)
        return self.image, self.previous, torch.from_numpy(maps), torch.from_numpy(hints)

    @torch.no_grad()
    def advance(self, network: InteractionNetwork) -> None:
        """Let the network answer the clicks; its mask becomes the previous mask."""
        training = network.training
        network.eval()
        self.previous = (network(*self.inputs()) > 0).float()
        network.train(training)


class InteractionStep:
    """Loss of one batch and the Dice after one and three clicks on held-out clips."""

    def __init__(self, network: InteractionNetwork, config: ClicksConfig, seed: int) -> None:
        self.network = network
        self.config = config
        self.rng = np.random.default_rng(seed)

    def loss(self, image: Tensor, truth: Tensor, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Clips of one slice (B, 1, 3, H, W), (B, 1, H, W) -> loss and its Dice."""
        del progress
        slices = ClickedSlices(image[:, 0], truth[:, 0], self.config, self.rng)
        for _ in range(int(self.rng.integers(self.config.max_rounds + 1))):
            slices.click()
            slices.advance(self.network)
        slices.click()
        logits = self.network(*slices.inputs())
        dice = batch_dice(logits[:, 0] > 0, truth[:, 0] > 0.5).mean()
        return mask_loss(logits, truth), {"dice": float(dice)}

    def validate(self, image: Tensor, truth: Tensor) -> dict[str, float]:
        """Dice after each of three central clicks, from nothing, on a batch of held-out clips."""
        rng = np.random.default_rng(0)
        slices = ClickedSlices(image[:, 0], truth[:, 0], ClicksConfig(refine=0, central=1), rng)
        result = {}
        for number in range(1, VALIDATION_ROUNDS + 1):
            slices.click()
            slices.advance(self.network)
            result[f"dice_{number}"] = float(
                batch_dice(slices.previous[:, 0] > 0.5, truth[:, 0] > 0.5).mean()
            )
        return result
