"""CE, OHEM, focal, Dice, Lovász, boundary; weighted sum; class weights."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from segdeploy.arrays import IGNORE_INDEX

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes logits (N, K, H, W) float32 and masks (N, H, W) uint8, and gives one number that is 0 where
nothing is labeled."""

HARD = 0.7
"""A pixel is hard while its true class has a smaller probability than this."""

KEPT = 16
"""One of so many pixels counts in `ohem` even where all are easy."""

LANES = 128
"""Numbers among which a sum for each class is divided while it grows."""

FOCUS = 2.0
"""Exponent gamma of the focal loss, the best of its paper's table 1b."""


def cross_entropy(logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy of the labeled pixels, each as heavy as its class.

    `weights` is (K,), None for all alike.
    """
    return weighted_mean(surprise(logits, masks), masks, weights)


def ohem(logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy of the hard pixels.

    Those below a probability of 0.7, and at least a 16th of the batch's pixels.

    Online hard example mining of pixels, as PIDNet (Xu et al., CVPR 2023, section 4.2) and BiSeNet
    train with. What a class weighs changes how heavy a pixel is, not whether it is hard.
    """
    losses = surprise(logits, masks)
    # The labeled ones come first by any threshold, since the others are given less than the
    # smallest loss.
    ranked = losses.detach().masked_fill(masks == IGNORE_INDEX, -1.0).flatten()
    # The number is taken from all pixels, not from the labeled ones: it is known without waiting
    # for the device.
    least = ranked.topk(max(1, ranked.numel() // KEPT), sorted=False).values.min()
    threshold = least.clamp(min=0.0, max=-torch.tensor(HARD).log().item())
    easy = ranked.view_as(masks) < threshold
    return weighted_mean(losses, masks.masked_fill(easy, IGNORE_INDEX), weights)


def one_of_several(
    logits: Tensor, masks: Tensor, unions: Sequence[Sequence[int]], opinion: Tensor | None = None
) -> Tensor:
    """Return the mean cross entropy of pixels of which it is known that they are of one of several classes: -log of the sum of their chances.

    That leaves open which of them a pixel is, and what is left open drifts. A teacher decides it:
    the cross entropy between its chances and those that the network gives each class within the
    union is added. A teacher that finds the whole union unlikely says little.

    Args:
        logits: (N, K, H, W) float32.
        masks: (N, H, W) uint8; K + the place of a union, all else does not count.
        unions: Indices of the classes of each.
        opinion: The teacher's logits, (N, K, H, W) float32; None for no teacher.
    """
    table = torch.zeros(len(unions), logits.shape[1], dtype=torch.bool)
    for row, members in zip(table, unions, strict=True):
        row[list(members)] = True
    coarse = masks.long() - logits.shape[1]
    known = (coarse >= 0) & (coarse < len(unions))
    allowed = table.to(logits.device)[coarse.masked_fill(~known, 0)].permute(0, 3, 1, 2)
    several = logits.masked_fill(~allowed, -torch.inf).logsumexp(1)
    losses = logits.logsumexp(1) - several
    if opinion is not None:
        losses = losses + (opinion.softmax(1) * allowed * (several.unsqueeze(1) - logits)).sum(1)
    return (losses * known).sum() / known.sum().clamp(min=1)


def focal(logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean of (1 - p)^2 times the cross entropy, p being the probability of the true class (Lin et al., ICCV 2017, equation 4).

    `weights` are the paper's alpha. The mean is taken over all labeled pixels.
    """
    losses = surprise(logits, masks)
    # 1 - exp(-loss) loses all digits for sure pixels, and its power's gradient with them; expm1
    # does not.
    return weighted_mean((-torch.expm1(-losses)).clamp(min=0) ** FOCUS * losses, masks, weights)


def dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Return 1 minus the Dice coefficient of probabilities and truth, as the mean over the classes that occur in the batch.

    Each class weighs the same however few pixels it has, as in mIoU (Milletari et al., V-Net, 3DV
    2016, section 3).
    """
    chances = in_rows(logits).softmax(1)
    labelled = (masks != IGNORE_INDEX).flatten()
    truth = masks.long().flatten().masked_fill(~labelled, 0)
    # A row of the table for each pixel: what would be a plane of truth for each class is a choice
    # of one number a row.
    right = chances.gather(1, truth.unsqueeze(1)).squeeze(1) * labelled
    # Added up one by one, in double precision: single would stop counting at 16 million pixels. In
    # many lanes, since the threads of a CUDA device would queue up for the one number of the
    # commonest class.
    none = torch.zeros(logits.shape[1] * LANES, dtype=torch.float64, device=chances.device)
    places = truth * LANES + torch.arange(len(truth), device=truth.device) % LANES
    both = none.index_add(0, places, right.double()).view(-1, LANES).sum(1)
    pixels = none.index_add(0, places, labelled.double()).view(-1, LANES).sum(1)
    either = labelled.to(chances.dtype) @ chances + pixels
    occurs = pixels > 0
    missed = torch.where(occurs, 1 - 2 * both / either.clamp(min=1e-6), 0.0)
    return (missed.sum() / occurs.sum().clamp(min=1)).float()


def in_rows(logits: Tensor) -> Tensor:
    """Return a table with a row for each pixel, (N * H * W, K), which for channels-last logits is a view."""
    return logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])


def surprise(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the cross entropy of each pixel, (N, H, W); 0 where it is not labeled."""
    # The form for images is not deterministic on CUDA.
    return functional.cross_entropy(
        in_rows(logits), masks.long().flatten(), ignore_index=IGNORE_INDEX, reduction="none"
    ).view_as(masks)


def weighted_mean(losses: Tensor, masks: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of the labeled pixels' losses, each as heavy as its class."""
    labelled = masks != IGNORE_INDEX
    if weights is None:
        return (losses * labelled).sum() / labelled.sum().clamp(min=1)
    heavy = weights[masks.long().masked_fill(~labelled, 0)] * labelled
    return (losses * heavy).sum() / heavy.sum().clamp(min=1e-6)


REACH = 2
"""How far from another class a pixel still belongs to the boundary, in pixels: the authors' code
widens their edges to four."""

WEIGHT = 20.0
"""What the loss weighs beside that of the main answer, as the paper has it."""

SURE = 0.8
"""A head is sure of what it gives a larger probability of being near another class: t in section
3.4."""


def boundary(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the binary cross entropy of logits (N, 1, H, W) of being near another class.

    Both kinds of pixels weigh the same in sum.

    Boundaries are few: each of their pixels weighs as much as there are others, and the other way
    round.
    """
    labelled = masks != IGNORE_INDEX
    truth = near_another(masks)
    pixels = labelled.sum().clamp(min=1)
    share = (truth & labelled).sum() / pixels
    weights = torch.where(truth, 1 - share, share) * labelled
    return (
        functional.binary_cross_entropy_with_logits(
            logits[:, 0].float(), truth.float(), weight=weights, reduction="sum"
        )
        / pixels
    )


def where_sure(logits: Tensor, masks: Tensor) -> Tensor:
    """Return masks (N, H, W) of which only those pixels are labeled that logits (N, 1, H, W) are sure to be near another class.

    The cross entropy of the main answer on them is PIDNet's fourth loss, which lets detail and
    context agree where they are joined.
    """
    return masks.masked_fill(logits[:, 0].sigmoid() <= SURE, IGNORE_INDEX)


def near_another(masks: Tensor) -> Tensor:
    """Report of each pixel of masks (N, H, W) whether another class than its own lies within reach; what is not labeled is none."""
    labels = masks.float()[:, None]
    # The largest and the smallest label around; what is not labeled is neither.
    unlabelled = labels == IGNORE_INDEX
    side = 2 * REACH + 1
    largest = functional.max_pool2d(labels.masked_fill(unlabelled, -1), side, 1, REACH)
    smallest = -functional.max_pool2d(
        (-labels).masked_fill(unlabelled, -IGNORE_INDEX), side, 1, REACH
    )
    return ((largest > smallest) & ~unlabelled)[:, 0]


def lovasz(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the Lovász extension of the Jaccard loss of the probabilities, as the mean over the classes that occur in the batch.

    Berman et al., The Lovász-Softmax loss, CVPR 2018, section 3 and algorithm 1.

    Args:
        logits: (N, K, H, W) float32.
        masks: (N, H, W) uint8; 255 never counts.
    """
    labelled = (masks != IGNORE_INDEX).flatten()
    chance = logits.softmax(1).transpose(0, 1).flatten(1)
    truth = masks.flatten()
    # Class by class: all at once would need the memory of K sorted copies with their 64-bit places.
    losses = torch.stack(
        [_of_class(chance[number], truth == number, labelled) for number in range(len(chance))]
    )
    occurs = torch.stack([(truth == number).any() for number in range(len(chance))])
    return (losses * occurs).sum() / occurs.sum().clamp(min=1)


def _of_class(chance: Tensor, truth: Tensor, labelled: Tensor) -> Tensor:
    """Return the loss of one class; all (P,)."""
    # Where nothing is labeled the error is 0, so that it comes last and weighs nothing: no pixel
    # need be left out, and no size change.
    errors, order = ((truth.float() - chance).abs() * labelled).sort(descending=True)
    return torch.dot(errors, jaccard_steps(truth[order], labelled[order]))


def jaccard_steps(truth: Tensor, labelled: Tensor) -> Tensor:
    """Return how much the Jaccard loss grows with each pixel that is wrong, from the worst on.

    Args:
        truth: Which pixels are of the class, (P,) bool, by falling error.
        labeled: Which pixels count, (P,) bool.
    """
    hits = truth.cumsum(0)
    left = truth.sum() - hits
    either = truth.sum() + (labelled & ~truth).cumsum(0)
    # In double precision: neighbors differ by less than single precision tells apart in a batch of
    # millions of pixels.
    loss = 1 - left.double() / either.clamp(min=1).double()
    return torch.diff(loss, prepend=loss.new_zeros(1)).float()
