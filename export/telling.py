"""What an export found, for a person."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from segdeploy.parity import Parity

if TYPE_CHECKING:
    from .exporting import Made
    from .making import Artifact
    from .trial import Trial


def show(made: "Made") -> None:
    """Print what was written and how it was proven, after the candidates that it was chosen from."""
    if made.trials:
        show_trials(made.trials)
    click.echo(in_words(made.artifact))
    if made.chosen is not None and made.chosen.speed < 1:
        click.echo(f"  int8 is slower than fp32 on this machine: {made.chosen.latency:.1f} ms against {made.chosen.float_latency:.1f} ms")


def show_trials(trials: Sequence["Trial"], *, stderr: bool = False) -> None:
    """Print a table of candidates in 8 bits; to stderr where it is no result, but why there is none."""
    table = Table("candidate", box=None)
    for title in ("mIoU", "lost", "labels", "ms", "fp32's", "speed", "MB", ""):
        table.add_column(title, justify="right")
    for trial in trials:
        times = (f"{trial.latency:.1f}", f"{trial.float_latency:.1f}", f"{trial.speed:.2f}x", f"{trial.size / 1e6:.1f}")
        table.add_row(trial.name, *_scores(trial.parity), *times, "passes" if trial.parity.passed else "fails")
    Console(stderr=stderr).print(table)


def _scores(parity: Parity) -> tuple[str, str, str]:
    """Give mIoU, the points of it that are lost, and the share of equal labels; the first two only where there is truth."""
    equal = f"{parity.agreement:.2%}"
    if parity.miou is None or parity.reference_miou is None:
        return "", "", equal
    return f"{parity.miou:.2%}", f"{100 * (parity.reference_miou - parity.miou):.2f}", equal


def computed_wider(precision: str, device: str) -> bool:
    """Tell whether what answered computes a file of half precision in float32.

    Args:
        precision: The file's.
        device: What answered, as it was granted. OpenVINO tells the kind of its numbers; ONNX Runtime has no half precision on a processor
            and converts to and fro.
    """
    return precision in {"fp16", "bf16"} and device.endswith((" f32", " CPUExecutionProvider"))


def in_words(artifact: "Artifact") -> str:
    """Tell what was written and how it was proven."""
    parity = artifact.parity
    budget = f"{parity.gate:.1%}"
    if parity.max_miou_drop is not None and parity.miou is not None:
        budget = f"{100 * parity.max_miou_drop:g} points of mIoU"
    lines = [
        f"{artifact.path}  {artifact.size / 1e6:.1f} MB",
        f"  labels equal to {parity.against}'s: {parity.agreement:.4%}, near boundaries {parity.boundary_agreement:.4%} (gate {budget})",
        f"  pictures: {parity.pictures} of {parity.source}, on {artifact.device}",
    ]
    if computed_wider(artifact.card.precision, artifact.device):
        asked = artifact.card.precision
        told = f"this device computes {asked} files in float32, so that the rounding of {asked} is not in the proof"
        lines.append(f"  {told}; run 'segdeploy verify' where the file will run")
    found = [(share, label.name) for share, label in zip(parity.class_agreement, artifact.card.classes, strict=True) if share is not None]
    share, name = min(found)
    lines.append(f"  lowest of a class: {share:.4%}, {name}")
    if parity.largest_difference is not None:
        lines.append(
            f"  largest difference of {'a logit' if artifact.card.output == 'logits' else 'a probability'}: {parity.largest_difference:.2g}"
        )
    if parity.miou is not None and parity.reference_miou is not None:
        lines.append(f"  mIoU {parity.miou:.2%}, {parity.against}'s {parity.reference_miou:.2%}")
    if artifact.worst:
        lines.append(f"  where they differ: {artifact.worst[0].parent}")
    return "\n".join(lines)
