"""The page of `segdeploy batch`: what a job did, how fast, and what failed."""

from collections.abc import Mapping
from typing import Any

from segdeploy.reports.html import render


def to_html(summary: Mapping[str, Any], *, model: str, output: str) -> str:
    """Return the page.

    Args:
        summary: What `Summary.to_dict` returned.
        model: Name of the artifact.
        output: Address of the results.
    """
    seconds = summary["seconds"]
    rate = summary["images_per_second"]
    facts = [
        f"{summary['segmented']:,} segmented by this job in {seconds:,.1f} s",
        f"{rate:,.2f} images per second (wall time)",
        f"first results after {summary['startup']:.1f} s",
        f"{len(summary['workers'])} workers, {summary['replaced']} replaced",
        f"model {model}",
        output,
    ]
    total = sum(summary["stages"].values()) or 1
    stages = [
        (name, (f"{spent:,.1f}", f"{spent / total:.0%}"))
        for name, spent in summary["stages"].items()
    ]
    workers = [(name, (f"{count:,}",)) for name, count in sorted(summary["workers"].items())]
    return render(
        "batch.html.j2",
        title=f"{summary['done']:,} of {summary['inputs']:,} inputs are done",
        facts=facts,
        errors=summary["errors"],
        sentences=summary["sentences"],
        stages=stages,
        workers=workers,
    )
