"""What other commands do for a benchmark: exports, and their speeds."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from segdeploy.backends.loading import KINDS
from segdeploy.benchmarks.measure.subcommands import (
    FORMS,
    call,
    export_all,
    loading_speed,
    training_speed,
)
from segdeploy.benchmarks.results.row import ExternalResult
from segdeploy.errors import DataError, SegdeployError
from segdeploy.system.schema import convert

SPEEDS = {
    "samples": 12,
    "imgsz": [90, 120],
    "machine": {"cores": 2},
    "ways": {"read": {"median": 1.25, "note": "x"}, "cached": {"rate": 800}},
}


def test_every_format_is_exported_and_a_failure_is_a_row(tmp_path: Path) -> None:
    """A missing library does not prevent measuring the others."""
    calls: list[list[str]] = []

    def run(arguments: Sequence[str]) -> str:
        calls.append(list(arguments))
        if "int8" in arguments:
            message = "the mIoU fell by 3 points"
            raise SegdeployError(message)
        return ""

    reported: list[str] = []
    made, failed = export_all(
        Path("x/best.pt"),
        tmp_path / "made",
        dataset="camvid",
        data=Path("d"),
        on_file=reported.append,
        run=run,
    )

    known = [
        f"best{'' if precision == 'fp32' else f'-{precision}'}{ending}"
        for _, ending, precision in FORMS
        if ending in KINDS
    ]
    assert reported == known
    assert [path.name for path in made] == [name for name in known if "int8" not in name]
    assert [(row.name, row.error) for row in failed] == [
        (name, "the mIoU fell by 3 points") for name in known if "int8" in name
    ]
    assert calls[0] == [
        "segdeploy",
        "export",
        "x/best.pt",
        "--format",
        "onnx",
        "--precision",
        "fp32",
        "--output-file",
        str(tmp_path / "made" / "best.onnx"),
        "--dataset",
        "camvid",
        "--data",
        "d",
    ]


def test_speeds_of_other_commands_are_tables() -> None:
    """Numbers and texts are in one line, each variant in a row, and a missing value is a dash."""
    calls: list[list[str]] = []

    def run(arguments: Sequence[str]) -> str:
        calls.append(list(arguments))
        return json.dumps(SPEEDS)

    reading, training = (
        loading_speed(Path("d"), "camvid", run),
        training_speed("recipe.toml", None, run),
    )

    assert calls == [
        ["segdeploy", "data", "speed", "d", "--dataset", "camvid", "--json"],
        ["segdeploy.train.throughput", "recipe.toml", "--json", "--no-plain"],
    ]
    assert reading.hint == "samples 12, imgsz [90, 120]"
    assert reading.columns == ["median", "rate"]
    assert training.rows == [("read", ["1.25", "–"]), ("cached", ["–", "800"])]
    assert (
        convert(json.loads(json.dumps(vars(reading))), ExternalResult, refuse=DataError) == reading
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ways": [1]}'])
def test_output_without_a_table_is_refused(text: str) -> None:
    """The other command may be of another version."""
    with pytest.raises(SegdeployError, match="Loading speed printed no measurements"):
        ExternalResult.read("Loading speed", text)


@pytest.mark.slow
def test_call_raises_the_message_of_a_command() -> None:
    """The sentence already says what to do."""
    with pytest.raises(SegdeployError, match=r"^there is no file nowhere\.pt"):
        call(["segdeploy", "inspect", "nowhere.pt"])
    assert "segdeploy" in call(["segdeploy", "--version"])
