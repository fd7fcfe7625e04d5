"""The command `segdeploy verify`."""

import json
from pathlib import Path

import click

from segdeploy.assets import name_of
from segdeploy.backends.loading import kind_of
from segdeploy.cli.console import next_step
from segdeploy.cli.options import Artifact
from segdeploy.inference.self_test import verify as check


@click.command()
@click.argument("file", type=Artifact())
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:n.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(*, file: Path, device: str, as_json: bool) -> None:
    """Check that an exported file still is, and still answers, what was exported.

    Needs no dataset.
    """
    found = check(file, kind_of(file), device=device)
    met = found.met
    if as_json:
        values = {"path": str(file), "device": found.device, "schema": found.card.schema}
        click.echo(
            json.dumps(
                {**values, "difference": met.difference, "agreement": met.agreement}, indent=2
            )
        )
    else:
        click.echo(
            f"checksum  as it was exported\ncard      schema {found.card.schema},"
            f" {found.card.architecture}"
        )
        logits = (
            "" if met.difference is None else f", logits within {met.difference:.1e} of the largest"
        )
        click.echo(
            f"answer    to the built-in image on {found.device}: {met.agreement:.2%} of the"
            f" labels{logits}"
        )
    next_step("segdeploy", "run", "--model", name_of(file), "--image", "IMAGE")
