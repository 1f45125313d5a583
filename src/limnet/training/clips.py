"""Clips: short stacks of slices around one object, cut from a case as the view cuts them in use.

A clip is what all networks are trained on; the interaction network learns from one slice of it.
Letters: S slices of a clip, C channels (always 3), H = W the view's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage

from limnet.errors import ConfigError
from limnet.prompt import centre
from limnet.tone import Tone
from limnet.training.cases import TrainingCase, TrainingObject

Rng = np.random.Generator
Image = NDArray[np.float32]


ANY_ZOOM = (0.35, 12.0)  # side of the view over the object's extent, over which a first click looks
IN_THE_MIDDLE = 0.5  # share of such clicks in the object's middle, others anywhere in it


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """How clips are cut and varied. Probabilities are per clip."""

    size: int = 128  # pixels of the view
    slices: int = 1  # slices of a clip
    max_gap: int = 4  # slice spacings between two slices of a clip
    min_zoom: float = 1.15  # side of the view over the object's extent on the prompt slice
    max_zoom: float = 5.0
    overflow: float = 0.15  # share of clips whose object is larger than the view: then it fills the view
    any_zoom: float = 0.0  # share of clips around a point of the object at any zoom, as a first click looks
    synthetic: float = 0.15  # made-up intensities although the case has an image
    ended: float = 0.0  # share of clips whose last slice lies beyond the object's end
    union: float = 0.1  # the target is a union of two neighbouring labels
    colour: float = 0.1  # a grey clip is coloured
    coarse: float = 0.0  # the image has pixels much larger than the view's, as of small objects or of PET
    min_area: int = 10  # pixels of the target on the prompt slice, in the view

    def __post_init__(self) -> None:
        if self.size % 32 or self.size < 64:
            raise ConfigError(f"size must be a multiple of 32 and at least 64, got {self.size}")
        if not 1 < self.min_zoom <= self.max_zoom:
            raise ConfigError(
                f"zooms must satisfy 1 < min_zoom <= max_zoom, got {self.min_zoom}, {self.max_zoom}"
            )


class Clip(NamedTuple):
    """Slices of one object; slice 0 is the prompt slice."""

    image: Image  # (S, 3, H, W), in [0, 1]
    truth: Image  # (S, H, W), 0 or 1


def sample_clip(case: TrainingCase, config: ClipConfig, rng: Rng) -> Clip | None:
    """Cut one random clip from a case; None when the drawn object is not visible enough."""
    target = case.objects[rng.integers(len(case.objects))]
    labels = _target_labels(case, target, config, rng)
    axis = _sweep_axis(case, target, rng)
    slices = _slices(case, target, axis, config, rng)
    planes = np.moveaxis(case.labels, axis, 0)[slices]  # (S, h, w)
    member = np.isin(planes, labels)
    if not member[0].any():
        return None
    grid, box = _view(member, np.delete(case.spacing, axis), config, rng)
    inside = _resample(np.ones((1, *planes[0][box].shape), np.float32), grid)[0] > 0.5  # (H, W)
    truth = _resample(member[(slice(None), *box)].astype(np.float32), grid) > 0.5  # (S, H, W)
    if truth[0].sum() < config.min_area or not inside.any():
        return None
    image = _image(case, axis, slices, box, planes, labels, grid, config, rng)  # (S, C, H, W)
    if config.coarse > 0 and rng.random() < config.coarse:
        image = _coarse(image, rng)
    image = vary(image, rng)
    image = Tone.of(image[..., inside])(image) * inside
    return Clip(_three_channels(image, config.colour, rng), truth.astype(np.float32))


def _target_labels(case: TrainingCase, target: TrainingObject, config: ClipConfig, rng: Rng) -> list[int]:
    """The label drawn and, now and then, a neighbour's."""
    if rng.random() >= config.union:
        return [target.label]
    labels = [other.label for other in neighbours(case, target)]
    return [target.label, int(rng.choice(labels))] if labels else [target.label]


def neighbours(case: TrainingCase, target: TrainingObject) -> list[TrainingObject]:
    """The other objects of a case whose boxes meet an object's box."""
    return [
        other
        for other in case.objects
        if other.label != target.label
        and all(a.start < b.stop and b.start < a.stop for a, b in zip(other.box, target.box, strict=True))
    ]


