"""One run of `segdeploy benchmark`: baseline, plan, measurements, report."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segdeploy.backends.loading import kind_of
from segdeploy.cli.console import echo, note, progress
from segdeploy.datasets.registry import resolve_for_card
from segdeploy.errors import ConfigError, SegdeployError
from segdeploy.installation import find_installation
from segdeploy.system.files import temporary_folder, write_text
from segdeploy.system.machine import describe_machine
from segdeploy.system.runs import result_folder
from segdeploy.video.reader import VideoSource

from .gate import CheckResult, Limit, check_gate, check_limits, check_plan, gate, parse_limits
from .measure.accuracy import Pair, check_classes, first_card
from .measure.peers import available_peers
from .measure.rounds import PROCESSES
from .measure.subcommands import export_all, loading_speed, training_speed
from .options import BenchmarkOptions
from .plan import CHECKPOINT, Plan, reference_of, run_plan, variants_of
from .report.history import read_history
from .report.tables import summary, to_markdown
from .results.report import Report, Row, read_report


def run_benchmark(options: BenchmarkOptions) -> None:
    """Measure what the options name, write the report, and print a summary.

    Raises:
        ConfigError: The options do not go together.
        GateError: A limit was exceeded.
        SegdeployError: A row failed.
    """
    if options.name is not None and options.output is not None:
        msg = (
            "--output is the folder itself; leave out --name, which names one below runs/benchmark"
        )
        raise ConfigError(msg)
    if options.history is not None:
        write_history(options.history, options.output or options.history)
        return
    # Without matplotlib it fails here, before anything is measured.
    from .report.page import to_html

    baseline, limits = read_baseline(options)
    check_artifacts(options.artifacts, export=options.export)
    plan = make_plan(options)
    check_classes(options.artifacts, reference_of(plan))
    name = options.name or options.artifacts[0].stem
    with result_folder("benchmark", name, output=options.output) as folder:
        report, pairs = measure(plan, options, folder, baseline=baseline)
        write_text(folder / "report.json", report.to_json())
        write_text(folder / "report.md", to_markdown(report))
        write_text(folder / "report.html", to_html(report, pairs))
    if options.as_json:
        echo(report.to_json(), nl=False)
    else:
        echo(f"{summary(report)}\nreport: {folder / 'report.html'}")
    for warning in report.warnings:
        note(f"warning: {warning}")
    check_results(report, () if baseline is None else gate(report, baseline, limits))


def write_history(folder: Path, target: Path) -> None:
    """Draw the reports below a folder over time, into history.html of a folder.

    Raises:
        DataError: There is no report.
    """
    from .report.history import to_html

    reports, left_out = read_history(folder)
    for reason in left_out:
        note(f"left out: {reason}")
    write_text(target / "history.html", to_html(reports, left_out))
    echo(target / "history.html")


def read_baseline(options: BenchmarkOptions) -> tuple[Report | None, tuple[Limit, ...]]:
    """Read the baseline and the limits, and check that they fit together and this machine.

    Raises:
        ConfigError: One was named without the other, or a limit cannot be checked here.
        DataError: The baseline cannot be read.
    """
    if (options.baseline is None) != (options.fail_on is None):
        msg = (
            "--baseline and --fail-on belong together: an older report.json, and how much worse"
            " than it is an error"
        )
        raise ConfigError(msg)
    if options.baseline is None or options.fail_on is None:
        return None, ()
    limits = parse_limits(options.fail_on)
    baseline = read_report(options.baseline)
    check_limits(baseline, describe_machine(), limits)
    return baseline, limits


def check_artifacts(artifacts: Sequence[Path], *, export: bool) -> None:
    """Refuse what cannot be measured, before anything is measured.

    Raises:
        ConfigError: Nothing was named, or no checkpoint to export.
        ModelError: A file is missing, or of an unknown kind.
    """
    if not artifacts:
        msg = "name the files to measure, as in: segdeploy benchmark best.pt best.onnx"
        raise ConfigError(msg)
    for path in artifacts:
        kind_of(path)
    if export and not any(path.suffix == CHECKPOINT for path in artifacts):
        msg = (
            f"--all exports a checkpoint, and none of {', '.join(map(str, artifacts))} is one; name"
            f" a {CHECKPOINT} file too"
        )
        raise ConfigError(msg)


def make_plan(options: BenchmarkOptions) -> Plan:
    """Return the plan of the options, with the dataset that the first artifact was trained on.

    Raises:
        SegdeployError: The video or the dataset cannot be used, or a file is named twice.
    """
    if options.video is not None:
        VideoSource(options.video).close()
    dataset, data = options.dataset, options.data
    if dataset is None or data is None:
        dataset, data = resolve_for_card(first_card(options.artifacts), dataset, data=data)
    if options.loader and data is None:
        msg = (
            f"--loader reads a folder, and {dataset} is drawn; name a dataset of files with"
            " --dataset and --data"
        )
        raise ConfigError(msg)
    plan = Plan(
        artifacts=options.artifacts,
        backends=options.backends or ("auto",),
        device=options.device,
        trust=options.trust,
        threads=options.threads or (None,),
        batches=options.batches,
        sizes=options.sizes or (None,),
        peers=peers_for(options.artifacts) if options.with_peers else (),
        dataset=dataset,
        data=data,
        split=options.split,
        images=options.images,
        runs=options.runs,
        warm_up=options.warm_up,
        rounds=options.rounds,
        until_stable=options.repeat_until_stable,
        video=options.video,
    )
    # It refuses a file that is named twice.
    variants_of(plan)
    return plan


def peers_for(artifacts: Sequence[Path]) -> tuple[str, ...]:
    """Return the names of the peers for some artifacts, and say which libraries are missing."""
    installed, missing = available_peers({path.suffix for path in artifacts})
    if missing:
        note(
            f"left out, since they are not installed: {', '.join(missing)};"
            f" {find_installation().command('peers')} installs them"
        )
    return tuple(installed)


def measure(
    plan: Plan, options: BenchmarkOptions, folder: Path, *, baseline: Report | None
) -> tuple[Report, tuple[Pair, ...]]:
    """Export what is to be exported, and measure everything.

    Returns:
        The report, and the images that differ most.
    """
    failed: list[Row] = []
    if options.export:
        plan, failed = with_exports(plan, folder / "artifacts")
    if baseline is not None:
        check_plan(baseline, plan, failed=[row.name for row in failed])
    external = [training_speed(options.recipe, plan.data)] if options.recipe else []
    if options.loader and plan.data is not None:
        external.append(loading_speed(plan.data, plan.dataset))
    steps = len(variants_of(plan)) * (plan.rounds + (plan.video is not None))
    with (
        temporary_folder() as work,
        progress("measuring", steps) as step,
    ):
        report, pairs = run_plan(plan, work, workers=PROCESSES, on_step=step)
    return replace(report, rows=(*report.rows, *failed), external=tuple(external)), pairs


def with_exports(plan: Plan, folder: Path) -> tuple[Plan, list[Row]]:
    """Return a plan with every format of each checkpoint, and a row for each failed export."""
    checkpoints = [path for path in plan.artifacts if path.suffix == CHECKPOINT]
    artifacts, failed = list(plan.artifacts), []
    with progress("exporting", None) as step:
        for number, checkpoint in enumerate(checkpoints):
            target = folder if len(checkpoints) == 1 else folder / str(number)
            files, rows = export_all(
                checkpoint, target, dataset=plan.dataset, data=plan.data, on_file=step
            )
            artifacts += files
            failed += rows
    return replace(plan, artifacts=tuple(artifacts)), failed


def check_results(report: Report, results: Sequence[CheckResult]) -> None:
    """Print the result of each limit, and raise an error for the worst of them.

    Raises:
        GateError: A limit was exceeded.
        SegdeployError: A row failed.
    """
    for result in results:
        note(f"{result.state}: {result.sentence}")
    check_gate(results)
    if report.failed:
        reasons = "; ".join(f"{row.name}: {row.error}" for row in report.failed)
        msg = (
            f"{len(report.failed)} of {len(report.rows)} artifacts failed ({reasons}); the report"
            " has the others"
        )
        raise SegdeployError(msg)
