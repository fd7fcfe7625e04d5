"""Model cards of untrained networks."""

from collections.abc import Sequence
from typing import Any

from segdeploy.card import InputSpec, LabelClass, ModelCard

COLORS = ((128, 64, 128), (220, 20, 60), (0, 0, 142), (107, 142, 35), (70, 130, 180))


def make_classes(*names: str) -> tuple[LabelClass, ...]:
    """Return classes of these names, each of a color of its own."""
    return tuple(
        LabelClass(name=name, color=COLORS[index % len(COLORS)]) for index, name in enumerate(names)
    )


def make_card(
    height: int = 32,
    width: int = 48,
    *,
    classes: Sequence[LabelClass] | Sequence[str] = ("road", "car"),
    architecture: str = "unet",
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    **others: Any,
) -> ModelCard:
    """Return a card; `others` are fit, stride and dynamic of the input, and fields of ModelCard."""
    spec = {name: others.pop(name) for name in ("fit", "stride", "dynamic") if name in others}
    entries = tuple(
        make_classes(*map(str, classes))
        if all(isinstance(one, str) for one in classes)
        else classes
    )
    return ModelCard(
        architecture=architecture,
        classes=entries,  # type: ignore[arg-type]
        input=InputSpec(height=height, width=width, mean=mean, std=std, **spec),
        **others,
    )
