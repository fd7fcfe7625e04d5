"""What a network answers with: its logits, or what follows from them, computed in the file itself."""

import torch
from torch import Tensor
from torch.nn import functional

from segdeploy.card import ModelCard
from segdeploy.models import Deployed


def with_output(network: Deployed, card: ModelCard) -> Deployed:
    """Give a network, with the same weights, that answers what the card says.

    Args:
        network: Answers logits, in evaluation mode.
        card: Its output and its input, with the mean and the deviation that the network was made with.
    """
    heads = {("classes", False): Classes, ("classes", True): SureClasses, ("probabilities", False): Probabilities}
    head = heads.get((card.output, card.confidence))
    return head(network.network, card.input.mean, card.input.std).eval() if head else network


class Classes(Deployed):
    """The class of every pixel of the network's input, for runtimes that shall not enlarge logits themselves.

    The logits are enlarged before the best class is taken, exactly as `segdeploy.pixels.to_mask` does it.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Answer (N, H, W, 3) uint8 pictures with (N, H, W) uint8 classes, the first of equally good ones."""
        return enlarged(super().forward(image), image).argmax(1).to(torch.uint8)


class SureClasses(Deployed):
    """Classes, and the probability of each, by the softmax of the enlarged logits.

    The probability is uint8, 255 for certainty: a quarter of float32's bytes, and as fine as a network knows itself.
    """

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Answer (N, H, W, 3) uint8 pictures with (N, H, W) uint8 classes and (N, H, W) uint8 confidences."""
        logits = enlarged(super().forward(image), image)
        certainty = functional.softmax(logits, dim=1).amax(1)
        return logits.argmax(1).to(torch.uint8), (certainty * 255).round().to(torch.uint8)


class Probabilities(Deployed):
    """The probability of every class in every pixel.

    They stay float32: in 8 bits, and often in 16, the best two classes near a boundary become equal, and labels change.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Answer (N, H, W, 3) uint8 pictures with (N, K, H, W) float32 probabilities, which sum to 1 over the classes."""
        return functional.softmax(enlarged(super().forward(image), image), dim=1)


def enlarged(logits: Tensor, image: Tensor) -> Tensor:
    """Bring (N, K, h, w) logits to the size of (N, H, W, 3) pictures."""
    return functional.interpolate(logits, size=(image.shape[1], image.shape[2]), mode="bilinear", align_corners=False)
