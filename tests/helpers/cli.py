"""Commands as a user types them."""

from pathlib import Path

from segdeploy.cli.main import main


def run_cli(*arguments: str | Path) -> int:
    """Call a command in this process, return its exit code: `run_cli("run", "--image", path)`."""
    try:
        main([*map(str, arguments)])
    except SystemExit as error:
        return int(error.code or 0)
    return 0
