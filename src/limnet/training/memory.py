"""Training of the memory model: roll-outs over clips, first on true masks, then on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limnet.hints import by_colour, mask_hints
from limnet.networks.interaction import InteractionNetwork
from limnet.networks.memory import Memory, MemoryNetwork, Query
from limnet.training.clicking import leak, perturb
from limnet.training.device import moved
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


@dataclass(frozen=True)
class Policy:
    """How one roll-out goes; as it stands, as in use."""

    teacher: float = 0.0  # share of masks replaced by the truth before the next slice
    spoiled: float = 0.0  # share of masks spoiled before the next slice
    write_every: int = 2  # slices between two writes
    anchor: bool = False  # whether the last slice's truth is in memory from the start
    leading: int = 0  # slices without gradients before those that are learned from


class Carried(NamedTuple):
    """What a roll-out says of one slice."""

    logits: Tensor  # (B, 1, H, W)
    glimpse: Tensor  # (B, 1, h, w), logits of the mask from the memory alone


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
        """Clips (B, S, 3, H, W) with truth (B, S, H, W) -> loss, and Dice of all slices carried to.

        A random number of slices leads there without gradients, so that drift is met at little cost.
        """
        if progress >= self.config.freeze:
            freeze_statistics(self.network)
        fade = min(1.0, progress / self.config.teacher_fade)
        teacher = self.config.teacher_start + fade * (self.config.teacher_end - self.config.teacher_start)
        leading = int(self.rng.integers(max(1, truth.shape[1] - self.config.learned)))
        stop = 1 + leading + min(self.config.learned, truth.shape[1] - 1)
        image, truth = image[:, :stop], truth[:, :stop]
        first = self._first_masks(image[:, 0], truth[:, 0])
        anchor = bool(self.rng.random() < self.config.far_anchor)
        write_every = int(self.rng.integers(1, 4))
        policy = Policy(teacher, self.config.spoiled, write_every, anchor, leading)
        rollout = self._roll_out(image, truth, first, policy)
        end = len(rollout) - (1 if anchor and len(rollout) > leading + 1 else 0)  # its truth was given
        losses = []
        for t, (logits, glimpse) in enumerate(rollout[leading:end], start=1 + leading):
            wanted = truth[:, t : t + 1].to(logits.device)
            coarse = F.binary_cross_entropy_with_logits(
                glimpse, F.adaptive_avg_pool2d(wanted, glimpse.shape[-1])
            )
            losses.append(mask_loss(logits, wanted) + self.config.glimpse * coarse)
        return torch.stack(losses).mean(), self._figures(rollout, truth)

    @torch.no_grad()
    def validate(self, image: Tensor, truth: Tensor, number: int = 0) -> dict[str, float]:
        """Dice of free roll-outs from the true prompt mask, and of copying that mask to every slice."""
        del number
        self.network.eval()
        rollout = self._roll_out(image, truth, truth[:, 0], Policy())
        self.network.train()
        figures = self._figures(rollout, truth)
        return {name: figures[name] for name in ("dice", "copy", "last", "ended")}

    def _roll_out(self, image: Tensor, truth: Tensor, first: Tensor, policy: Policy) -> list[Carried]:
        """What comes of slices 1 .. S-1."""
        network, (batch, slices) = self.network, image.shape[:2]
        seen, known, mask = moved((image, truth, first[:, None]), network)
        queries = _by_slice(network.query(seen.flatten(0, 1)), batch)
        written = Written()
        written.write(queries[0], network.value(seen[:, 0], mask, queries[0].f16))
        if policy.anchor and slices > 2:
            written.write(queries[-1], network.value(seen[:, -1], known[:, -1:], queries[-1].f16))
        sensory = torch.zeros(
            batch, network.config.sensory_dim, *queries[0].key.shape[2:], device=seen.device
        )
        rollout, learning = list[Carried](), torch.is_grad_enabled()
        for t in range(1, slices):
            with torch.set_grad_enabled(learning and t > policy.leading):
                readout, _ = network.read(written.memory, queries[t])
                here, beside = image[:, t].numpy(), image[:, t - 1].numpy()
                hints = by_colour(here, beside, mask[:, 0].cpu().numpy(), hints=mask_hints)
                told = torch.from_numpy(hints).to(seen.device)
                logits, sensory = network.carry(seen[:, t], mask, seen[:, t - 1], told, readout, sensory)
                rollout.append(Carried(logits, network.glimpse(readout)))
                mask = self._next_mask(image[:, t], logits.detach().sigmoid(), known[:, t : t + 1], policy)
                if t % policy.write_every == 0 and t < slices - 1:
                    written.write(queries[t], network.value(seen[:, t], mask, queries[t].f16))
        return rollout

    def _next_mask(self, image: Tensor, own: Tensor, truth: Tensor, policy: Policy) -> Tensor:
        """What the next slice is told: this one's own mask, the truth, or a spoiled one; (B, 1, H, W)."""
        if policy.teacher == policy.spoiled == 0:  # as in use: nothing is drawn
            return own
        taught = torch.from_numpy(self.rng.random((len(own), 1, 1, 1)) < policy.teacher).to(own.device)
        mask = torch.where(taught, truth, own)
        for index in np.flatnonzero(self.rng.random(len(own)) < policy.spoiled):
            inside = mask[index, 0].cpu().numpy() > 0.5
            wrong = (
                perturb(inside, self.rng)
                if self.rng.random() < 0.5
                else leak(image[index].numpy(), inside, self.rng)
            )
            mask[index, 0] = torch.from_numpy(wrong.astype(np.float32))
        return mask

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
    def _figures(rollout: list[Carried], truth: Tensor) -> dict[str, float]:
        """Dice where the object is: ours, the copied mask's, ours on the last slice; and where it ended."""
        masks = (torch.cat([carried.logits for carried in rollout], 1) > 0).cpu()  # (B, S-1, H, W)
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
