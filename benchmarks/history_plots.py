"""Drawings of figures over time, in the manner of a report's."""

from collections.abc import Sequence
from datetime import UTC

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from .history import Line, Measure
from .plots import FONT, SCATTER_HEIGHT, SERIES, SOFT, STYLE, WIDTH, to_svg


def color_of(number: int) -> int:
    """Give the number of the color of a line."""
    return 1 + number % (SERIES - 1)


def draw(measure: Measure, lines: Sequence[Line]) -> str:
    """Draw one figure of all lines over time, with its intervals, from zero where that hides nothing."""
    with rc_context({**STYLE, "date.converter": "concise"}):
        figure = Figure(figsize=(WIDTH, SCATTER_HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        for number, line in enumerate(lines):
            found = [(point, value) for point in line.points if (value := measure.value(point)) is not None]
            times = np.array([point.time.astimezone(UTC).replace(tzinfo=None) for point, _ in found], dtype="datetime64[s]")
            color = f"#0401{color_of(number):02}"
            axes.plot(times, [measure.scale * value for _, value in found], "o-", markersize=5, linewidth=1.5, color=color)
            if measure.interval:
                bounds = [measure.interval(point) for point, _ in found]
                lows, highs = ([pair[side] for pair in bounds] for side in (0, 1))
                axes.fill_between(times, lows, highs, color=color, alpha=0.15, linewidth=0)
        if measure.interval:
            axes.set_ylim(bottom=0)
        axes.margins(x=0.08)
        axes.set_title(measure.unit, loc="left", fontsize=FONT, color=SOFT)
        return to_svg(figure, measure.title.lower().replace(", ", "-").replace(" ", "-"), f"{measure.title} over time")
