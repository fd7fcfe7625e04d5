"""Class balance as a bar chart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segdeploy.card import LabelClass
from segdeploy.datasets.checks.statistics import SplitStatistics
from segdeploy.errors import MissingExtraError
from segdeploy.system.files import replacing

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
except ImportError as error:
    raise MissingExtraError("matplotlib", "report") from error  # noqa: EM101 - a name

PLAIN_TEXT: Any = {"text.parse_math": False, "text.usetex": False}
"""Settings with which matplotlib draws names as they are: it takes text between two dollar signs
for a formula."""

INK = "#3c3c3c"
OPACITIES = (1.0, 0.5, 0.25)
"""Opacity of the bars of each split, the first split's first."""

GROUP = 0.84
"""Height of the bars of one class together, in rows."""


@rc_context(PLAIN_TEXT)
def draw_classes(
    path: Path, statistics: Mapping[str, SplitStatistics], classes: Sequence[LabelClass]
) -> None:
    """Draw each class's share of the labeled pixels, and of the masks, as bars into a PNG.

    Args:
        path: File to write.
        statistics: Statistics of each split, by its name.
        classes: Classes in channel order, for their colors.
    """
    labeled = {split: values for split, values in statistics.items() if values.masks}
    height = 1.5 + len(classes) * (0.12 + 0.17 * len(labeled))
    figure = Figure(figsize=(11, height), layout="constrained")
    pixels, masks = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    thickness = GROUP / max(len(labeled), 1)
    for lane, values in enumerate(labeled.values()):
        rows = [row + (lane + 0.5) * thickness - GROUP / 2 for row in range(len(classes))]
        shares = [100 * entry.share for entry in values.classes]
        in_masks = [100 * entry.images / values.masks for entry in values.classes]
        style = {
            "height": thickness,
            "color": [_rgba(entry, lane) for entry in classes],
            "edgecolor": INK,
            "linewidth": 0.5,
        }
        _label(pixels, pixels.barh(rows, shares, **style), "{:.2f}")
        _label(masks, masks.barh(rows, in_masks, **style), "{:.0f}")
    pixels.set_yticks(range(len(classes)), [entry.name for entry in classes])
    pixels.set_ylim(len(classes) - 0.4, -0.6)
    pixels.set_title("share of the labeled pixels, %", loc="left", fontsize=10)
    masks.set_title("share of the masks with the class, %", loc="left", fontsize=10)
    for axes in (pixels, masks):
        _remove_frame(axes)
    patches = [
        Patch(facecolor=INK, alpha=OPACITIES[lane], label=f"{split} ({values.masks})")
        for lane, (split, values) in enumerate(labeled.items())
    ]
    figure.legend(handles=patches, loc="outside upper right", ncols=len(patches), frameon=False)
    with replacing(path) as part:
        FigureCanvasAgg(figure).print_figure(part, format="png", dpi=110)


def _rgba(entry: LabelClass, lane: int) -> tuple[float, float, float, float]:
    red, green, blue = (value / 255 for value in entry.color)
    return red, green, blue, OPACITIES[lane]


def _label(axes: Axes, bars: BarContainer, form: str) -> None:
    axes.bar_label(bars, fmt=form, padding=3, fontsize=8, color=INK)


def _remove_frame(axes: Axes) -> None:
    axes.set_xlim(0, 1.12 * axes.get_xlim()[1])
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