def _sweep_axis(case: TrainingCase, target: TrainingObject, rng: Rng) -> int:
    """Thick slices are swept along their thickness; even grids along any axis."""
    spacing = np.array(case.spacing)
    thick = int(np.argmax(spacing))
    if 1 in case.labels.shape:
        return int(np.argmin(case.labels.shape))
    anisotropy = spacing.max() / spacing.min()
    if anisotropy > 1.5 and rng.random() < min(0.95, 0.6 + 0.1 * anisotropy):
        return thick
    return int(rng.integers(3))


def _slices(
    case: TrainingCase, target: TrainingObject, axis: int, config: ClipConfig, rng: Rng
) -> NDArray[np.intp]:
    """Indices of a clip's slices: a random start inside the object, steps of one gap one way.

    At the volume's end the clip turns back, so that short stacks give clips too.
    """
    count = case.labels.shape[axis]
    box = target.box[axis]
    spacing = np.array(case.spacing)
    finest = spacing[[a for a in range(3) if a != axis]].mean()
    gap_limit = config.max_gap if spacing[axis] < 2 * finest else 1
    extent = max(1, (box.stop - box.start) // 3)
    gap = int(rng.integers(1, max(2, min(gap_limit, extent) + 1)))
    direction = 1 if rng.random() < 0.5 else -1
    if rng.random() < config.ended:
        reach = min(max(1, gap * (config.slices - 1)), box.stop - box.start)
        inwards = int(rng.integers(reach))  # slices between the start and the object's last one
        start = box.stop - 1 - inwards if direction > 0 else box.start + inwards
    else:
        start = int(rng.integers(box.start, box.stop))
    indices = start + direction * gap * np.arange(config.slices)
    period = max(1, 2 * (count - 1))
    folded = np.abs(indices) % period
    return np.minimum(folded, period - folded) if count > 1 else np.zeros(config.slices, np.intp)


def _view(
    member: NDArray[np.bool_], spacing_mm: NDArray[np.float64], config: ClipConfig, rng: Rng
) -> tuple[torch.Tensor, tuple[slice, slice]]:
    """A random square window around the object of the prompt slice: sampling grid and the box it needs.

    The grid (1, H, W, 2) is in grid_sample's coordinates of that box.
    """
    rows, columns = np.nonzero(member[0])
    low = np.array([rows.min(), columns.min()])
    high = np.array([rows.max(), columns.max()]) + 1.0
    extent_mm = float(((high - low) * spacing_mm).max())
    side_mm = extent_mm * config.min_zoom * (config.max_zoom / config.min_zoom) ** rng.random()
    overflows, any_zoom = rng.random() < config.overflow, rng.random() < config.any_zoom
    if any_zoom:
        side_mm = extent_mm * ANY_ZOOM[0] * (ANY_ZOOM[1] / ANY_ZOOM[0]) ** rng.random()
    elif overflows:
        side_mm = extent_mm * rng.uniform(0.35, 1.1)
    plane_mm = float((np.array(member.shape[1:]) * spacing_mm).max())
    side_mm = max(min(side_mm, 1.25 * plane_mm), 12 * float(spacing_mm.min()))
    slack_mm = max(0.0, side_mm - extent_mm) / 2
    centre_mm = (low + high - 1) / 2 * spacing_mm + rng.uniform(-0.7, 0.7, 2) * slack_mm
    if overflows or any_zoom:
        pick = int(rng.integers(len(rows)))
        in_the_middle = any_zoom and rng.random() < IN_THE_MIDDLE
        place = centre(member[0]) if in_the_middle else (rows[pick], columns[pick])
        centre_mm = np.array(place) * spacing_mm
    steps = np.linspace(-0.5, 0.5, config.size) * side_mm
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"))  # (2, H, W) mm
    points = np.tensordot(_turn(rng), offsets, 1) + _warp(config.size, side_mm, rng)
    voxels = (points + centre_mm[:, None, None]) / spacing_mm[:, None, None]  # (2, H, W)
    first = np.clip(np.floor(voxels.min((1, 2))).astype(int) - 1, 0, None)
    last = np.minimum(np.ceil(voxels.max((1, 2))).astype(int) + 2, member.shape[1:])
    lengths = np.maximum(last - first, 1)[:, None, None]
    unit = (2 * (voxels - first[:, None, None]) + 1) / lengths - 1
    grid = torch.from_numpy(np.stack([unit[1], unit[0]], -1).astype(np.float32))[None]  # (1, H, W, 2)
    return grid, (slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1])))


