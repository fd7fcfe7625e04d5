"""`segdeploy models`: the networks, as a table and as JSON."""

import json

import pytest
from click.testing import CliRunner

from segdeploy.cli.models import models, print_costs
from segdeploy.models.complexity import Complexity
from segdeploy.models.registry import names


@pytest.mark.slow
def test_json_lists_every_network() -> None:
    """A program may choose from it."""
    result = CliRunner().invoke(models, ["--json"])

    rows = json.loads(result.output)
    assert [row["name"] for row in rows] == names()
    assert all(row["parameters"] > 0 for row in rows)


def test_table_has_a_row_for_each_network(capsys: pytest.CaptureFixture[str]) -> None:
    fast = Complexity(parameters=1_137_795, gflops=3.357, height=512, width=1024, stride=8)

    print_costs({"fast": fast})

    title, row = capsys.readouterr().out.splitlines()
    assert title.split() == ["name", "parameters", "GFLOPs", "at", "512x1024", "stride"]
    assert row.split() == ["fast", "1,137,795", "3.4", "8"]
