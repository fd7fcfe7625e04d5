"""Scores of a network on a dataset, as `segdeploy eval` computes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdeploy.api.network import Network, load
from segdeploy.backends.tta import AugmentedBackend
from segdeploy.datasets.registry import open_for_card
from segdeploy.errors import ConfigError, DataError
from segdeploy.inference.evaluation import class_name_warning
from segdeploy.inference.evaluation import evaluate as evaluate_all
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.scores import Scores


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of a network on a dataset.

    Example:
        ```python
        evaluation = segdeploy.evaluate(net, dataset="camvid", data="camvid")
        print(f"mIoU {evaluation.scores.miou:.2%} of {evaluation.images} images")
        print(evaluation.classes, evaluation.warning)
        ```

    Attributes:
        scores: mIoU, Dice, pixel accuracy and the IoU of each class, in [0, 1].
        classes: IoU by the class's name; None for a class that the labels do not have.
        dataset: Name of the dataset.
        split: Its split.
        images: How many images were scored.
        device: Runtime and device.
        warning: A sentence where classes of different names were compared; else "".
    """

    scores: Scores
    classes: Mapping[str, float | None]
    dataset: str
    split: str
    images: int
    device: str
    warning: str


def evaluate(
    model: Network | Path | str | None = None,
    *,
    dataset: str | None = None,
    data: Path | str | None = None,
    split: str = "val",
    batch: int = 1,
    tta: Sequence[str] = (),
    device: str = "auto",
    trust: bool = False,
) -> Evaluation:
    """Score a network on a dataset, at the images' own size.

    Example: `segdeploy.evaluate(net, dataset="camvid", data="camvid").scores.miou`

    Args:
        model: A loaded network, or what `load` takes.
        dataset: Name of the dataset; the one that the network was trained on where None.
        data: Folder of the dataset; that of the training where None.
        split: Split of the dataset.
        batch: Images per call of the network.
        tta: Test-time augmentation: "flip", "scales" or both.
        device: See `load`; for a model that is not loaded yet.
        trust: See `load`.

    Raises:
        ConfigError: There is no such dataset, split or augmentation.
        DataError: The dataset cannot be used, has other classes, or no label.
        ModelError: The model cannot be used.
    """
    if batch < 1:
        msg = f"the batch is {batch}; it must be at least 1"
        raise ConfigError(msg)
    network = model if isinstance(model, Network) else load(model, device=device, trust=trust)
    card = network.card
    folder = None if data is None else Path(data)
    name, opened = open_for_card(card, dataset, data=folder, split=split)
    backend = AugmentedBackend(network.backend, tuple(tta)) if tta else network.backend
    scores = evaluate_all(Predictor(backend), opened, batch=batch, on_step=lambda _: None)
    if not scores.pixels:
        msg = f"{name} {split} has no labeled pixel, so there is nothing to score"
        raise DataError(msg)
    names = [entry.name for entry in card.classes]
    return Evaluation(
        scores=scores,
        classes=dict(zip(names, scores.iou, strict=True)),
        dataset=name,
        split=split,
        images=len(opened),
        device=network.device,
        warning=class_name_warning(card.classes, opened.classes),
    )