def _turn(rng: Rng) -> NDArray[np.float64]:
    """A rotation by any multiple of 90 degrees and a little more, a flip, a slight stretch: (2, 2)."""
    angle = np.pi / 2 * rng.integers(4) + (rng.normal(0, 0.25) if rng.random() < 0.7 else 0.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ np.diag(np.exp(rng.normal(0, 0.08, 2)) * rng.choice([-1, 1], 2))


def _warp(size: int, side_mm: float, rng: Rng) -> NDArray[np.float64]:
    """A smooth displacement of up to a few percent of the side, on half of the clips: (2, H, W) mm."""
    if rng.random() < 0.5:
        return np.zeros((2, size, size))
    knots = int(rng.integers(3, 7))
    field = torch.from_numpy(rng.normal(0, 1, (1, 2, knots, knots)))
    smooth = F.interpolate(field, size=(size, size), mode="bicubic", align_corners=True)[0]
    return smooth.numpy() * side_mm * rng.uniform(0, 0.025)


def _resample(planes: Image, grid: torch.Tensor) -> Image:
    """(N, h, w) through one grid -> (N, H, W), bilinear, zero outside.

    Where the view is coarser than the slice, the slice is averaged first.
    """
    span = (grid[0, -1, -1] - grid[0, 0, 0]).abs().max() / 2 * max(planes.shape[-2:])
    factor = int(span / grid.shape[1])
    if factor >= 2:
        planes = ndimage.uniform_filter(planes, size=(0, factor, factor))
    sampled = F.grid_sample(torch.from_numpy(planes)[None], grid, padding_mode="zeros", align_corners=False)
    return sampled[0].numpy()


def _image(
    case: TrainingCase,
    axis: int,
    slices: NDArray[np.intp],
    box: tuple[slice, slice],
    planes: NDArray[np.uint8],
    targets: list[int],
    grid: torch.Tensor,
    config: ClipConfig,
    rng: Rng,
) -> Image:
    """The clip's intensities: the case's own, or made up from its labels -> (S, C, H, W)."""
    if case.image is None or rng.random() < config.synthetic:
        means, textures = made_up_intensities(targets, rng)
        cut = planes[(slice(None), *box)]
        flat = _resample(means[cut], grid)
        rough = _resample(textures[cut], grid)
        return (flat + rough * texture(flat.shape, rng))[:, None]
    pixels = np.moveaxis(case.image, axis, 0)[slices][(slice(None), *box)].astype(
        np.float32
    )  # (S, h, w[, 3])
    if pixels.ndim == 3:
        return _resample(pixels, grid)[:, None]
    channels = [_resample(pixels[..., channel], grid) for channel in range(3)]
    return np.stack(channels, axis=1)


def made_up_intensities(targets: list[int], rng: Rng) -> tuple[Image, Image]:
    """Mean and texture strength of each of 256 labels; the target differs a little from all others.

    In a third of the clips its contrast is low.
    """
    means = rng.uniform(0, 1, 256).astype(np.float32)
    means[0] = rng.choice([0.0, rng.uniform(0, 1)])
    if rng.random() < 0.4:  # few grey levels: many labels look alike
        means = (np.round(means * rng.integers(2, 6)) / 5 + rng.normal(0, 0.02, 256)).astype(np.float32)
    textures = (rng.uniform(0, 0.25) * rng.uniform(0, 1, 256)).astype(np.float32)
    level = rng.uniform(0, 1)
    margin = rng.uniform(0.05, 0.12) if rng.random() < 0.33 else rng.uniform(0.1, 0.3)
    close = np.abs(means - level) < margin
    means[close] = level + np.sign(means[close] - level) * margin
    means[targets] = level
    return means, textures


def made_up_image(labels: NDArray[np.uint8], target: int, rng: Rng) -> Image:
    """Made-up intensities for a whole label map: (I, J, K) -> (I, J, K)."""
    means, textures = made_up_intensities([target], rng)
    return means[labels] + textures[labels] * texture(labels.shape, rng)


def texture(shape: tuple[int, ...], rng: Rng) -> Image:
    """Noise at a random mixture of scales, about unit spread: (S, H, W)."""
    total = np.zeros(shape, np.float32)
    for step in (1, 2, 4, 8, 16):
        weight = rng.uniform(0, 1) ** 2
        if weight < 0.1:
            continue
        coarse = rng.standard_normal((1, *(max(2, -(-n // step)) for n in shape)), np.float32)
        size = list(shape)
        field = F.interpolate(
            torch.from_numpy(coarse)[None], size=size, mode="nearest" if step == 1 else "trilinear"
        )
        total += weight * field[0, 0].numpy()
    return total / max(1e-3, float(total.std()))


def vary(image: Image, rng: Rng) -> Image:
    """Scanner and display: contrast curve, bias field, blur, ringing, noise, saturation; (S, C, H, W)."""
    low, high = float(image.min()), float(image.max())
    image = (image - low) / max(high - low, 1e-6)
    if rng.random() < 0.5:
        image = image ** np.float32(np.exp(rng.normal(0, 0.35)))
    if rng.random() < 0.1:
        image = 1 - image
    if rng.random() < 0.3:
        image = image * _smooth_field(image.shape, rng)
    if rng.random() < 0.3:
        image = ndimage.gaussian_filter(image, (0, 0, *(rng.uniform(0.3, 1.5, 2))))
    if rng.random() < 0.1:  # ringing: a sharpened edge overshoots
        image = image + rng.uniform(0.5, 2) * (image - ndimage.gaussian_filter(image, (0, 0, 2, 2)))
    if rng.random() < 0.3:
        strength = np.float32(rng.uniform(0, 0.08))
        noise = rng.standard_normal(image.shape, np.float32) * strength
        image = image * (1 + 2 * noise) if rng.random() < 0.25 else image + noise  # speckle or additive
    if rng.random() < 0.3:  # a display window that saturates
        image = np.clip(
            image, *np.quantile(image[::2, :, ::4, ::4], (rng.uniform(0, 0.15), rng.uniform(0.85, 1)))
        )
    return image.astype(np.float32)


def _coarse(image: Image, rng: Rng) -> Image:
    """As if its pixels were two to ten of the view's long, in one direction or both; (S, C, H, W)."""
    size, kind = image.shape[-1], int(rng.integers(4))
    few = round(size / (2 * 5 ** rng.random()))
    height, width = {0: (few, size), 1: (size, few)}.get(kind, (few, few))
    pixels = F.interpolate(torch.from_numpy(image), size=(height, width), mode="area")
    return F.interpolate(pixels, size=(size, size), mode="bilinear").numpy()


def _smooth_field(shape: tuple[int, ...], rng: Rng) -> Image:
    """A multiplicative bias field around 1, the same for all channels and slices: (1, 1, H, W)."""
    coarse = torch.from_numpy(rng.normal(0, rng.uniform(0.1, 0.5), (1, 1, 3, 3)).astype(np.float32))
    return F.interpolate(coarse, size=list(shape[-2:]), mode="bicubic", align_corners=True).exp().numpy()


def _three_channels(image: Image, colour: float, rng: Rng) -> Image:
    """Grey repeated, or turned into colour by a random curve per channel: (S, C, H, W) -> (S, 3, H, W)."""
    if image.shape[1] == 3:
        return image
    if rng.random() >= colour:
        return np.repeat(image, 3, axis=1)
    gains, offsets = rng.uniform(0.3, 1.2, 3), rng.uniform(-0.1, 0.3, 3)
    powers = np.exp(rng.normal(0, 0.4, 3))
    signs = rng.random(3) < 0.15
    channels = [
        np.clip(o + g * (1 - image[:, 0] if s else image[:, 0]) ** p, 0, 1)
        for g, o, p, s in zip(gains, offsets, powers, signs, strict=True)
    ]
    return np.stack(channels, axis=1).astype(np.float32)
