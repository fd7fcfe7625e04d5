"""Losses: cross entropy, OHEM, focal, Dice, Lovász, coarse labels, boundaries, and their sum.

Losses of classes take `Pixels`; those of boundaries take logits and masks (N, H, W) uint8, in which
255 is not labeled. All return a scalar that is 0 where nothing is labeled.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn import functional

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.models.blocks import upsample_logits

from .recipe import read_loss_terms

Output = Tensor | Sequence[Tensor]
"""Output of a network in training mode: logits (N, K, h, w), or those of the main head and of the
auxiliary heads."""

OHEM_THRESHOLD = 0.7
"""A pixel is hard while its class has a smaller probability."""

OHEM_MIN_SHARE = 16
"""At least one pixel in 16 counts in OHEM, even where all are easy."""

FOCAL_GAMMA = 2.0
"""Exponent of the focal loss: the best in table 1b of the paper."""

SUM_LANES = 128
"""Partial sums per class in Dice: threads of a CUDA device would queue up for a single one."""

BOUNDARY_RADIUS = 2
"""Distance to another class within which a pixel belongs to the boundary, in pixels: the authors'
code dilates edges to four pixels."""

BOUNDARY_WEIGHT = 20.0
"""Weight of the boundary loss in PIDNet, beside 1 for the main head."""

BOUNDARY_THRESHOLD = 0.8
"""Probability above which a boundary head is sure: t in section 3.4 of PIDNet."""


class Pixels:
    """Predictions and labels of pixels; what several losses need is computed once.

    Attributes:
        scores: Log-probabilities, (N, K, H, W), or (P, K) on a CUDA device, float32.
        masks: Labels, (N, H, W) or (P,), uint8.
    """

    def __init__(self, logits: Tensor, masks: Tensor) -> None:
        """Compute the log-probabilities.

        Args:
            logits: (N, K, H, W) float32.
            masks: (N, H, W) uint8.
        """
        logits, self.masks = for_device(logits, masks)
        self.scores = logits.log_softmax(1)

    @cached_property
    def labeled(self) -> Tensor:
        """Which pixels are labeled, bool."""
        return self.masks != IGNORE_INDEX

    @cached_property
    def labels(self) -> Tensor:
        """Index of each pixel's class, int64; 0 where it is not labeled."""
        return self.masks.long().masked_fill(~self.labeled, 0)

    @cached_property
    def cross_entropy(self) -> Tensor:
        """Cross entropy of each pixel; 0 where it is not labeled."""
        return functional.nll_loss(
            self.scores, self.masks.long(), ignore_index=IGNORE_INDEX, reduction="none"
        )

    @cached_property
    def probabilities(self) -> Tensor:
        """Probability of each class, of the shape of `scores`."""
        return self.scores.exp()


Loss = Callable[[Pixels], Tensor]


