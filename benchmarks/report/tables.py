"""Units, columns, summary; Markdown."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from segdeploy.video.profiler import THREADS

from ..results.latency import Latency
from ..results.report import Report, Row
from ..results.row import Accuracy, Figures

TIMED = (
    "Timed is the way from decoded images in memory to their masks of the same sizes: resizing,"
    " the network, the labels. “Network” is the runtime alone, from a batch of its size to logits."
    " Reading and decoding files is not timed. Where images go in batches, a time is a batch's,"
    " and the speed is compared image by image. Brackets hold the true value with 95%"
    " confidence (bootstrap of rounds and runs, seeded with 0). A cold start goes from starting a"
    " process to its first mask, with all imports and loading the file; peak memory is that"
    " process's until its last timed run. Each round of a row is a process of its own, and rows"
    " take turns."
)

NONE = "–"
"""Stands where there is no figure."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        title: What stands above it.
        cell: Writes the figure of a row; "–" where there is none. A column with nothing else is
            left out.
    """

    title: str
    cell: Callable[[Report, Row, Figures], str]


def milliseconds(value: float) -> str:
    """Write a time with three digits that count: 3.21 ms, 32.1 ms, 321 ms, 3.21 s."""
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} ms"


def percent(share: float) -> str:
    """Write a share in [0, 1] with two decimals."""
    return f"{100 * share:.2f}%"


def same(share: float) -> str:
    """Write how much is the same, rounded down, so that 100% is said of all and of nothing less."""
    return "100%" if share == 1 else f"{math.floor(100_000 * share) / 1000:.3f}%"


def points(difference: float) -> str:
    """Write a difference of two shares in percentage points, with its sign.

    A difference that two decimals hide is ±0.
    """
    rounded = round(100 * difference, 2)
    return f"{rounded:+.2f}".replace("-", "−") if rounded else "±0"


def times(least: float, most: float) -> str:
    """Write how many times as fast, or between which bounds."""
    return "–".join(dict.fromkeys((number(least), number(most)))) + "×"


def number(ratio: float) -> str:
    """Write a ratio with two digits that count, or all that stand before the point."""
    return f"{ratio:.{2 if ratio < 0.95 else 1 if ratio < 9.95 else 0}f}"


def megabytes(size: int | None) -> str:
    """Write a number of bytes in MB (a million bytes), from one GB on in GB."""
    if size is None:
        return NONE
    if size >= 1e9:
        return f"{size / 1e9:.2f} GB"
    return f"{size / 1e6:.{2 if size < 1e7 else 0}f} MB"


def within(latency: Latency, share: float) -> str:
    """Write a percentile, and its interval where that says more than the figure itself."""
    figure = milliseconds(latency.percentile(share))
    bounds = [milliseconds(bound) for bound in latency.interval(share)]
    if set(bounds) == {figure}:
        return figure
    return f"{figure} [{', '.join(bound.removesuffix(' ms') for bound in bounds)}]"


def joules(energy: float) -> str:
    """Write an energy with three digits that count."""
    return f"{energy:.3g} J" if energy >= 1 else f"{1000 * energy:.3g} mJ"


def _versus(report: Report, _: Row, figures: Figures) -> str:
    ratio = report.speedup(figures)
    return NONE if ratio is None else times(*ratio)


def _lost(report: Report, _: Row, figures: Figures) -> str:
    difference = report.lost(figures)
    return NONE if difference is None else points(difference)


def _time(share: float) -> Callable[[Report, Row, Figures], str]:
    return lambda _, __, figures: within(figures.latency, share)


def _spent(name: str) -> Callable[[Report, Row, Figures], str]:
    return lambda _, __, figures: joules(figures.energy[name]) if name in figures.energy else NONE


def _scored(write: Callable[[Accuracy], str]) -> Callable[[Report, Row, Figures], str]:
    return lambda _, __, figures: write(figures.accuracy) if figures.accuracy else NONE


SPEED = (
    Column(title="median", cell=_time(50)),
    Column(title="p90", cell=lambda _, __, figures: milliseconds(figures.latency.percentile(90))),
    Column(title="p95", cell=_time(95)),
    Column(title="p99", cell=lambda _, __, figures: milliseconds(figures.latency.percentile(99))),
    Column(title="images a second", cell=lambda _, __, figures: rate(figures.rate)),
    Column(title="speed", cell=_versus),
    Column(title="network", cell=lambda _, __, figures: milliseconds(figures.network.median)),
    Column(title="cold start", cell=lambda _, __, figures: milliseconds(figures.cold_start.median)),
    Column(title="peak memory", cell=lambda _, __, figures: megabytes(figures.peak_memory)),
    Column(title="processor's energy an image", cell=_spent("processor")),
    Column(title="graphics card's energy an image", cell=_spent("card")),
    Column(title="file", cell=lambda _, row, __: megabytes(row.size)),
)

ACCURACY = (
    Column(title="mIoU", cell=_scored(lambda found: percent(found.scores.miou))),
    Column(title="difference", cell=_lost),
    Column(title="boundary IoU", cell=_scored(lambda found: percent(found.boundary_iou))),
    Column(
        title="pixel accuracy", cell=_scored(lambda found: percent(found.scores.pixel_accuracy))
    ),
    Column(title="Dice", cell=_scored(lambda found: percent(found.scores.dice))),
    Column(
        title="same labels",
        cell=_scored(lambda found: same(found.labels.overall) if found.labels else NONE),
    ),
    Column(
        title="near edges",
        cell=_scored(lambda found: same(found.labels.near) if found.labels else NONE),
    ),
)

MADE_OF = (
    Column(title="network", cell=lambda _, __, figures: figures.setting.architecture),
    Column(title="precision", cell=lambda _, __, figures: figures.setting.precision),
    Column(title="input", cell=lambda _, __, figures: "×".join(map(str, figures.setting.input))),
    Column(title="batch", cell=lambda _, __, figures: str(figures.setting.batch)),
    Column(title="runs on", cell=lambda _, __, figures: figures.setting.device),
    Column(title="threads", cell=lambda _, __, figures: str(figures.setting.threads)),
    Column(title="rounds", cell=lambda _, __, figures: str(len(figures.rounds))),
)


def _stage(name: str) -> Callable[[Report, Row, Figures], str]:
    return lambda _, __, figures: (
        milliseconds(1000 * figures.video.times.stages[name].p50) if figures.video else NONE
    )


def _flicker(_: Report, __: Row, figures: Figures) -> str:
    return NONE if figures.video is None else percent(figures.video.flicker)


VIDEO = (
    Column(
        title="frames a second",
        cell=lambda _, __, figures: rate(figures.video.times.rate) if figures.video else NONE,
    ),
    *(Column(title=name, cell=_stage(name)) for thread in THREADS for name in thread),
    Column(
        title="held back by",
        cell=lambda _, __, figures: figures.video.times.slowest if figures.video else NONE,
    ),
    Column(title="flicker", cell=_flicker),
)


def shown(report: Report, columns: Sequence[Column]) -> list[Column]:
    """Leave out the columns in which no row has a figure."""
    return [
        column
        for column in columns
        if any(column.cell(report, row, figures) != NONE for row, figures in report.measured)
    ]


def rate(value: float) -> str:
    """Write how many a second."""
    return f"{value:.{1 if value < 100 else 0}f}"


def video_hint(report: Report) -> str:
    """Say what was done with the video."""
    frames = max(
        (figures.video.times.frames for _, figures in report.measured if figures.video), default=0
    )
    return (
        f"{frames} frames of {report.video}, decoded, segmented, painted and encoded; everything"
        " counts for the frames a second. Each stage is a frame's median; stages of different"
        " threads run at the same time. Flicker is the share of pixels that change their class and"
        " change back in the next frame."
    )


def headline(report: Report) -> tuple[Row, Figures] | None:
    """Return the row that the summary speaks of: the fastest one beside the reference.

    None where all failed.
    """
    own = [pair for pair in report.measured if not pair[0].way.peer]
    others = [pair for pair in own if pair[0].name != report.reference] or own
    return min(others, key=lambda pair: pair[1].image_time(50), default=None)


def summary(report: Report) -> str:
    """Say in a sentence what the benchmark found, and in another each what stands against it."""
    doubts = ["The times are doubtful: they were measured with noise."] if report.doubts else []
    failures = (
        [f"{len(report.failed)} of {len(report.rows)} artifacts failed."] if report.failed else []
    )
    return " ".join([finding(report), *doubts, *failures])


def finding(report: Report) -> str:
    """Say in a sentence what the benchmark found."""
    best = headline(report)
    if best is None:
        return "No artifact could be measured."
    row, figures = best
    took = milliseconds(figures.image_time(50))
    if report.base is None or row.name == report.reference:
        right = f", at {percent(figures.accuracy.scores.miou)} mIoU" if figures.accuracy else ""
        return f"{row.name} turns an image into its mask in {took}{right}."
    labels = figures.accuracy.labels if figures.accuracy else None
    right = (
        f", with {same(labels.overall)} of its labels and {_miou(report, figures)}"
        if labels
        else ""
    )
    return f"{row.name} takes {took} an image, {_compared(report, figures)}{right}."


def _compared(report: Report, figures: Figures) -> str:
    least, most = report.speedup(figures) or (1.0, 1.0)
    if most < 1:
        return (
            f"{' to '.join(dict.fromkeys((number(1 / most), number(1 / least))))} times as long as"
            f" {report.reference}"
        )
    return (
        f"{' to '.join(dict.fromkeys((number(least), number(most))))} times as fast as"
        f" {report.reference}"
    )


def _miou(report: Report, figures: Figures) -> str:
    assert figures.accuracy is not None, "only whose labels are known is spoken of"
    miou, difference = (
        percent(figures.accuracy.scores.miou),
        round(100 * (report.lost(figures) or 0.0), 2),
    )
    if not difference:
        return f"the same mIoU, {miou}"
    return f"{miou} mIoU, {abs(difference):.2f} points {'more' if difference > 0 else 'less'}"


def measured_on(report: Report) -> list[tuple[str, str]]:
    """List what the figures depend on: the machine, the versions, how it was measured."""
    machine = report.machine
    load = ["–" if value is None else f"{value:.2f}" for value in (machine.load, report.load_after)]
    return [
        ("processor", machine.kind),
        ("cores", f"{machine.cores} of the machine's {machine.host_cores} may be used"),
        ("memory", megabytes(machine.memory)),
        ("system", machine.system),
        ("clock governor", machine.governor or "not told by the system"),
        ("load", f"{load[0]} before, {load[1]} after"),
        (
            "pictures",
            (
                f"{len(report.images)} of {report.dataset} {report.split}, at even distances;"
                " nothing is drawn at random"
            ),
        ),
        (
            "timing",
            (
                f"at least {report.rounds} rounds of {report.runs} runs each, after"
                f" {report.warm_up} to warm up"
            ),
        ),
        *([("video", report.video)] if report.video else []),
        ("versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
        ("finished", report.created),
    ]


def to_markdown(report: Report) -> str:
    """Write a report as Markdown."""
    return "\n\n".join(["# Benchmark", *body(report, level=2)]) + "\n"


def body(report: Report, *, level: int) -> list[str]:
    """Write a report's paragraphs and tables, with headings of a level from 1."""
    mark = "#" * level
    parts = [escape(summary(report))]
    if report.warnings:
        parts.append(f"> **Careful:** {escape(' '.join(report.warnings))}")
    if report.measured:
        titled = (("Speed", SPEED), ("Accuracy", ACCURACY), ("Artifacts", MADE_OF))
        parts += [
            part
            for title, columns in titled
            if shown(report, columns)
            for part in (f"{mark} {title}", table(report, columns))
        ]
    if report.video and report.measured:
        parts += [f"{mark} Video", escape(video_hint(report)), table(report, VIDEO)]
    for aside in report.asides:
        parts += [
            f"{mark} {aside.title}",
            escape(aside.hint),
            grid("way", aside.columns, aside.rows),
        ]
    if report.failed:
        parts += [
            f"{mark} Failed",
            "\n".join(f"* **{escape(row.name)}**: {escape(row.error)}" for row in report.failed),
        ]
    facts = "\n".join(f"* {name}: {escape(value)}" for name, value in measured_on(report))
    return [*parts, f"{mark} Measured on", facts, TIMED]


def table(report: Report, columns: Sequence[Column]) -> str:
    """Write one table: a row for each artifact that did not fail."""
    columns = shown(report, columns)
    named = (
        (f"{row.name} (reference)" if row.name == report.reference else row.name, row, figures)
        for row, figures in report.measured
    )
    rows = (
        (name, [column.cell(report, row, figures) for column in columns])
        for name, row, figures in named
    )
    return grid("artifact", [column.title for column in columns], rows)


def grid(first: str, titles: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Write a table: the first column's title, the others', and for each line its name and its cells."""
    lines = [f"| {first} | {' | '.join(map(escape, titles))} |", "| :-- |" + " --: |" * len(titles)]
    lines += [f"| {escape(name)} | {' | '.join(map(escape, cells))} |" for name, cells in rows]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Keep a name or a message from being read as Markdown or HTML, and on one line."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
