"""The one training loop: a wall-clock budget, resumable, validated on held-out patients."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from limnet.errors import CaseError
from limnet.networks.restore import measure_norms
from limnet.training.average import Average
from limnet.training.build import (
    Step,
    build,
    is_exported,
    load_tensors,
    network_state,
    network_tensors,
)
from limnet.training.cases import TrainingCase
from limnet.training.checkpoint import load_checkpoint, save_checkpoint
from limnet.training.device import device_of
from limnet.training.interaction import InteractionStep
from limnet.training.pair import HELD_OUT_PAIRS, PAIRS, read_pairs
from limnet.training.pairs import batch_stream
from limnet.training.recipe import Recipe
from limnet.training.stream import CaseStream, is_held_out, loader

VALIDATION_SEED = 20_000
LOG_SECONDS = 10.0
MEASURED_BATCHES = 16  # from which the batch norms of exported weights get statistics again


@dataclass(frozen=True)
class Progress:
    """Where a run stands; figures are means since the last report, or of a validation."""

    step: int
    minutes: float  # of this and earlier runs of the checkpoint
    share: float  # of the budget, in [0, 1]
    figures: dict[str, float]
    validation: bool = False


def fit(
    recipe: Recipe,
    cases: Sequence[TrainingCase],
    folder: Path,
    minutes: float,
    resume: bool = False,
    start_folder: Path = Path(),
    workers: int = 1,
    shards: int = 1,
    device: str = "cpu",
) -> Iterator[Progress]:
    """Train for `minutes` (or the recipe's `steps`); the checkpoint, a CSV and a plot are kept in `folder`.

    Yields a Progress every few seconds and after each validation. With `resume` the run goes on from
    the checkpoint in `folder`: step, optimiser and schedule continue. `shards` splits every batch over
    threads, one core each: on two cores the memory model's small operations gain half from it.
    Network, loss and optimiser are on `device`; see `training.device`.
    """
    network, steps = build(recipe, start_folder, shards)
    _tell_of_rounds(steps, recipe, folder)
    _move(network, steps, torch.device(device))
    optimiser = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    done, spent, kept = _restore(folder, network, optimiser) if resume else (0, 0.0, None)
    network.train(not recipe.frozen)  # evaluation mode only freezes batch norm: nothing is dropped out
    network.to(memory_format=_layout(network))  # type: ignore[call-overload]  # missing from its stubs
    trained = [case for case in cases if not is_held_out(case, recipe.data)]
    stream = batch_stream(recipe, trained, folder, recipe.seed + done + 1)
    if isinstance(stream, CaseStream) and device.startswith("cuda"):  # Metal lacks operators that shapes need
        stream.make_ahead(device)
    batches = iter(loader(stream, workers))
    if not (resume or recipe.frozen) and any(is_exported(source, start_folder) for source in recipe.start):
        measured = [next(batches) for _ in range(MEASURED_BATCHES)]
        measure_norms(network, lambda: [steps[0].loss(image, truth, 1.0) for image, truth in measured])
    average = Average(network, recipe.averaged, kept)
    unseen = [case for case in cases if case.objects and is_held_out(case, recipe.data)]
    held_out = _validation_batches(recipe, unseen, folder)
    log = Log(folder, append=resume)
    began = time.monotonic() - spent * 60
    budget, meter, validated = spent + minutes, Meter(), spent
    while True:
        waiting = time.monotonic()
        image, truth = next(batches)
        share = share_spent(recipe, done, (waiting - began) / 60, budget)
        rate = learning_rate(recipe, done, share)
        figures = {"data_wait": time.monotonic() - waiting, "learning_rate": rate}
        figures |= update(network, optimiser, steps, image, truth, recipe.clip_norm, rate, share)
        average.add(network)
        meter.add(figures)
        done += 1
        now = (time.monotonic() - began) / 60
        if meter.seconds > LOG_SECONDS:
            yield log.write(Progress(done, now, share, speed(meter.take(), len(image))))
        over = share_spent(recipe, done, now, budget) >= 1
        if over or now - validated >= recipe.validate_minutes:
            validated = now
            with average.worn_by(network) as live:
                yield log.write(Progress(done, now, share, _validate(steps[0], held_out), validation=True))
                _save(folder, recipe, network, optimiser, done, now, live if recipe.averaged > 0 else {})
            network.train(not recipe.frozen)
        if over:
            log.plot()
            return


def _tell_of_rounds(steps: Sequence[Step], recipe: Recipe, folder: Path) -> None:
    """Give the interaction network's steps the recorded rounds in `folder`, where the recipe wants them."""
    for step in steps:
        if isinstance(step, InteractionStep) and recipe.clicks.recorded > 0:
            step.recorded, step.held_out = (
                read_pairs(folder / name) if (folder / name).exists() else ()
                for name in (PAIRS, HELD_OUT_PAIRS)
            )
            if not step.recorded:
                raise CaseError(
                    f"{folder / PAIRS}: no such file, but clicks.recorded asks for recorded rounds"
                )


def _layout(network: nn.Module) -> torch.memory_format:
    """Channels last, in as many dimensions as a network's convolutions have."""
    in_space = any(parameter.ndim == 5 for parameter in network.parameters())
    return torch.channels_last_3d if in_space else torch.channels_last


def share_spent(recipe: Recipe, step: int, minutes: float, budget: float) -> float:
    """The share of a run that is over, in [0, 1]: of its steps if the recipe counts them, else of minutes."""
    if recipe.steps:
        return min(1.0, step / recipe.steps)
    return min(1.0, minutes / budget) if budget > 0 else 1.0


def learning_rate(recipe: Recipe, step: int, share: float) -> float:
    """Linear warm-up over the first steps, then a cosine over the budget down to 1 % of the peak."""
    cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))
    return recipe.learning_rate * cosine * min(1.0, (step + 1) / recipe.warmup_steps)


