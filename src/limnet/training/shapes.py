"""Random-shape volumes: label maps of made-up anatomy, in torch on any device (design: source 1).

A body with smoothly partitioned tissue, in it organs (blobs), branching tubes, shells and sheets, and
lesions inside organs. Intensities come later, fresh for every clip. After SynthMorph, AnyStar
(arXiv:2307.07044) and SynthFM (arXiv:2504.08177).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from limnet.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ShapeConfig:
    """What a random-shape volume holds."""

    size: int = 112  # voxels along rows and columns
    depth: int = 64  # voxels along the slowest axis
    min_tissues: int = 3  # background partitions
    max_tissues: int = 8
    min_objects: int = 4
    max_objects: int = 10

    def __post_init__(self) -> None:
        if self.min_tissues > self.max_tissues or self.min_objects > self.max_objects:
            raise ConfigError("min_tissues and min_objects must not exceed their max_ counterparts")


class ShapeFactory:
    """Makes label maps one after another from one random generator."""

    def __init__(self, config: ShapeConfig, seed: int, device: str = "cpu") -> None:
        self.config = config
        self.generator = torch.Generator(device).manual_seed(seed)
        self.device = device

    def labels(self) -> Tensor:
        """A label map (depth, size, size) uint8: 0 outside the body, tissues first, then objects."""
        points = self._warped_grid()  # (3, D, H, W) at half size
        body = self._blob(points, torch.zeros(3, device=self.device), 0.95, rough=0.15)
        num_tissues = self._integer(self.config.min_tissues, self.config.max_tissues)
        labels = 1 + self._partition(points.shape[1:], num_tissues)
        labels = self._paint(labels, body, 0) if self._chance(0.7) else labels
        organs: list[tuple[Tensor, float]] = []  # centre, radius
        for label in range(num_tissues + 1, num_tissues + 1 + self._integer(*self._object_range)):
            labels = self._paint(labels, self._object(points, organs), label)
        return labels.to(torch.uint8)

    @property
    def _object_range(self) -> tuple[int, int]:
        return self.config.min_objects, self.config.max_objects

    def _object(self, points: Tensor, organs: list[tuple[Tensor, float]]) -> Tensor:
        """A signed field (D/2, H/2, W/2), positive outside: one object of a random kind."""
        kind = self._uniform(0, 1)
        centre = self._vector(-0.7, 0.7)
        radius = 0.06 * (0.5 / 0.06) ** self._uniform(0, 1)  # log-uniform in [0.06, 0.5]
        if kind < 0.45:
            organs.append((centre, radius))
            return self._blob(points, centre, radius, rough=self._uniform(0, 0.5))
        if kind < 0.65:
            return self._tube(points, centre)
        if kind < 0.8:
            wall = self._uniform(0.1, 0.35)
            return (self._blob(points, centre, max(radius, 0.15), rough=0.2).abs() - wall).abs() - wall
        if organs:  # a lesion in an organ
            organ, extent = organs[self._integer(0, len(organs) - 1)]
            inside = organ + self._vector(-0.6, 0.6) * extent
            return self._blob(points, inside, extent * self._uniform(0.2, 0.6), rough=self._uniform(0, 0.6))
        return self._blob(points, centre, radius * 0.5, rough=0.4)

    def _blob(self, points: Tensor, centre: Tensor, radius: float, rough: float) -> Tensor:
        """Relative distance minus one to a turned ellipsoid with a rough surface."""
        stretch = torch.exp(self._normal(3) * 0.35)
        turn, _ = torch.linalg.qr(self._normal(3, 3))
        local = turn @ (points - centre.view(3, 1, 1, 1)).flatten(1) / (radius * stretch.view(3, 1))
        distance: Tensor = local.norm(dim=0).view(points.shape[1:])
        return distance - 1 + rough * self._noise(points.shape[1:], self._integer(4, 9))

    def _tube(self, points: Tensor, centre: Tensor) -> Tensor:
        """Distance minus radius to one to three smooth curves that start at one place."""
        radius = self._uniform(0.03, 0.12)
        curves = []
        for _ in range(self._integer(1, 3)):
            heading = F.normalize(self._normal(3), dim=0)
            bends = F.interpolate(self._normal(1, 3, 5), size=24, mode="linear", align_corners=True)[0]
            steps = heading.view(3, 1) + 0.6 * bends  # (3, 24)
            curves.append(centre.view(3, 1) + 0.07 * steps.cumsum(1))
        nodes = torch.cat(curves, 1).T.contiguous()  # (24 n, 3)
        coarse = F.avg_pool3d(points[None], 2)[0]  # (3, D/4, H/4, W/4)
        distance = torch.cdist(coarse.flatten(1).T, nodes).amin(1).view(1, 1, *coarse.shape[1:])
        size = list(points.shape[1:])
        return F.interpolate(distance, size=size, mode="trilinear")[0, 0] / radius - 1

    def _paint(self, labels: Tensor, field: Tensor, label: int) -> Tensor:
        """Set `label` where the field, brought to full size, is negative (label 0: where positive)."""
        if field.shape != labels.shape:
            field = F.interpolate(field[None, None], size=list(labels.shape), mode="trilinear")[0, 0]
        return torch.where(field > 0 if label == 0 else field < 0, label, labels)

    def _partition(self, half: torch.Size, parts: int) -> Tensor:
        """Smooth random tissues, (D, H, W) in 0 .. parts-1."""
        fields = torch.stack([self._noise(half, self._integer(2, 7)) for _ in range(parts)])
        size = (self.config.depth, self.config.size, self.config.size)
        return F.interpolate(fields[None], size=size, mode="trilinear")[0].argmax(0)

    def _warped_grid(self) -> Tensor:
        """Positions in [-1, 1] of the half-size grid, smoothly displaced: (3, D/2, H/2, W/2)."""
        depth, size = self.config.depth // 2, self.config.size // 2
        thickness = self._uniform(0.4, 1.2)  # extent of the stack against the in-plane extent
        axes = [
            torch.linspace(-s, s, n, device=self.device)
            for s, n in ((thickness, depth), (1, size), (1, size))
        ]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        return grid + 0.12 * torch.stack([self._noise(grid.shape[1:], 4) for _ in range(3)])

    def _noise(self, size: torch.Size, knots: int) -> Tensor:
        """Smooth noise of about unit spread with `knots` knots along the longest axis."""
        counts = [max(2, round(knots * n / max(size))) + 1 for n in size]
        return F.interpolate(
            self._normal(1, 1, *counts), size=list(size), mode="trilinear", align_corners=True
        )[0, 0]

    def _normal(self, *size: int) -> Tensor:
        return torch.randn(*size, generator=self.generator, device=self.device)

    def _vector(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(3, generator=self.generator, device=self.device)

    def _uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=self.generator, device=self.device))

    def _integer(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=self.generator, device=self.device))

    def _chance(self, probability: float) -> bool:
        return self._uniform(0, 1) < probability
