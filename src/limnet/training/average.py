"""A running mean of the weights: steadier than any single step's, and what a training keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Average:
    """The exponential mean of a network's weights and statistics over the steps of a training."""

    def __init__(self, network: nn.Module, decay: float, start: Mapping[str, Tensor] | None = None) -> None:
        """Each step moves the mean by 1 - `decay` of the way; 0 follows the network.

        `start` is a mean to go on from, else the first step is the first mean.
        """
        rule = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._mean = AveragedModel(network, multi_avg_fn=rule, use_buffers=True)
        if start is not None:
            self._mean.module.load_state_dict(start)
            self._mean.n_averaged += 1

    def add(self, network: nn.Module) -> None:
        """Count the weights of one step."""
        self._mean.update_parameters(network)

    @contextmanager
    def worn_by(self, network: nn.Module) -> Iterator[dict[str, Tensor]]:
        """Within, the network has the mean's weights; yields its own, which it gets back."""
        own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(self._mean.module.state_dict())
        try:
            yield own
        finally:
            network.load_state_dict(own)
