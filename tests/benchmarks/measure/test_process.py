"""What a command spends, told by its own process."""

import pytest

from segdeploy.benchmarks.measure.process import measure_command
from segdeploy.errors import SegdeployError


@pytest.mark.slow
def test_time_and_memory_of_a_command_are_told() -> None:
    """Python alone holds some megabytes and starts in some milliseconds."""
    found = measure_command(["inspect", "--help"])

    assert 0.01 < found.seconds < 60
    assert found.memory == 0 or 5e6 < found.memory < 4e9


@pytest.mark.slow
def test_command_that_fails_tells_why() -> None:
    """Time until an error would pass for a fast command."""
    with pytest.raises(SegdeployError, match=r"there is no file none\.onnx"):
        measure_command(["inspect", "none.onnx"])
