"""The command `segdeploy inspect`."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from segdeploy.assets import name_of
from segdeploy.backends.loading import kind_of, read_card
from segdeploy.card import ModelCard
from segdeploy.cli.console import next_step
from segdeploy.cli.options import Artifact


@click.command()
@click.argument("file", type=Artifact())
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def inspect(*, file: Path, as_json: bool) -> None:
    """Show the card of an artifact: what it is, how it was trained, how it was proven."""
    card = read_card(file)
    size = file.stat().st_size
    if as_json:
        click.echo(
            json.dumps(
                {
                    "path": str(file),
                    "bytes": size,
                    "backend": kind_of(file).name,
                    "card": json.loads(card.to_json()),
                },
                indent=2,
            )
        )
        return
    table = Table(box=None, show_header=False)
    table.add_row("file", f"{file}, {size / 1e6:.1f} MB, run by {kind_of(file).name}")
    for name, text in describe(card):
        table.add_row(name, text)
    Console().print(table)
    next_step("segdeploy", "eval" if kind_of(file).name == "torch" else "verify", name_of(file))


def describe(card: ModelCard) -> Iterator[tuple[str, Text]]:
    """Put a card into words, a line for each of its parts."""
    spec = card.input
    arguments = ", ".join(f"{name} {value}" for name, value in card.arguments.items())
    size = f"{spec.height}x{spec.width} (height x width)"
    sides = f"any multiple of {spec.stride}, usually {size}" if spec.dynamic else size
    yield "network", Text(f"{card.architecture} ({arguments})" if arguments else card.architecture)
    yield (
        "input",
        Text(f"{sides}, images are {'padded' if spec.fit == 'pad' else 'stretched'} to it"),
    )
    yield (
        "output",
        Text(f"{card.output}{' with confidence' if card.confidence else ''}, {card.precision}"),
    )
    for name, value in card.conversion.items():
        yield (
            name.replace("_", " "),
            Text(f"{len(value)} nodes" if isinstance(value, list) else str(value)),
        )
    yield (
        "classes",
        Text(", ").join(
            Text(f"■ {label.name}", style=f"rgb({','.join(map(str, label.color))})")
            for label in card.classes
        ),
    )
    if card.training is not None:
        made_by = (
            f"torch {card.training.versions.get('torch', 'unknown')}, segdeploy"
            f" {card.training.versions.get('segdeploy', 'unknown')}"
        )
        yield (
            "training",
            Text(
                f"{card.training.epochs} epochs on {card.training.dataset}, seed"
                f" {card.training.seed}, {made_by}"
            ),
        )
        if card.training.split:
            yield "split", Text(card.training.split)
    if card.scores is not None:
        yield (
            "scores",
            Text(
                f"mIoU {card.scores.miou:.2%}, pixel accuracy {card.scores.pixel_accuracy:.2%},"
                f" Dice {card.scores.dice:.2%}"
            ),
        )
    if card.parity is not None:
        parity = card.parity
        answered = f", answered by {parity.device}" if parity.device else ""
        equal = f"{parity.agreement:.4%} of the labels equal to {parity.reference}"
        yield "proof", Text(f"{equal} on {parity.images} images of {parity.source}{answered}")
