"""Networks of the same task, with random weights: what they cost does not depend on what they learned.

nnInteractive: its residual encoder U-Net (large) on one patch of 192 x 192 x 192, image and seven maps of
prompts and previous mask. XMem: ResNet-50 to stride 16 as query encoder, the memory read over five slices,
its decoder, on one slice of 256 x 256. Random walker: the classical baseline of `limnet evaluate`, one click.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from limnet.evaluation.peak_memory import peak_memory_mib
from parts import SMALL, Facts

PATCH = 192
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2))  # of ResNet-50 to stride 16: width, blocks, stride


def nninteractive(threads: int, repeats: int) -> Facts:
    """One patch through nnInteractive's U-Net."""
    import torch
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    torch.set_num_threads(threads)
    network = ResidualEncoderUNet(
        input_channels=8,
        n_stages=6,
        features_per_stage=(32, 64, 128, 256, 320, 320),
        conv_op=torch.nn.Conv3d,
        kernel_sizes=3,
        strides=(1, 2, 2, 2, 2, 2),
        n_blocks_per_stage=(1, 3, 4, 6, 6, 6),
        num_classes=2,
        n_conv_per_stage_decoder=(1,) * 5,
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    ).eval()
    patch = torch.rand(1, 8, PATCH, PATCH, PATCH)
    with torch.inference_mode():
        return _timed(lambda: network(patch), repeats, warm_up=repeats > 1)


def xmem(threads: int, repeats: int) -> Facts:
    """One slice through a network of XMem's size."""
    import torch

    torch.set_num_threads(threads)
    network, memory = _xmem(torch)
    image = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        return _timed(lambda: network(image, memory), repeats)


def random_walker(threads: int, repeats: int) -> Facts:
    """One click of the classical baseline in 256 x 256 x 130 voxels."""
    from limnet.evaluation.methods.classical import METHODS
    from limnet.evaluation.methods.seeded import SeededSession

    volume = SMALL.volume()

    def one_click() -> None:
        session = SeededSession(volume, METHODS["random-walker"])
        session.click(SMALL.place(0.5), positive=True)
        session.propagate()

    return _timed(one_click, repeats)


def _timed(work: Callable[[], object], repeats: int, *, warm_up: bool = True) -> Facts:
    seconds = []
    for _ in range(repeats + warm_up):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return {"seconds": median(seconds[warm_up:]), "num_runs": repeats, "peak_mib": peak_memory_mib()}


def _xmem(torch: Any) -> tuple[Any, Any]:
    """The network, and a memory of five slices: keys (64, N) and values (512, N)."""
    nn, functional = torch.nn, torch.nn.functional

    def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> Any:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs))

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                convolution(inputs, width, 1), nn.ReLU(), convolution(width, width, 3, stride), nn.ReLU(),
                convolution(width, 4 * width, 1),
            )  # fmt: skip
            changes = stride != 1 or inputs != 4 * width
            self.shortcut = convolution(inputs, 4 * width, 1, stride) if changes else nn.Identity()

        def forward(self, x: Any) -> Any:
            return functional.relu(self.body(x) + self.shortcut(x))

    class Residual(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.ReLU(), nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, padding=1),
            )  # fmt: skip
            self.shortcut = nn.Conv2d(inputs, outputs, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return self.body(x) + self.shortcut(x)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
            stages, inputs = [], 64
            for width, blocks, stride in STAGES:
                layers = [Bottleneck(inputs, width, stride)]
                layers += [Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)]
                stages.append(nn.Sequential(*layers))
                inputs = 4 * width
            self.stages = nn.ModuleList(stages)
            self.key, self.selection = (nn.Conv2d(1024, 64, 3, padding=1) for _ in range(2))
            self.fuse = Residual(1024 + 512, 512)
            self.skips = nn.ModuleList([nn.Conv2d(512, 512, 3, padding=1), nn.Conv2d(256, 256, 3, padding=1)])
            self.ups = nn.ModuleList([Residual(512, 256), Residual(256, 256)])
            self.logits = nn.Conv2d(256, 1, 3, padding=1)

        def forward(self, image: Any, memory: Any) -> Any:
            features, x = [], self.stem(image)  # (1, 64, H/4, W/4)
            for stage in self.stages:
                x = stage(x)
                features.append(x)
            f4, f8, f16 = features
            keys, values = memory  # (64, N), (512, N)
            key, selection = self.key(f16)[0].flatten(1), self.selection(f16)[0].flatten(1).sigmoid()
            cross = (key * selection).T @ keys  # (HW, N)
            scores = 2 * cross - selection.T @ keys.square()
            top, index = scores.topk(30, dim=1)
            affinity = torch.zeros_like(scores).scatter_(1, index, top.softmax(1))
            readout = (values @ affinity.T).reshape(1, 512, *f16.shape[2:])
            x = self.fuse(torch.cat([f16, readout], 1))  # (1, 512, H/16, W/16)
            for skip, up, feature in zip(self.skips, self.ups, (f8, f4), strict=True):
                larger = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
                x = up(skip(feature) + larger)
            return functional.interpolate(
                self.logits(x), scale_factor=4.0, mode="bilinear", align_corners=False
            )

    num = 5 * (256 // 16) ** 2
    memory = torch.from_numpy(np.random.default_rng(0).standard_normal((576, num)).astype(np.float32))
    return Network().eval(), (memory[:64], memory[64:])