class Objective:
    """The loss of a network's output: a weighted sum of losses, over all of its heads."""

    def __init__(
        self,
        terms: str,
        *,
        aux_weight: float,
        weights: Tensor | None = None,
        coarse_classes: Sequence[Sequence[int]] = (),
    ) -> None:
        """Choose the losses.

        Args:
            terms: Names of losses with weights, for example "ce+0.5*dice".
            aux_weight: Weight of the loss of each auxiliary head; the main head has 1.
            weights: Weights of the classes in the losses per pixel, (K,) float32; None for none.
            coarse_classes: Mask index K + i means one of the classes `coarse_classes[i]`. Such
                pixels have a loss of their own, and each counts as much as any other pixel.
        """
        known: Mapping[str, Loss] = {
            "ce": partial(cross_entropy, weights=weights),
            "ohem": partial(ohem, weights=weights),
            "focal": partial(focal, weights=weights),
            "dice": dice,
            "lovasz": lovasz,
        }
        self._terms = [(weight, known[name]) for weight, name in read_loss_terms(terms)]
        self._aux_weight = aux_weight
        self._weights = weights
        self._coarse_classes = coarse_classes

    def __call__(self, output: Output, masks: Tensor, teacher: Tensor | None = None) -> Tensor:
        """Return the loss; logits are upsampled to the masks first, as in deployment.

        Args:
            output: Output of the network.
            masks: (N, H, W) uint8.
            teacher: Logits of a teacher for the same images, which decide among the classes that a
                coarse class covers; None for no teacher.
        """
        main, *auxiliary = (
            _at_mask_size(logits, masks)
            for logits in ((output,) if isinstance(output, Tensor) else output)
        )
        teacher = None if teacher is None else _at_mask_size(teacher, masks)
        losses = [self._head_loss(main, masks, teacher)]
        for logits in auxiliary:
            if logits.shape[1] == 1 < main.shape[1]:
                losses.append(self._boundary_head_loss(logits, main, masks))
            else:
                losses.append(self._aux_weight * self._head_loss(logits, masks, teacher))
        return torch.stack(losses).sum()

    def _head_loss(self, logits: Tensor, masks: Tensor, teacher: Tensor | None) -> Tensor:
        """Return the weighted sum of the losses of one head."""
        pixels = Pixels(logits, self._without_coarse(masks, logits))
        loss = torch.stack([weight * term(pixels) for weight, term in self._terms]).sum()
        if not self._coarse_classes:
            return loss
        share = pixels.labeled.sum() / (masks != IGNORE_INDEX).sum().clamp(min=1)
        coarse = coarse_cross_entropy(logits, masks, self._coarse_classes, teacher)
        return share * loss + (1 - share) * coarse

    def _boundary_head_loss(self, boundaries: Tensor, main: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of a head of one channel, which detects boundaries (PIDNet, 3.4)."""
        fine = self._without_coarse(masks, main)
        near = cross_entropy(Pixels(main, sure_boundaries(boundaries, fine)), self._weights)
        return BOUNDARY_WEIGHT * boundary_loss(boundaries, fine) + near

    def _without_coarse(self, masks: Tensor, logits: Tensor) -> Tensor:
        """Return masks in which pixels of coarse classes are not labeled."""
        if not self._coarse_classes:
            return masks
        return masks.masked_fill(masks >= logits.shape[1], IGNORE_INDEX)


def _at_mask_size(logits: Tensor, masks: Tensor) -> Tensor:
    """Return float32 logits of the size of the masks; on a CPU with a plane for each class."""
    height, width = masks.shape[1:]
    if logits.is_cuda:
        logits = logits.float()
        same = logits.shape[2:] == masks.shape[1:]
        return logits if same else upsample_logits(logits, height, width=width)
    # Softmax over planes is several times as fast there as over the classes of each pixel, and
    # matrix products are ten times as fast as PyTorch's gradient of an upsampled plane.
    planes = logits.float().contiguous()
    rows, columns = planes.shape[2:]
    if columns != width:
        planes = planes @ linear_weights(columns, width)
    return planes if rows == height else linear_weights(rows, height).T @ planes


def linear_weights(size: int, out_size: int) -> Tensor:
    """Return the weights of `size` values in each of `out_size` interpolated ones, by columns."""
    return functional.interpolate(torch.eye(size)[None], size=out_size, mode="linear")[0]


def for_device(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and masks in the shape in which a device computes losses.

    On a CUDA device these are rows, (P, K) and (P,): PyTorch's loss of planes is not deterministic
    there. Elsewhere they stay planes.
    """
    if not logits.is_cuda:
        return logits, masks
    return logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]), masks.flatten()


