"""What a check found, as a sentence that says what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning"]
"""An error spoils training or its scores; a warning is to be known."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a dataset.

    Attributes:
        kind: What it is, in a word or two that stay the same from version to version, for example
            "out of range".
        severity: "error" where it would spoil training, else "warning".
        sentence: What is wrong, with the value, and what to do.
        files: The files that it is about; none where it is about a whole split.
        split: Where it was found, for example "train", or "train, val" where it lies between two;
            "" while only a file is known.
    """

    kind: str
    severity: Severity
    sentence: str
    files: tuple[Path, ...] = ()
    split: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "split": self.split,
            "files": [str(path) for path in self.files],
            "sentence": self.sentence,
        }


def error(kind: str, path: Path, sentence: str) -> Finding:
    """Make a finding about one file that spoils training."""
    return Finding(kind=kind, severity="error", sentence=sentence, files=(path,))


def warning(kind: str, path: Path, sentence: str) -> Finding:
    """Make a finding about one file that is to be known."""
    return Finding(kind=kind, severity="warning", sentence=sentence, files=(path,))


def merged(findings: Iterable[Finding], split: str) -> list[Finding]:
    """Make one finding of all of a kind, with the sentence of the first and the files of all, each once; errors come first."""
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    return [
        Finding(
            kind=kind,
            severity=severity,
            sentence=group[0].sentence,
            files=_files(group),
            split=split,
        )
        for (severity, kind), group in sorted(groups.items())
    ]


def _files(findings: Iterable[Finding]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path for finding in findings for path in finding.files))
