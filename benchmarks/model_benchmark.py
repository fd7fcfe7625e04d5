"""`segdeploy benchmark` as a function."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segdeploy.cli.option_values import option_values
from segdeploy.system.files import make_folder, temporary_folder, write_text

from .command import benchmark
from .measure.accuracy import check_classes
from .options import BenchmarkOptions
from .plan import reference_of
from .report.tables import to_markdown
from .results.report import Report
from .run import check_artifacts, make_plan, measure

WITHOUT = ("baseline", "fail_on", "history", "name", "output", "as_json")
"""Options of the command about older reports and about what it prints and names."""


def benchmark_models(
    artifacts: Path | str | Sequence[Path | str],
    *,
    output: Path | str | None = None,
    **options: Any,  # noqa: ANN401 - of the command
) -> Report:
    """Measure accuracy and latency of artifacts, and return the report.

    Each row is measured in processes of its own. A row that failed has an error and no result.

    Example:
        ```python
        report = segdeploy.benchmarks.benchmark_models(
            "best.onnx", dataset="camvid", data="camvid", images=2, runs=2, rounds=1
        )
        for row in report.rows:
            print(row.name, row.error or f"{row.result.latency.median:.1f} ms")
        ```

    Args:
        artifacts: One or several artifacts; the first checkpoint is the reference.
        output: Folder for report.json, report.md and report.html; none is written where None.
        options: Those of `segdeploy benchmark` by their names: dataset, data, split, images,
            backends, device, trust, threads, batches, sizes, runs, warm_up, rounds,
            repeat_until_stable, video, export (`--all`), with_peers, recipe and loader.

    Raises:
        ConfigError: An option is unknown, impossible, or does not fit the others.
        ModelError: A file is missing, or of an unknown kind.
        DataError: The dataset cannot be used.
        OutputError: The report cannot be written.
    """
    names = [artifacts] if isinstance(artifacts, str | Path) else list(artifacts)
    given = {**options, "artifacts": names}
    values = BenchmarkOptions(**option_values(benchmark, given, without=WITHOUT))
    check_artifacts(values.artifacts, export=values.export)
    plan = make_plan(values)
    check_classes(values.artifacts, reference_of(plan))
    if output is None:
        with temporary_folder() as folder:
            return measure(plan, values, folder, baseline=None)[0]
    # Without matplotlib it fails here, before anything is measured.
    from .report.page import to_html

    folder = Path(output)
    make_folder(folder)
    report, pairs = measure(plan, values, folder, baseline=None)
    write_text(folder / "report.json", report.to_json())
    write_text(folder / "report.md", to_markdown(report))
    write_text(folder / "report.html", to_html(report, pairs))
    return report