def cross_entropy(pixels: Pixels, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy of the labeled pixels, weighted by class.

    Args:
        pixels: Predictions and labels.
        weights: Weights of the classes, (K,); None for equal ones.
    """
    return weighted_mean(pixels.cross_entropy, pixels, weights)


def ohem(pixels: Pixels, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy of the hard pixels, by online hard example mining.

    Hard are pixels with a probability below 0.7, and at least a 16th of the batch, as in PIDNet (Xu
    et al., CVPR 2023, section 4.2) and BiSeNet. Weights of classes do not change which are hard.
    """
    losses = pixels.cross_entropy
    # Unlabeled pixels are ranked below the smallest loss.
    ranked = losses.detach().masked_fill(~pixels.labeled, -1.0).flatten()
    # A share of all pixels, not of the labeled ones, is known without waiting for the device.
    count = max(1, ranked.numel() // OHEM_MIN_SHARE)
    threshold = (
        ranked.topk(count, sorted=False)
        .values.min()
        .clamp(min=0.0, max=-torch.tensor(OHEM_THRESHOLD).log().item())
    )
    return weighted_mean(losses, pixels, weights, among=ranked.view_as(losses) >= threshold)


def focal(pixels: Pixels, weights: Tensor | None = None) -> Tensor:
    """Return the mean of (1 - p)^2 times the cross entropy, p being the class's probability.

    Lin et al., ICCV 2017, equation 4; `weights` are its alpha. The mean is over labeled pixels.
    """
    losses = pixels.cross_entropy
    # 1 - exp(-loss) loses all digits where p is nearly 1, and with them the gradient of its power.
    return weighted_mean(
        (-torch.expm1(-losses)).clamp(min=0) ** FOCAL_GAMMA * losses, pixels, weights
    )


def dice(pixels: Pixels) -> Tensor:
    """Return 1 minus the Dice coefficient of probabilities and labels, the mean over the classes.

    Classes that occur in the batch weigh the same however few pixels they have, as in mIoU
    (Milletari et al., V-Net, 3DV 2016, section 3).
    """
    classes, labeled = pixels.scores.shape[1], pixels.labeled
    # One probability per pixel instead of a plane of labels per class.
    of_label = torch.exp(-pixels.cross_entropy) * labeled
    # Single precision stops counting at 16 million pixels.
    zeros = torch.zeros(classes * SUM_LANES, dtype=torch.float64, device=labeled.device)
    lanes = pixels.labels.flatten() * SUM_LANES
    lanes += torch.arange(len(lanes), device=lanes.device) % SUM_LANES
    intersection = zeros.index_add(0, lanes, of_label.flatten().double())
    counts = zeros.index_add(0, lanes, labeled.flatten().double()).view(-1, SUM_LANES).sum(1)
    others = [axis for axis in range(pixels.scores.ndim) if axis != 1]
    total = (pixels.probabilities * labeled.unsqueeze(1)).sum(others) + counts
    occurs = counts > 0
    overlap = 2 * intersection.view(-1, SUM_LANES).sum(1) / total.clamp(min=1e-6)
    losses = torch.where(occurs, 1 - overlap, 0.0)
    return (losses.sum() / occurs.sum().clamp(min=1)).float()


def lovasz(pixels: Pixels) -> Tensor:
    """Return the Lovász-Softmax loss, the mean over the classes that occur in the batch.

    Berman et al., CVPR 2018, section 3 and algorithm 1.
    """
    labeled, labels = pixels.labeled.flatten(), pixels.masks.flatten()
    probabilities = pixels.probabilities.transpose(0, 1).flatten(1)
    # Class by class: all at once would need the memory of K sorted copies with 64-bit indices.
    losses = torch.stack(
        [
            _lovasz_of_class(of_class, labels == index, labeled)
            for index, of_class in enumerate(probabilities)
        ]
    )
    occurs = torch.stack([(labels == index).any() for index in range(len(probabilities))])
    return (losses * occurs).sum() / occurs.sum().clamp(min=1)


def _lovasz_of_class(probabilities: Tensor, is_class: Tensor, labeled: Tensor) -> Tensor:
    """Return the loss of one class; all arguments are (P,)."""
    # Unlabeled pixels have an error of 0, so that they come last and weigh nothing: sizes stay.
    errors, order = ((is_class.float() - probabilities).abs() * labeled).sort(descending=True)
    return torch.dot(errors, jaccard_gradient(is_class[order], labeled[order]))


def jaccard_gradient(is_class: Tensor, labeled: Tensor) -> Tensor:
    """Return how much the Jaccard loss grows with each wrong pixel, from the largest error on.

    Args:
        is_class: Which pixels are of the class, (P,) bool, by falling error.
        labeled: Which pixels count, (P,) bool.
    """
    intersection = is_class.sum() - is_class.cumsum(0)
    union = is_class.sum() + (labeled & ~is_class).cumsum(0)
    # Among millions of pixels neighbors differ by less than single precision resolves.
    loss = 1 - intersection.double() / union.clamp(min=1).double()
    return torch.diff(loss, prepend=loss.new_zeros(1)).float()


def coarse_cross_entropy(
    logits: Tensor,
    masks: Tensor,
    coarse_classes: Sequence[Sequence[int]],
    teacher: Tensor | None = None,
) -> Tensor:
    """Return the mean cross entropy of pixels with coarse labels: -log of the summed probability.

    The sum is over the classes that the coarse class covers. A teacher decides among these: the
    cross entropy between its probabilities and the network's, given the coarse class, is added. A
    teacher for which the whole coarse class is unlikely adds little.

    Args:
        logits: (N, K, H, W) float32.
        masks: (N, H, W) uint8; K + i for coarse class i, all else does not count.
        coarse_classes: Indices of the classes that each coarse class covers.
        teacher: The teacher's logits, (N, K, H, W) float32; None for no teacher.
    """
    covers = torch.zeros(len(coarse_classes), logits.shape[1], dtype=torch.bool)
    for row, members in zip(covers, coarse_classes, strict=True):
        row[list(members)] = True
    index = masks.long() - logits.shape[1]
    coarse = (index >= 0) & (index < len(coarse_classes))
    covered = covers.to(logits.device)[index.masked_fill(~coarse, 0)].permute(0, 3, 1, 2)
    within = logits.masked_fill(~covered, -torch.inf).logsumexp(1)
    losses = logits.logsumexp(1) - within
    if teacher is not None:
        losses = losses + (teacher.softmax(1) * covered * (within.unsqueeze(1) - logits)).sum(1)
    return (losses * coarse).sum() / coarse.sum().clamp(min=1)


def boundary_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the balanced binary cross entropy of logits (N, 1, H, W) of being near a boundary.

    Boundaries are few: their pixels together weigh as much as all others.
    """
    labeled = masks != IGNORE_INDEX
    near = near_boundary(masks)
    pixels = labeled.sum().clamp(min=1)
    share = (near & labeled).sum() / pixels
    weights = torch.where(near, 1 - share, share) * labeled
    loss = functional.binary_cross_entropy_with_logits(
        logits[:, 0].float(), near.float(), weight=weights, reduction="sum"
    )
    return loss / pixels


def sure_boundaries(logits: Tensor, masks: Tensor) -> Tensor:
    """Return masks (N, H, W) labeled only where boundary logits (N, 1, H, W) are sure.

    The main head's cross entropy on them is PIDNet's fourth loss.
    """
    return masks.masked_fill(logits[:, 0].sigmoid() <= BOUNDARY_THRESHOLD, IGNORE_INDEX)


def near_boundary(masks: Tensor) -> Tensor:
    """Return for each pixel of masks (N, H, W) whether another class lies within two pixels."""
    labels = masks.float()[:, None]
    unlabeled = labels == IGNORE_INDEX
    side = 2 * BOUNDARY_RADIUS + 1
    # The largest and the smallest label around; an unlabeled pixel is neither.
    largest = functional.max_pool2d(labels.masked_fill(unlabeled, -1), side, 1, BOUNDARY_RADIUS)
    negated = (-labels).masked_fill(unlabeled, -IGNORE_INDEX)
    smallest = -functional.max_pool2d(negated, side, 1, BOUNDARY_RADIUS)
    return ((largest > smallest) & ~unlabeled)[:, 0]


def weighted_mean(
    losses: Tensor, pixels: Pixels, weights: Tensor | None, *, among: Tensor | None = None
) -> Tensor:
    """Return the mean loss of labeled pixels, weighted by their classes' `weights` (K,).

    Args:
        losses: Loss of each pixel.
        pixels: Their labels.
        weights: Weights of the classes; None for equal ones.
        among: Which pixels count, bool; None for all that are labeled.
    """
    counted = pixels.labeled if among is None else pixels.labeled & among
    if weights is None:
        return (losses * counted).sum() / counted.sum().clamp(min=1)
    of_pixel = weights[pixels.labels] * counted
    return (losses * of_pixel).sum() / of_pixel.sum().clamp(min=1e-6)
