"""The commands `segdeploy inspect` and `segdeploy verify`, about one file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdeploy import assets
from segdeploy.assets import short_name
from segdeploy.card import ModelCard, Training
from segdeploy.cli.console import add_row, echo, next_step, show
from segdeploy.cli.options import (
    Artifact,
    Command,
    device_option,
    json_option,
    section,
    trust_option,
)
from segdeploy.metrics.scores import Parity

if TYPE_CHECKING:
    from rich.text import Text


@click.command(cls=Command)
@click.argument("file", type=Artifact())
@section("Output", json_option("the card"))
def inspect(*, file: Path, as_json: bool) -> None:
    """Show the model card of a FILE: its network, its training, and the proof of its export."""
    from rich.table import Table

    # Help needs no arrays.
    from segdeploy.backends.loading import kind_of, read_card

    card, runtime, size = read_card(file), kind_of(file).name, file.stat().st_size
    if as_json:
        values = {
            "path": str(file),
            "bytes": size,
            "backend": runtime,
            "license": license_of(file),
            "data_terms": data_terms(card),
            "card": json.loads(card.to_json()),
        }
        echo(json.dumps(values, indent=2))
        return
    table = Table(box=None, show_header=False)
    add_row(table, "file", f"{file}, {size / 1e6:.1f} MB, run by {runtime}")
    for name, text in describe(card):
        add_row(table, name, text)
    for name, terms in data_terms(card).items():
        add_row(table, "data terms", f"{name}: {terms}")
    if license_text := license_of(file):
        add_row(table, "license", license_text)
    show(table)
    if runtime == "torch":
        next_step("segdeploy", "eval", file, extra="train")
    else:
        next_step("segdeploy", "verify", short_name(file))


def license_of(file: Path) -> str | None:
    """Return the license of a bundled network; None for other files, which do not carry any."""
    if short_name(file) == str(file):
        return None
    return f"{assets.TERMS}; see {assets.folder() / 'LICENSE'}"


def data_terms(card: ModelCard) -> dict[str, str]:
    """Return the terms of the datasets that a network was trained on, by their names."""
    from segdeploy.datasets.registry import TERMS

    if card.training is None:
        return {}
    recipe = card.training.recipe
    names = [card.training.dataset, *(recipe.get(key) for key in ("extra_dataset", "helper"))]
    unknown = "not known here; ask who made it"
    return {str(name): TERMS.get(str(name), unknown) for name in names if name}


def describe(card: ModelCard) -> Iterator[tuple[str, "Text"]]:
    """Return the name and the text of each line that describes a card."""
    from rich.text import Text

    for name, text in _describe_network(card):
        yield name, Text(text)
    yield (
        "classes",
        # The name itself stays in the terminal's color: that of the class may be black.
        Text(", ").join(
            Text.assemble(("■", f"rgb({','.join(map(str, label.color))})"), f" {label.name}")
            for label in card.classes
        ),
    )
    if card.training is not None:
        yield "training", Text(_describe_training(card.training))
        if card.training.split:
            yield "split", Text(card.training.split)
    if card.scores is not None:
        scores = (
            f"mIoU {card.scores.miou:.2%}, pixel accuracy {card.scores.pixel_accuracy:.2%},"
            f" Dice {card.scores.dice:.2%}"
        )
        yield "scores", Text(scores)
    if card.parity is not None:
        yield "proof", Text(_describe_proof(card.parity))


def _describe_network(card: ModelCard) -> Iterator[tuple[str, str]]:
    spec = card.input
    arguments = ", ".join(f"{name} {value}" for name, value in card.arguments.items())
    yield "network", f"{card.architecture} ({arguments})" if arguments else card.architecture
    size = f"{spec.height}x{spec.width} (height x width)"
    sides = f"any multiple of {spec.stride}, usually {size}" if spec.dynamic else size
    yield "input", f"{sides}, images are {'padded' if spec.fit == 'pad' else 'stretched'} to it"
    confidence = " with confidence" if card.confidence else ""
    yield "output", f"{card.output}{confidence}, {card.precision}"
    for name, value in card.conversion.items():
        text = f"{len(value)} nodes" if isinstance(value, list) else str(value)
        yield name.replace("_", " "), text


def _describe_training(training: Training) -> str:
    versions = ", ".join(
        f"{name} {training.versions.get(name, 'unknown')}" for name in ("torch", "segdeploy")
    )
    return f"{training.epochs} epochs on {training.dataset}, seed {training.seed}, {versions}"


def _describe_proof(parity: Parity) -> str:
    equal = f"{parity.agreement:.4%} of the labels equal to {parity.reference}"
    device = f", run by {parity.device}" if parity.device else ""
    return f"{equal} on {parity.images} images of {parity.source}{device}"


@click.command(cls=Command)
@click.argument("file", type=Artifact())
@section("Verification", device_option, trust_option, json_option("the result"))
def verify(*, file: Path, device: str, trust: bool, as_json: bool) -> None:
    """Check that an exported FILE is unchanged, and that its output is that of the export.

    Needs no dataset.
    """
    from segdeploy.backends.loading import kind_of
    from segdeploy.inference import self_test

    verified = self_test.verify(file, kind_of(file), device=device, trust=trust)
    result, card = verified.result, verified.card
    if as_json:
        values = {
            "path": str(file),
            "device": verified.device,
            "schema": card.schema,
            "difference": result.difference,
            "agreement": result.agreement,
        }
        echo(json.dumps(values, indent=2))
    else:
        echo("checksum  unchanged since the export")
        echo(f"card      schema {card.schema}, {card.architecture}")
        labels = f"{result.agreement:.2%} of the labels equal"
        logits = (
            ""
            if result.difference is None
            else f", largest difference {result.difference:.1e} of the largest logit"
        )
        echo(f"output    of the built-in image on {verified.device}: {labels}{logits}")
    next_step("segdeploy", "run", "--model", short_name(file), "IMAGE")
