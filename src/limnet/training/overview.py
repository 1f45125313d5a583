"""Training of the overview network: the whole object from a few prompts, and from its own masks corrected."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from limnet.networks.overview import OverviewNetwork
from limnet.training.cubes import cubes_of
from limnet.training.device import device_of
from limnet.training.losses import batch_dice, object_loss
from limnet.training.prompted_cubes import PromptedCubes
from limnet.training.recipe import RoundsConfig

MOMENTUM = 0.03  # of batch norm's running statistics: a batch holds few cubes, each of another kind
VALIDATED = (1, 2, 4)  # prompts after which held-out cubes are scored
VALIDATION_SEED = 30_000


class OverviewStep:
    """Loss of one batch of cubes, and Dice after prompts on held-out cubes."""

    def __init__(
        self, network: OverviewNetwork, config: RoundsConfig, seed: int, bfloat16: bool = False
    ) -> None:
        self.network = network
        self.config = config
        self.rng = np.random.default_rng(seed)
        self.bfloat16 = bfloat16
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = MOMENTUM

    def loss(self, image: Tensor, known: Tensor, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Cubes (B, N, N, N), (B, 3, N, N, N) of `stack_cubes` -> loss and its Dice.

        A random number of rounds leads there without gradients: the network's own masks, corrected.
        """
        del progress
        cubes = PromptedCubes(cubes_of(image, known), self.config, self.rng)
        shares = np.array(self.config.before)
        for _ in range(int(self.rng.choice(len(shares), p=shares / shares.sum()))):
            self._advance(cubes)
            cubes.correct()
        logits = self._logits(cubes)
        truth = known[:, :1].to(logits.device)  # (B, 1, N, N, N)
        return object_loss(logits, truth), {"dice": float(_dice(logits > 0, truth > 0.5).mean())}

    def validate(self, image: Tensor, known: Tensor, number: int = 0) -> dict[str, float]:
        """Dice after one, two and four prompts; `dice_0` is that of the masks given, of nothing mostly 0.

        Prompts and masks are drawn as by default, the same for a batch's `number` whatever came before.
        """
        rng, training = np.random.default_rng((VALIDATION_SEED, number)), self.network.training
        cubes = PromptedCubes(cubes_of(image, known), RoundsConfig(), rng)
        truth = known[:, :1] > 0.5
        figures = {"dice_0": float(_dice(torch.from_numpy(cubes.masks)[:, None] > 0.5, truth).mean())}
        self.network.eval()
        for prompts in range(1, max(VALIDATED) + 1):
            if prompts > 1:
                cubes.correct()
            self._advance(cubes)
            if prompts in VALIDATED:
                masks = torch.from_numpy(cubes.masks)[:, None] > 0.5
                figures[f"dice_{prompts}"] = float(_dice(masks, truth).mean())
        self.network.train(training)
        return figures

    @torch.no_grad()
    def _advance(self, cubes: PromptedCubes) -> None:
        """What the network makes of the cubes becomes their masks."""
        cubes.masks = (self._logits(cubes)[:, 0] > 0).cpu().numpy().astype(np.float32)

    def _logits(self, cubes: PromptedCubes) -> Tensor:
        """The network's answer to all that is known of the cubes, (B, 1, N, N, N) in float32."""
        device = device_of(self.network)
        maps = cubes.maps().to(device, memory_format=torch.channels_last_3d)  # (B, 10, N, N, N)
        with _in_bfloat16(device) if self.bfloat16 else nullcontext():
            logits: Tensor = self.network(maps)
        return logits.float()


def _in_bfloat16(device: torch.device) -> torch.autocast:
    """Within, convolutions and linear layers compute in half precision.

    Without autocast's cache, which all threads share: weights that one of them casts for a round without
    gradients would get none from the loss of another. Each is used once, so that nothing is lost.
    """
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def _dice(masks: Tensor, truth: Tensor) -> Tensor:
    """Dice of each cube: boolean (B, 1, N, N, N) twice -> (B, 1)."""
    return batch_dice(masks.flatten(-2), truth.flatten(-2))
