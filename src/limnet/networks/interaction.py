"""Stage 1: one slice and its prompts -> prompt-mask logits (paper: 2D Interaction Module)."""

from __future__ import annotations

from torch import Tensor, nn

from limnet.networks.backbone import Backbone
from limnet.networks.decoder import Decoder, normalise, stack

IMAGE_CHANNELS = 3
HINT_CHANNELS = 3  # likeness in intensity, geodesic nearness to positive, to negative hints
REFERENCE_CHANNELS = 3  # likeness to the object on another prompted slice; that slice in grey, its mask
HINTS = slice(IMAGE_CHANNELS + 1 + 2, IMAGE_CHANNELS + 1 + 2 + HINT_CHANNELS)  # where they enter
INTERACTION_CHANNELS = IMAGE_CHANNELS + 1 + 2 + HINT_CHANNELS + REFERENCE_CHANNELS


class InteractionNetwork(nn.Module):
    """Lite0 over slice, previous mask, click maps, hints and reference, together from the first layer."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = width  # of the backbone, as a share of Lite0's
        self.backbone = Backbone(INTERACTION_CHANNELS, width=width)
        self.decoder = Decoder(INTERACTION_CHANNELS, width)

    def forward(
        self, image: Tensor, previous: Tensor, clicks: Tensor, hints: Tensor, reference: Tensor
    ) -> Tensor:
        """Image (B, 3, H, W), maps (B, 1 | 2 | 3 | 3, H, W), all in [0, 1] -> logits (B, 1, H, W)."""
        x = stack(normalise(image), previous, clicks, hints, reference)  # (B, 12, H, W)
        logits: Tensor = self.decoder(self.backbone(x), x)
        return logits
