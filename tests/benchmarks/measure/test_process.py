"""Functions and commands in fresh processes: results, reasons of failures, resources."""

import json
from pathlib import Path

import pytest

from segdeploy.benchmarks.measure.process import (
    exit_reason,
    measure_command,
    respond,
    run_command,
    run_in_process,
)
from segdeploy.errors import ModelError, SegdeployError


@pytest.mark.parametrize(
    ("code", "errors", "reason"),
    [
        (-9, "", "its process was killed; the machine may have run out of memory"),
        (-11, "", "its process was ended by signal 11"),
        (1, "Traceback ...\nValueError: too odd\n", "its process failed: ValueError: too odd"),
        (3, "", "its process failed: exit code 3"),
    ],
)
def test_exit_of_a_process_is_explained_in_a_sentence(code: int, errors: str, reason: str) -> None:
    """A crash of one runtime is a row that fails, not the end of the others."""
    assert exit_reason(code, errors) == reason


def test_response_is_a_result_or_a_reason(tmp_path: Path) -> None:
    """An error of ours is a response; any other one is a crash that the parent process explains."""
    request, response = tmp_path / "request.json", tmp_path / "response.json"
    request.write_text('{"number": 3}')

    def refuse(values: object) -> dict[str, int]:
        raise ModelError("no card")  # noqa: EM101, TRY003

    respond(lambda values: {"twice": 2 * values["number"]}, request, response)
    assert json.loads(response.read_text()) == {"twice": 6}

    respond(refuse, request, response)
    assert json.loads(response.read_text()) == {"error": "no card"}


@pytest.mark.slow
def test_request_that_a_function_does_not_understand_is_refused() -> None:
    """The key that is missing is named."""
    response = run_in_process("measure.worker:respond", {"what": 1})

    assert response == "the key 'variant' is missing"


@pytest.mark.slow
def test_time_and_memory_of_a_command_are_measured() -> None:
    """Python alone needs some megabytes and starts in some milliseconds."""
    usage = measure_command(["inspect", "--help"])

    assert 0.01 < usage.seconds < 60
    assert usage.memory == 0 or 5e6 < usage.memory < 4e9


@pytest.mark.slow
def test_command_that_fails_says_why() -> None:
    """The time until an error would look like a fast command."""
    with pytest.raises(SegdeployError, match=r"there is no file none\.onnx"):
        measure_command(["inspect", "none.onnx"])


def test_command_that_takes_too_long_is_ended() -> None:
    """A search that has promised to end in time relies on it."""
    with pytest.raises(SegdeployError, match="it took longer than 0 s"):
        run_command(["-c", "import time; time.sleep(60)"], timeout=0.1)
