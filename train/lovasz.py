"""The Lovász-softmax loss, which follows the intersection over union itself."""

import torch
from torch import Tensor

from segdeploy.scores import IGNORED


def lovasz(logits: Tensor, masks: Tensor) -> Tensor:
    """Give the Lovász extension of the Jaccard loss of the probabilities, as the mean over the classes that occur in the batch.

    Berman et al., The Lovász-Softmax loss, CVPR 2018, section 3 and algorithm 1.

    Args:
        logits: (N, K, H, W) float32.
        masks: (N, H, W) uint8; 255 never counts.
    """
    labelled = (masks != IGNORED).flatten()
    chance = logits.softmax(1).transpose(0, 1).flatten(1)
    truth = masks.flatten()
    # Class by class: all at once would need the memory of K sorted copies with their 64-bit places.
    losses = torch.stack([_of_class(chance[number], truth == number, labelled) for number in range(len(chance))])
    occurs = torch.stack([(truth == number).any() for number in range(len(chance))])
    return (losses * occurs).sum() / occurs.sum().clamp(min=1)


def _of_class(chance: Tensor, truth: Tensor, labelled: Tensor) -> Tensor:
    """Give the loss of one class; all (P,)."""
    # Where nothing is labelled the error is 0, so that it comes last and weighs nothing: no pixel need be left out, and no size change.
    errors, order = ((truth.float() - chance).abs() * labelled).sort(descending=True)
    return torch.dot(errors, jaccard_steps(truth[order], labelled[order]))


def jaccard_steps(truth: Tensor, labelled: Tensor) -> Tensor:
    """Give how much the Jaccard loss grows with each pixel that is wrong, from the worst on.

    Args:
        truth: Which pixels are of the class, (P,) bool, by falling error.
        labelled: Which pixels count, (P,) bool.
    """
    hits = truth.cumsum(0)
    left = truth.sum() - hits
    either = truth.sum() + (labelled & ~truth).cumsum(0)
    # In double precision: neighbours differ by less than single precision tells apart in a batch of millions of pixels.
    loss = 1 - left.double() / either.clamp(min=1).double()
    return torch.diff(loss, prepend=loss.new_zeros(1)).float()
