"""The option `--tuned` of the commands that take what `segdeploy tune` chose."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from segdeploy.cli.tuned import tuned_option
from tests.inference.test_tuned import MODEL, write


@click.command()
@tuned_option(models="files", throughput="fast", threads="threads", every="every", preset="preset")
@click.argument("files", nargs=-1)
@click.option("--fast/--slow", default=True)
@click.option("--threads", type=int)
@click.option("--every", type=int, default=1)
@click.option("--preset")
def show(**values: object) -> None:
    """Print the values of the parameters."""
    click.echo(sorted(values.items()))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], {"every": 3, "fast": False, "files": (str(MODEL),), "preset": None, "threads": 2}),
        (
            ["a.onnx", "--every", "1", "--fast", "--preset", "slow"],
            {"every": 1, "fast": True, "files": ("a.onnx",), "preset": "slow", "threads": 2},
        ),
    ],
)
def test_settings_are_defaults_of_what_is_not_given(
    tmp_path: Path, given: list[str], expected: dict[str, object]
) -> None:
    """An option that is given as well takes precedence, whatever its place."""
    path = write(tmp_path / "tuned.toml", mode="latency", threads=2, every=3)

    for arguments in (["--tuned", str(path), *given], [*given, "--tuned", str(path)]):
        done = CliRunner().invoke(show, arguments, catch_exceptions=False)

        assert done.stdout == f"{sorted(expected.items())}\n"


def test_another_machine_is_told_on_load(tmp_path: Path) -> None:
    """What was measured elsewhere still runs."""
    path = write(tmp_path / "tuned.toml", cores=4096)

    done = CliRunner().invoke(show, ["--tuned", str(path)], catch_exceptions=False)

    assert done.exit_code == 0
    assert "with 4096 cores" in done.output


def test_without_the_option_nothing_changes() -> None:
    """Defaults stay the command's own."""
    done = CliRunner().invoke(show, [], catch_exceptions=False)

    assert "('every', 1), ('fast', True), ('files', ())" in done.stdout


@pytest.mark.parametrize("command", ["run", "benchmark", "serve"])
def test_commands_have_the_option(command: str) -> None:
    """What `tune` writes is for all of them."""
    from segdeploy.cli.main import cli

    done = CliRunner().invoke(cli, [command, "--help"], catch_exceptions=False)

    assert "--tuned" in done.stdout
