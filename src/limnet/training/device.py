"""Where training computes: the processor or a graphics card.

Clips are cut and hints computed on the processor, by numpy, beside the training; what a network sees, its
loss and its optimiser are on the device. Arithmetic is float32; on NVIDIA cards convolutions use TF32, which
is PyTorch's default. Half precision is left out: the memory's similarity is a difference of large numbers.
The overview network has no memory: it may learn in bfloat16, where a recipe says so.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limnet.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device called cpu, cuda, cuda:N, mps or auto (the best one); ConfigError when it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdecimal()):
        raise ConfigError(f"--device {name}: expected auto, cpu, cuda, cuda:N or mps")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(number or 0) >= there:
        raise ConfigError(
            f"--device {name}: the installed PyTorch finds {there} of that kind; use --device cpu"
        )
    return torch.device(name)


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are; the processor for one without any."""
    parameter = next(network.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def moved(tensors: tuple[Tensor, ...], network: nn.Module) -> tuple[Tensor, ...]:
    """Tensors where a network computes."""
    device = device_of(network)
    return tuple(tensor.to(device) for tensor in tensors)
