"""Reports from their files."""

from pathlib import Path

from segdeploy.errors import DataError

from .report import Report


def read_report(path: Path) -> Report:
    """Read a report's JSON file.

    Raises:
        DataError: There is none, or it is no report of this schema.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read ({error}); name a report.json that 'segdeploy benchmark' wrote"
        raise DataError(msg) from error
    return Report.from_json(text, source=str(path))
