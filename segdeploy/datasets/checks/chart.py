"""How often each class occurs, as bars."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segdeploy.card import LabelClass
from segdeploy.datasets.checks.statistics import Figures
from segdeploy.errors import MissingExtraError
from segdeploy.system.files import replacing

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
except ImportError as error:
    raise MissingExtraError("matplotlib", "report") from error  # noqa: EM101 - a name, not a message

INK = "#3c3c3c"
OPACITIES = (1.0, 0.5, 0.25)
"""How strong the bars of each split are, the first one's first."""


def draw_classes(path: Path, figures: Mapping[str, Figures], classes: Sequence[LabelClass]) -> None:
    """Draw for each class its share of the labeled pixels, and the share of the masks in which it occurs, as PNG.

    Args:
        path: Where to.
        figures: Figures of each split.
        classes: Classes in channel order, for their colors.
    """
    labelled = {split: found for split, found in figures.items() if found.masks}
    figure = Figure(
        figsize=(11, 1.5 + len(classes) * (0.12 + 0.17 * len(labelled))), layout="constrained"
    )
    pixels, masks = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for lane, found in enumerate(labelled.values()):
        places = [
            index + (lane + 0.5) * 0.84 / len(labelled) - 0.42 for index in range(len(classes))
        ]
        style = {
            "height": 0.84 / len(labelled),
            "color": [_rgba(entry, lane) for entry in classes],
            "edgecolor": INK,
            "linewidth": 0.5,
        }
        _label(
            pixels,
            pixels.barh(places, [100 * entry.share for entry in found.classes], **style),
            "{:.2f}",
        )
        _label(
            masks,
            masks.barh(
                places, [100 * entry.images / found.masks for entry in found.classes], **style
            ),
            "{:.0f}",
        )
    pixels.set_yticks(range(len(classes)), [entry.name for entry in classes])
    pixels.set_ylim(len(classes) - 0.4, -0.6)
    pixels.set_title("share of the labeled pixels, %", loc="left", fontsize=10)
    masks.set_title("share of the masks with the class, %", loc="left", fontsize=10)
    for axes in (pixels, masks):
        _bare(axes)
    patches = [
        Patch(facecolor=INK, alpha=OPACITIES[lane], label=f"{split} ({found.masks})")
        for lane, (split, found) in enumerate(labelled.items())
    ]
    figure.legend(handles=patches, loc="outside upper right", ncols=len(patches), frameon=False)
    with replacing(path) as part:
        FigureCanvasAgg(figure).print_figure(part, format="png", dpi=110)


def _rgba(entry: LabelClass, lane: int) -> tuple[float, float, float, float]:
    red, green, blue = (value / 255 for value in entry.color)
    return red, green, blue, OPACITIES[lane]


def _label(axes: Axes, bars: BarContainer, form: str) -> None:
    axes.bar_label(bars, fmt=form, padding=3, fontsize=8, color=INK)


def _bare(axes: Axes) -> None:
    axes.set_xlim(0, 1.12 * axes.get_xlim()[1])
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
