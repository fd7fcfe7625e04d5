"""The command `segdeploy benchmark`."""

import click

from segdeploy.cli.options import Command, options

from .options import BenchmarkOptions, benchmark_options


@click.command(cls=Command)
@benchmark_options
@options(BenchmarkOptions)
def benchmark(options: BenchmarkOptions) -> None:
    """Measure accuracy and latency of ARTIFACTS, and write a report.

    They are compared with the first checkpoint among them. Each row (an artifact with a runtime,
    threads, a batch and a size) is measured in processes of its own, rows taking turns. The exit
    code is 1 if a row failed (the others are reported), and 6 if one is worse than --fail-on
    allows.
    """
    # `--help` imports nothing that measures.
    from .run import run_benchmark

    run_benchmark(options)
