"""Finding: a problem of a dataset, as a sentence that says what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning"]
"""An error harms training or its scores; a warning does not."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem of a dataset.

    Attributes:
        kind: Short name of the problem, the same from version to version, for example
            "out of range".
        severity: "error" where it would harm training, else "warning".
        sentence: What is wrong, with the value, and what to do.
        files: The files concerned; none where it is about a whole split.
        split: Where it was found, for example "train", or "train, val" where it lies between two;
            "" while only a file is known.
    """

    kind: str
    severity: Severity
    sentence: str
    files: tuple[Path, ...] = ()
    split: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the values as `data check --json` prints them."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "split": self.split,
            "files": [str(path) for path in self.files],
            "sentence": self.sentence,
        }


def error(kind: str, path: Path, sentence: str) -> Finding:
    """Return a finding about one file that harms training."""
    return Finding(kind=kind, severity="error", sentence=sentence, files=(path,))


def warning(kind: str, path: Path, sentence: str) -> Finding:
    """Return a finding about one file that does not harm training."""
    return Finding(kind=kind, severity="warning", sentence=sentence, files=(path,))


def merge(findings: Iterable[Finding], split: str) -> list[Finding]:
    """Return one finding for all of a kind, errors first.

    It has the sentence of the first and the files of all, each once.
    """
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    return [
        Finding(
            kind=kind,
            severity=severity,
            sentence=group[0].sentence,
            files=tuple(dict.fromkeys(path for finding in group for path in finding.files)),
            split=split,
        )
        for (severity, kind), group in sorted(groups.items())
    ]