def speed(figures: dict[str, float], batch: int) -> dict[str, float]:
    """A report with samples per second and the share of time spent waiting for clips, in [0, 1]."""
    rate = figures["steps_per_second"]
    return {**figures, "samples_per_second": rate * batch, "waiting": figures["data_wait"] * rate}


class Meter:
    """Means of figures since they were last taken."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the figures were last taken."""
        return time.monotonic() - self._since

    def add(self, figures: dict[str, float]) -> None:
        """Count one step."""
        self._count += 1
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def take(self) -> dict[str, float]:
        """The means, and steps per second; starts anew."""
        means = {name: total / self._count for name, total in self._sums.items()}
        means["steps_per_second"] = self._count / self.seconds
        self.__init__()  # type: ignore[misc]  # a fresh meter
        return means


class Log:
    """Figures of a run as rows of a CSV (step, minutes, name, value), and their plot."""

    def __init__(self, folder: Path, append: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "figures.csv"
        if not (append and self.path.exists()):
            self.path.write_text("step,minutes,name,value\n")

    def write(self, progress: Progress) -> Progress:
        """Append all figures of a report, and hand it on."""
        prefix = "validation_" if progress.validation else ""
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            for name, value in progress.figures.items():
                writer.writerow((progress.step, f"{progress.minutes:.2f}", prefix + name, f"{value:.5f}"))
        return progress

    def plot(self) -> None:
        """Draw every figure over time into figures.png beside the CSV."""
        from matplotlib.figure import Figure

        series: dict[str, list[tuple[float, float]]] = {}
        with self.path.open() as file:
            for row in csv.DictReader(file):
                series.setdefault(row["name"], []).append((float(row["minutes"]), float(row["value"])))
        columns = 4
        rows = -(-len(series) // columns)
        figure = Figure(figsize=(4 * columns, 2.6 * rows), layout="constrained")
        for index, (name, points) in enumerate(series.items(), start=1):
            axes = figure.add_subplot(rows, columns, index, title=name, xlabel="minutes")
            axes.plot(*zip(*points, strict=True), linewidth=1)
        figure.savefig(self.path.with_suffix(".png"), dpi=80)


def update(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    steps: Sequence[Step],
    image: Tensor,
    truth: Tensor,
    clip_norm: float,
    rate: float,
    share: float,
) -> dict[str, float]:
    """One optimiser step on a batch, one thread per element of `steps`, gradients added in their order.

    A batch whose gradient is not finite is skipped and counted.
    """
    parameters = list(network.parameters())

    def gradients(step: Step, image: Tensor, truth: Tensor) -> tuple[float, dict[str, float], list[Tensor]]:
        loss, figures = step.loss(image, truth, share)
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        zero = (torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True))
        return float(loss.detach()), figures, list(zero)

    parts = zip(steps, image.chunk(len(steps)), truth.chunk(len(steps)), strict=True)
    with ThreadPoolExecutor(len(steps)) as pool:
        results = list(pool.map(lambda part: gradients(*part), parts))
    for parameter, *found in zip(parameters, *(result[2] for result in results), strict=True):
        parameter.grad = torch.stack(found).mean(0) if len(found) > 1 else found[0]
    for group in optimiser.param_groups:
        group["lr"] = rate
    finite = bool(torch.isfinite(nn.utils.clip_grad_norm_(parameters, clip_norm)))
    if finite:
        optimiser.step()
    figures = [{"loss": loss, **more} for loss, more, _ in results]
    means = {name: sum(one[name] for one in figures) / len(figures) for name in figures[0]}
    return {**means, "skipped": float(not finite)}


def _validation_batches(
    recipe: Recipe, cases: Sequence[TrainingCase], folder: Path
) -> list[tuple[Tensor, Tensor]]:
    """A fixed set of clips of held-out patients (random shapes where there are none)."""
    data = replace(recipe.data, shapes=0.0) if cases else replace(recipe.data, bank=8)
    data = replace(data, supervoxels=0.0)
    fixed = replace(recipe, data=data, batch=min(16, recipe.validation_clips))
    stream = iter(batch_stream(fixed, cases, folder, VALIDATION_SEED))
    return [next(stream) for _ in range(-(-recipe.validation_clips // fixed.batch))]


def _validate(step: Step, batches: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Means over the validation batches."""
    meter = Meter()
    for number, (image, truth) in enumerate(batches):
        meter.add(step.validate(image, truth, number))
    figures = meter.take()
    del figures["steps_per_second"]
    return figures


def _move(network: nn.Module, steps: Sequence[Step], device: torch.device) -> None:
    """Bring a network to a device, and the interaction network by which some steps make first masks."""
    network.to(device)
    for step in steps:
        clicker = getattr(step, "clicker", None)
        if isinstance(clicker, nn.Module):
            clicker.to(device)


def _save(
    folder: Path,
    recipe: Recipe,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
    minutes: float,
    live: Mapping[str, Tensor] = MappingProxyType({}),
) -> None:
    """Keep the network; and where its weights are a mean, those that training goes on from: `live`."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"live.{name}": tensor for name, tensor in live.items()}
    for name, parameter in network.named_parameters():
        for key, tensor in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{key}.{name}"] = tensor
    state: dict[str, Any] = {**network_state(recipe), "step": step, "minutes": minutes}
    save_checkpoint(folder, tensors, state)


def _restore(
    folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[int, float, dict[str, Tensor]]:
    """Load network and optimiser; the step and the minutes spent so far, and the weights that were kept."""
    tensors, state = load_checkpoint(folder)
    kept = network_tensors(tensors)
    live = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("live.")}
    load_tensors(network, live or kept, folder)
    device = device_of(network)
    for name, parameter in network.named_parameters():
        found = {key: tensors.get(f"optimiser.{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
        optimiser.state[parameter] = {  # AdamW counts its steps on the processor
            key: tensor if key == "step" else tensor.to(device)
            for key, tensor in found.items()
            if tensor is not None
        }
    return int(state["step"]), float(state["minutes"]), kept
