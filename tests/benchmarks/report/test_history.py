"""Reports of a folder, drawn over time."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from segdeploy.benchmarks.command import benchmark
from segdeploy.benchmarks.report.history import METRICS, change, lines_of, read_history, to_html
from segdeploy.errors import DataError, SegdeployError
from tests.benchmarks.results.test_report import REPORT, Page, row_of, values_of

OLD = replace(
    REPORT,
    created="2026-01-01T00:00:00+00:00",
    rows=(row_of("best.onnx", values_of(50.0, miou=0.5)),),
)
NEW = replace(
    REPORT,
    created="2026-02-01T00:00:00+00:00",
    rows=(row_of("best.onnx", values_of(40.0)), row_of("other.onnx", values_of(9.0))),
)


def folder_of(tmp_path: Path) -> Path:
    for name, report in (("b", OLD), ("a", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(report.to_json())
    (tmp_path / "old.json").write_text(OLD.to_json().replace('"schema": 3', '"schema": 1'))
    return tmp_path


def test_reports_come_in_the_order_of_their_time(tmp_path: Path) -> None:
    """The names of folders do not matter; a report of schema 1 is left out and reported."""
    reports, left_out = read_history(folder_of(tmp_path))

    assert reports == [OLD, NEW]
    assert len(left_out) == 1
    assert "of schema 1" in left_out[0]


def test_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    """An empty page would look like success."""
    with pytest.raises(DataError, match="there is no report of this version"):
        read_history(tmp_path)


def test_row_is_a_line_through_reports() -> None:
    """From 50 to 40 ms, and from 50 to 60% mIoU; memory stayed."""
    first, second = lines_of([OLD, NEW])

    assert (first.name, len(first.points), second.name, len(second.points)) == (
        "best.onnx",
        2,
        "other.onnx",
        1,
    )
    assert [change(metric, first) for metric in METRICS] == [
        "50.0 ms → 40.0 ms",
        "50.0 ms → 40.0 ms",
        "50.00% → 60.00%",
        "250 MB",
    ]


def test_times_of_two_machines_are_two_lines() -> None:
    """A faster machine does not make a network faster."""
    moved = replace(NEW, machine=replace(NEW.machine, processor="Xeon"))

    assert [line.name for line in lines_of([OLD, moved])] == [
        "best.onnx, 2 cores of Zen, camvid val",
        "best.onnx, 2 cores of Xeon, camvid val",
        "other.onnx, 2 cores of Xeon, camvid val",
    ]


def test_page_draws_every_measure(tmp_path: Path) -> None:
    """One file, as a report is."""
    found = Page(to_html([OLD, NEW], ["x"]))

    assert found.open == []
    assert (found.tags["svg"], found.tags["table"]) == (len(METRICS), 1)
    assert "2 reports, 2 rows" in found.text
    assert "1 files left out" in found.text
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_command_writes_the_page_and_measures_nothing(tmp_path: Path) -> None:
    """It is written beside the reports, or to --output."""
    result = CliRunner().invoke(
        benchmark, ["--history", str(folder_of(tmp_path))], catch_exceptions=False
    )

    assert result.stdout.strip() == str(tmp_path / "history.html")
    assert (tmp_path / "history.html").exists()
    assert "left out: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "name the files to measure"), (["--all"], "name the files to measure")],
)
def test_nothing_to_measure_is_refused(arguments: list[str], message: str) -> None:
    """Files are needed unless a history is drawn."""
    result = CliRunner().invoke(benchmark, arguments)

    assert isinstance(result.exception, SegdeployError)
    assert message in str(result.exception)
