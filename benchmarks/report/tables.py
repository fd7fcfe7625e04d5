"""Text of a report: formatted values, columns, the summary, and the Markdown file."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from segdeploy.cli.console import printable
from segdeploy.video.profiler import THREADS

from ..results.latency import Latency
from ..results.report import Report, Row
from ..results.row import Accuracy, RowResult

TIMED = (
    "A latency is the time from decoded images in memory to their masks of the same sizes:"
    " resizing, the network, the argmax. “Network” is the runtime alone, from a batch of its input"
    " size to its output. Reading and decoding files is not timed. A latency of a batch is that of"
    " the whole batch; the speedup is computed image by image. Brackets are 95% confidence"
    " intervals (bootstrap of rounds and runs, seeded with 0). A cold start is the time from the"
    " start of a process to its first mask, with all imports and loading the file; peak memory is"
    " that process's until its last timed run. Each round of a row is a process of its own, and"
    " rows take turns."
)

NONE = "–"
"""Stands where there is no value."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        title: Its heading.
        cell: Returns the text of a row; "–" where there is no value. A column without any value is
            left out.
    """

    title: str
    cell: Callable[[Report, Row, RowResult], str]


def milliseconds(value: float) -> str:
    """Format a time with three significant digits: 3.21 ms, 32.1 ms, 321 ms, 3.21 s."""
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} ms"


def percent(share: float) -> str:
    """Format a share in [0, 1] as a percentage with two decimals."""
    return f"{100 * share:.2f}%"


def agreement(share: float) -> str:
    """Format an agreement in [0, 1] as a percentage, rounded down: only all is 100%."""
    return "100%" if share == 1 else f"{math.floor(100_000 * share) / 1000:.3f}%"


def points(difference: float) -> str:
    """Format a difference of two shares in percentage points with its sign; ±0 below 0.005."""
    rounded = round(100 * difference, 2)
    return f"{rounded:+.2f}".replace("-", "−") if rounded else "±0"


def times(least: float, most: float) -> str:
    """Format a speedup, or its bounds if they differ."""
    return "–".join(dict.fromkeys((number(least), number(most)))) + "×"


def number(ratio: float) -> str:
    """Format a ratio with two significant digits, or all digits before the point."""
    return f"{ratio:.{2 if ratio < 0.95 else 1 if ratio < 9.95 else 0}f}"


def megabytes(size: int | None) -> str:
    """Format a number of bytes in MB (a million bytes), or in GB from one GB on."""
    if size is None:
        return NONE
    if size >= 1e9:
        return f"{size / 1e9:.2f} GB"
    return f"{size / 1e6:.{2 if size < 1e7 else 0}f} MB"


def with_interval(latency: Latency, percentile: float) -> str:
    """Format a percentile, with its interval unless that is the value itself."""
    value = milliseconds(latency.percentile(percentile))
    bounds = [milliseconds(bound) for bound in latency.interval(percentile)]
    if set(bounds) == {value}:
        return value
    return f"{value} [{', '.join(bound.removesuffix(' ms') for bound in bounds)}]"


def joules(energy: float) -> str:
    """Format an energy with three significant digits."""
    return f"{energy:.3g} J" if energy >= 1 else f"{1000 * energy:.3g} mJ"


def _speedup(report: Report, _: Row, result: RowResult) -> str:
    ratio = report.speedup(result)
    return NONE if ratio is None else times(*ratio)


def _miou_difference(report: Report, _: Row, result: RowResult) -> str:
    difference = report.miou_difference(result)
    return NONE if difference is None else points(difference)


def _time(percentile: float) -> Callable[[Report, Row, RowResult], str]:
    return lambda _, __, result: with_interval(result.latency, percentile)


def _energy(name: str) -> Callable[[Report, Row, RowResult], str]:
    return lambda _, __, result: joules(result.energy[name]) if name in result.energy else NONE


def _score(text: Callable[[Accuracy], str]) -> Callable[[Report, Row, RowResult], str]:
    return lambda _, __, result: text(result.accuracy) if result.accuracy else NONE


SPEED = (
    Column(title="median", cell=_time(50)),
    Column(title="p90", cell=lambda _, __, result: milliseconds(result.latency.percentile(90))),
    Column(title="p95", cell=_time(95)),
    Column(title="p99", cell=lambda _, __, result: milliseconds(result.latency.percentile(99))),
    Column(title="images/s", cell=lambda _, __, result: rate(result.rate)),
    Column(title="speedup", cell=_speedup),
    Column(title="network", cell=lambda _, __, result: milliseconds(result.network.median)),
    Column(title="cold start", cell=lambda _, __, result: milliseconds(result.cold_start.median)),
    Column(title="peak memory", cell=lambda _, __, result: megabytes(result.peak_memory)),
    Column(title="energy an image, processor", cell=_energy("processor")),
    Column(title="energy an image, graphics card", cell=_energy("card")),
    Column(title="file", cell=lambda _, row, __: megabytes(row.size)),
)

ACCURACY = (
    Column(title="mIoU", cell=_score(lambda accuracy: percent(accuracy.scores.miou))),
    Column(title="mIoU difference", cell=_miou_difference),
    Column(title="boundary IoU", cell=_score(lambda accuracy: percent(accuracy.boundary_iou))),
    Column(
        title="pixel accuracy",
        cell=_score(lambda accuracy: percent(accuracy.scores.pixel_accuracy)),
    ),
    Column(title="Dice", cell=_score(lambda accuracy: percent(accuracy.scores.dice))),
    Column(
        title="label agreement",
        cell=_score(
            lambda accuracy: agreement(accuracy.labels.overall) if accuracy.labels else NONE
        ),
    ),
    Column(
        title="near boundaries",
        cell=_score(lambda accuracy: agreement(accuracy.labels.near) if accuracy.labels else NONE),
    ),
)

ARTIFACTS = (
    Column(title="network", cell=lambda _, __, result: result.setting.architecture),
    Column(title="precision", cell=lambda _, __, result: result.setting.precision),
    Column(title="input", cell=lambda _, __, result: "×".join(map(str, result.setting.input))),
    Column(title="batch", cell=lambda _, __, result: str(result.setting.batch)),
    Column(title="device", cell=lambda _, __, result: result.setting.device),
    Column(title="threads", cell=lambda _, __, result: str(result.setting.threads)),
    Column(title="rounds", cell=lambda _, __, result: str(len(result.rounds))),
)


def _stage(name: str) -> Callable[[Report, Row, RowResult], str]:
    return lambda _, __, result: (
        milliseconds(1000 * result.video.times.stages[name].p50) if result.video else NONE
    )


def _flicker(_: Report, __: Row, result: RowResult) -> str:
    return NONE if result.video is None else percent(result.video.flicker)


VIDEO = (
    Column(
        title="fps (wall time)",
        cell=lambda _, __, result: rate(result.video.times.rate) if result.video else NONE,
    ),
    *(Column(title=name, cell=_stage(name)) for thread in THREADS for name in thread),
    Column(
        title="slowest stage",
        cell=lambda _, __, result: result.video.times.slowest if result.video else NONE,
    ),
    Column(title="flicker", cell=_flicker),
)


def filled(report: Report, columns: Sequence[Column]) -> list[Column]:
    """Return the columns in which a row has a value."""
    return [
        column
        for column in columns
        if any(column.cell(report, row, result) != NONE for row, result in report.measured)
    ]


def rate(value: float) -> str:
    """Format a number per second."""
    return f"{value:.{1 if value < 100 else 0}f}"


def video_hint(report: Report) -> str:
    """Return what was done with the video."""
    frames = max(
        (result.video.times.frames for _, result in report.measured if result.video), default=0
    )
    return (
        f"{frames} frames of {report.video}, decoded, segmented, drawn and encoded; all of it"
        " counts for the fps. The time of a stage is its median per frame; stages of different"
        " threads run at the same time. Flicker is the share of pixels that change their class and"
        " change it back in the next frame."
    )


def headline(report: Report) -> tuple[Row, RowResult] | None:
    """Return the row of the summary: the fastest one of ours except the reference.

    None where all failed.
    """
    own = [pair for pair in report.measured if not pair[0].variant.peer]
    others = [pair for pair in own if pair[0].name != report.reference] or own
    return min(others, key=lambda pair: pair[1].image_time(50), default=None)


def summary(report: Report) -> str:
    """Return what the benchmark found, with noise and failures, a sentence each."""
    noise = ["The times are not reliable: they are noisy."] if report.timing_warnings else []
    failures = (
        [f"{len(report.failed)} of {len(report.rows)} artifacts failed."] if report.failed else []
    )
    return " ".join([finding(report), *noise, *failures])


def finding(report: Report) -> str:
    """Return what the benchmark found, in a sentence."""
    best = headline(report)
    if best is None:
        return "No artifact could be measured."
    row, result = best
    time = milliseconds(result.image_time(50))
    if report.reference_result is None or row.name == report.reference:
        score = f", at {percent(result.accuracy.scores.miou)} mIoU" if result.accuracy else ""
        return f"{row.name} segments an image in {time}{score}."
    labels = result.accuracy.labels if result.accuracy else None
    score = (
        f", with {agreement(labels.overall)} of its labels and {_miou(report, result)}"
        if labels
        else ""
    )
    return f"{row.name} takes {time} an image, {_compared(report, result)}{score}."


def _compared(report: Report, result: RowResult) -> str:
    least, most = report.speedup(result) or (1.0, 1.0)
    slower = most < 1
    bounds = (1 / most, 1 / least) if slower else (least, most)
    ratio = " to ".join(dict.fromkeys(map(number, bounds)))
    return f"{ratio} times as {'long' if slower else 'fast'} as {report.reference}"


def _miou(report: Report, result: RowResult) -> str:
    assert result.accuracy is not None, "only called where the labels were compared"
    miou = percent(result.accuracy.scores.miou)
    difference = round(100 * (report.miou_difference(result) or 0.0), 2)
    if not difference:
        return f"the same mIoU, {miou}"
    return f"{miou} mIoU, {abs(difference):.2f} points {'more' if difference > 0 else 'less'}"


def measured_on(report: Report) -> list[tuple[str, str]]:
    """Return what the values depend on, by name: machine, versions, how they were measured."""
    machine = report.machine
    load = ["–" if value is None else f"{value:.2f}" for value in (machine.load, report.load_after)]
    return [
        ("processor", machine.kind),
        ("cores", f"{machine.cores} of the machine's {machine.host_cores} may be used"),
        ("memory", megabytes(machine.memory)),
        ("system", machine.system),
        ("frequency governor", machine.governor or "not reported"),
        ("load", f"{load[0]} before, {load[1]} after"),
        (
            "images",
            (
                f"{len(report.images)} of {report.dataset} {report.split}, evenly spaced, none at"
                " random"
            ),
        ),
        (
            "timing",
            (
                f"at least {report.rounds} rounds of {report.runs} runs each, after"
                f" {report.warm_up} warm-up runs"
            ),
        ),
        *([("video", report.video)] if report.video else []),
        ("versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
        ("finished", report.created),
    ]


def to_markdown(report: Report) -> str:
    """Return a report as Markdown."""
    return "\n\n".join(["# Benchmark", *body(report, level=2)]) + "\n"


def body(report: Report, *, level: int) -> list[str]:
    """Return a report's paragraphs and tables in Markdown.

    Args:
        report: The report.
        level: Level of the headings, from 1.
    """
    mark = "#" * level
    parts = [escape(summary(report))]
    if report.warnings:
        parts.append(f"> **Warning:** {escape(' '.join(report.warnings))}")
    if report.measured:
        titled = (("Speed", SPEED), ("Accuracy", ACCURACY), ("Artifacts", ARTIFACTS))
        parts += [
            part
            for title, columns in titled
            if filled(report, columns)
            for part in (f"{mark} {title}", table(report, columns))
        ]
    if report.video and report.measured:
        parts += [f"{mark} Video", escape(video_hint(report)), table(report, VIDEO)]
    for entry in report.external:
        parts += [
            f"{mark} {entry.title}",
            escape(entry.hint),
            grid("variant", entry.columns, entry.rows),
        ]
    if report.failed:
        parts += [
            f"{mark} Failed",
            "\n".join(f"* **{escape(row.name)}**: {escape(row.error)}" for row in report.failed),
        ]
    facts = "\n".join(f"* {name}: {escape(value)}" for name, value in measured_on(report))
    return [*parts, f"{mark} Measured on", facts, TIMED]


def table(report: Report, columns: Sequence[Column]) -> str:
    """Return a table with a row for each artifact that did not fail, in Markdown."""
    columns = filled(report, columns)
    named = (
        (f"{row.name} (reference)" if row.name == report.reference else row.name, row, result)
        for row, result in report.measured
    )
    rows = (
        (name, [column.cell(report, row, result) for column in columns])
        for name, row, result in named
    )
    return grid("artifact", [column.title for column in columns], rows)


def grid(first: str, titles: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a table in Markdown.

    Args:
        first: Title of the first column.
        titles: Titles of the others.
        rows: The first cell of each line, and the others.
    """
    lines = [f"| {first} | {' | '.join(map(escape, titles))} |", "| :-- |" + " --: |" * len(titles)]
    lines += [f"| {escape(name)} | {' | '.join(map(escape, cells))} |" for name, cells in rows]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Escape a name or a message so that Markdown and HTML show it as it is, on one line."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return printable(" ".join(text.split()))
