"""docs/performance-details.md comes from reports."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from segdeploy.benchmarks.studies.performance_page import main
from segdeploy.errors import DataError
from tests.benchmarks.results.test_report import REPORT


def test_page_is_generated_from_reports(tmp_path: Path) -> None:
    """A folder's name is the title; the values and their machine are below it."""
    place = tmp_path / "threads-and-batches" / "report.json"
    place.parent.mkdir()
    place.write_text(REPORT.to_json())

    CliRunner().invoke(
        main, [str(place), "--output", str(tmp_path / "page.md")], catch_exceptions=False
    )

    lines = (tmp_path / "page.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# All measurements",
        "## Threads and batches",
        "### Speed",
        "### Accuracy",
        "### Artifacts",
        "### Failed",
        "### Measured on",
    ]
    assert "* processor: Zen" in lines
    assert any(line.startswith("| best.onnx | 40.0 ms") for line in lines)


def test_page_quotes_what_commands_printed(tmp_path: Path) -> None:
    """Not every value comes from a report.

    The file's name is the title, without the number that sorts it.
    """
    (tmp_path / "6-masks.txt").write_text(
        "$ python -m segdeploy.benchmarks.studies.kernels\n88 times as fast\n"
    )

    CliRunner().invoke(
        main,
        [str(tmp_path / "6-masks.txt"), "--output", str(tmp_path / "page.md")],
        catch_exceptions=False,
    )

    page = (tmp_path / "page.md").read_text()
    assert (
        "## Masks\n\n```\n$ python -m segdeploy.benchmarks.studies.kernels\n88 times as fast\n```\n"
        in page
    )


def test_other_json_is_refused(tmp_path: Path) -> None:
    """A page with only some of the values would be misleading."""
    (tmp_path / "report.json").write_text("{}")

    result = CliRunner().invoke(
        main, [str(tmp_path / "report.json"), "-o", str(tmp_path / "page.md")]
    )

    assert isinstance(result.exception, DataError)
    with pytest.raises(FileNotFoundError):
        (tmp_path / "page.md").read_text()
