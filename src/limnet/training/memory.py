"""Training of the memory model: roll-outs over clips, first on true masks, then on its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from limnet.hints import by_colour, mask_hints
from limnet.networks.interaction import InteractionNetwork
from limnet.networks.memory import Memory, MemoryNetwork, Query
from limnet.training.clicking import perturb
from limnet.training.interaction import ClickedSlices
from limnet.training.losses import batch_dice, mask_loss
from limnet.training.recipe import ClicksConfig, RolloutConfig


class Written:
    """Memory elements written so far in a roll-out."""

    def __init__(self) -> None:
        self._parts: list[Memory] = []

    def write(self, query: Query, value: Tensor) -> None:
        """Add all positions of one slice of the batch."""
        self._parts.append(Memory(query.key.flatten(2), query.shrinkage.flatten(2), value.flatten(2)))

    @property
    def memory(self) -> Memory:
        """All elements as one Memory, N = slices times positions."""
        return Memory(*(torch.cat(tensors, dim=2) for tensors in zip(*self._parts, strict=True)))


class MemoryStep:
    """Loss of one batch of clips, and Dice beside the copy baseline on held-out clips."""

    def __init__(
        self, network: MemoryNetwork, config: RolloutConfig, seed: int, clicker: InteractionNetwork | None
    ) -> None:
        self.network = network
        self.config = config
        self.rng = np.random.default_rng(seed)
        self.clicker = clicker.eval() if clicker else None

    def loss(self, image: Tensor, truth: Tensor, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Clips (B, S, 3, H, W) with truth (B, S, H, W) -> loss over slices 1 .. S-1, and their Dice."""
        if progress >= self.config.freeze:
            freeze_statistics(self.network)
        fade = min(1.0, progress / self.config.teacher_fade)
        teacher = self.config.teacher_start + fade * (self.config.teacher_end - self.config.teacher_start)
        first = self._first_masks(image[:, 0], truth[:, 0])
        anchor = bool(self.rng.random() < self.config.far_anchor)
        write_every = int(self.rng.integers(1, 4))
        logits = self._roll_out(image, truth, first, teacher, write_every, anchor)
        end = truth.shape[1] - (1 if anchor and truth.shape[1] > 2 else 0)
        losses = [mask_loss(logit, truth[:, t : t + 1]) for t, logit in enumerate(logits[: end - 1], start=1)]
        return torch.stack(losses).mean(), self._figures(logits, truth)

    @torch.no_grad()
    def validate(self, image: Tensor, truth: Tensor) -> dict[str, float]:
        """Dice of free roll-outs from the true prompt mask, and of copying that mask to every slice."""
        self.network.eval()
        logits = self._roll_out(image, truth, truth[:, 0], teacher=0.0, write_every=2, anchor=False)
        self.network.train()
        figures = self._figures(logits, truth)
        return {"dice": figures["dice"], "copy": figures["copy"], "last": figures["last"]}

    def _roll_out(
        self, image: Tensor, truth: Tensor, first: Tensor, teacher: float, write_every: int, anchor: bool
    ) -> list[Tensor]:
        """Logits (B, 1, H, W) of slices 1 .. S-1."""
        network, (batch, slices) = self.network, image.shape[:2]
        queries = _by_slice(network.query(image.flatten(0, 1)), batch)
        written = Written()
        written.write(queries[0], network.value(image[:, 0], first[:, None], queries[0].f16))
        if anchor and slices > 2:
            written.write(queries[-1], network.value(image[:, -1], truth[:, -1:], queries[-1].f16))
        sensory = torch.zeros(batch, network.config.sensory_dim, *queries[0].key.shape[2:])
        mask, logits = first[:, None], []
        for t in range(1, slices):
            readout, _ = network.read(written.memory, queries[t])
            here, beside = image[:, t].numpy(), image[:, t - 1].numpy()
            hints = by_colour(here, beside, mask[:, 0].numpy(), hints=mask_hints)
            logit, sensory = network.carry(
                image[:, t], mask, image[:, t - 1], torch.from_numpy(hints), readout, sensory
            )
            logits.append(logit)
            own = logit.detach().sigmoid()  # (B, 1, H, W)
            taught = torch.from_numpy(self.rng.random((batch, 1, 1, 1)) < teacher)
            mask = torch.where(taught, truth[:, t : t + 1], own)
            if t % write_every == 0 and t < slices - 1:
                written.write(queries[t], network.value(image[:, t], mask, queries[t].f16))
        return logits

    def _first_masks(self, image: Tensor, truth: Tensor) -> Tensor:
        """The prompt masks a sweep starts from: true, perturbed or predicted from one click; (B, H, W)."""
        masks = truth.clone()
        kinds = self.rng.random(len(truth))
        predicted = kinds < self.config.predicted
        if self.clicker is not None and predicted.any():
            chosen = torch.from_numpy(predicted)
            slices = ClickedSlices(image[chosen], truth[chosen], ClicksConfig(refine=0), self.rng)
            for _ in range(2):
                slices.click()
                slices.advance(self.clicker)
            masks[chosen] = slices.previous[:, 0]
        for index in np.flatnonzero(~predicted & (kinds < self.config.predicted + self.config.perturbed)):
            masks[index] = torch.from_numpy(perturb(truth[index].numpy() > 0.5, self.rng).astype(np.float32))
        return masks

    @staticmethod
    def _figures(logits: list[Tensor], truth: Tensor) -> dict[str, float]:
        """Dice where the object is: ours, the copied mask's, ours on the last slice; and where it ended."""
        masks = torch.cat(logits, 1) > 0  # (B, S-1, H, W)
        real = truth > 0.5
        seen = real[:, 1:].any(-1).any(-1)  # (B, S-1)
        dice = batch_dice(masks, real[:, 1:])
        copied = batch_dice(real[:, :1].expand_as(masks), real[:, 1:])
        return {
            "dice": _mean(dice[seen]),
            "copy": _mean(copied[seen]),
            "last": _mean(dice[:, -1][seen[:, -1]]),
            "ended": _mean(dice[~seen]),
        }


def _mean(values: Tensor) -> float:
    """The mean, 1 of nothing: a slice where the object has ended is right when empty."""
    return float(values.mean()) if values.numel() else 1.0


def freeze_statistics(network: nn.Module) -> None:
    """Batch norm goes on with its running statistics; its scale and offset still learn."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _by_slice(query: Query, batch: int) -> list[Query]:
    """Queries of (B*S, ...) slices -> one Query of (B, ...) per slice of the clip."""
    parts = [tensor.view(batch, -1, *tensor.shape[1:]).unbind(1) for tensor in query]
    return [Query(*tensors) for tensors in zip(*parts, strict=True)]
