"""How fast training is beside its own limit and beside a plain loop.

`python -m segdeploy.train.throughput RECIPE`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import click

from segdeploy.cli.console import note, progress
from segdeploy.cli.main import invoke
from segdeploy.cli.options import plugin_option
from segdeploy.datasets.registry import layout
from segdeploy.errors import DataError
from segdeploy.system.machine import survey
from segdeploy.system.plugins import LOADED, load_plugin

from .recipe import Recipe, read_recipe, with_overrides

Way = Callable[[Recipe, int], float]
"""Trains so many steps and gives images a second."""

LIMIT, OURS, PLAIN = "bare steps", "whole loop", "plain loop"


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """How fast one way of training is.

    Attributes:
        rate: Images a second, the median of the rounds.
        rounds: Images a second in each round.
    """

    rate: float
    rounds: tuple[float, ...]


def bare(recipe: Recipe, steps: int) -> float:
    """Repeat the step on one batch in memory."""
    from .throughput_loops import bare_steps

    return bare_steps(recipe, steps)


def whole(recipe: Recipe, steps: int) -> float:
    """Train as `segdeploy train` does."""
    from .throughput_loops import whole_loop

    return whole_loop(recipe, steps)


def plain(recipe: Recipe, steps: int) -> float:
    """Train as tutorials do."""
    from .throughput_loops import SETTLED, WORKERS, plain_loop

    files = layout(recipe.dataset).survey(Path(recipe.data), "train").dataset()
    return plain_loop(recipe, files, steps, untimed=max(SETTLED, 2 * WORKERS))


WAYS: Mapping[str, Way] = {LIMIT: bare, OURS: whole, PLAIN: plain}


def measure(
    recipe: Recipe,
    ways: Mapping[str, Way],
    *,
    steps: int,
    rounds: int,
    on_step: Callable[[str], None],
) -> dict[str, Throughput]:
    """Train in every way by turns, each turn in a process of its own, since ways in one process would disturb each other.

    Args:
        recipe: What to train.
        ways: How.
        steps: Steps that are timed in each turn.
        rounds: How often each way has its turn.
        on_step: Called with the way's name after each turn.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            with ProcessPoolExecutor(
                1, get_context("spawn"), initializer=load_all, initargs=(tuple(LOADED),)
            ) as fresh:
                rates[name].append(fresh.submit(way, recipe, steps).result())
            on_step(name)
    return {
        name: Throughput(rate=median(found), rounds=tuple(found)) for name, found in rates.items()
    }


def load_all(plugins: Sequence[str]) -> None:
    """Load what the command was told to load."""
    for name in plugins:
        load_plugin(name)


def ratios(throughputs: Mapping[str, Throughput]) -> dict[str, float]:
    """Return how fast the whole loop is beside each other way."""
    return {
        name: throughputs[OURS].rate / pace.rate
        for name, pace in throughputs.items()
        if name != OURS
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe")
@click.option("--data", default="", help="Folder of the dataset.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Any value of the recipe."
)
@click.option(
    "--steps",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="Steps that are timed in each turn.",
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often each way has its turn.",
)
@click.option(
    "--no-plain",
    is_flag=True,
    help="Leave the plain loop out; datasets that lie in no files have none.",
)
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def speed(
    *,
    recipe: str,
    data: str,
    overrides: Sequence[str],
    steps: int,
    rounds: int,
    no_plain: bool,
    as_json: bool,
) -> None:
    """Measure how fast a recipe trains.

    The whole loop, the same steps on one batch in memory, and the loop that people write.

    Nothing was read before, so that the whole loop decodes every image; in later epochs it has
    what fits into `memory`. Validation is not timed. The plain loop is in single precision and
    default layout, with Pillow, four workers and torchvision's transforms.
    """
    values = with_overrides(read_recipe(recipe), [*([f"data={data}"] if data else []), *overrides])
    chosen = Recipe.from_dict(values, source=recipe)
    if not no_plain and not chosen.data:
        msg = (
            f"{chosen.dataset} lies in no files, and the plain loop reads files; name --data, or"
            " leave it out with --no-plain"
        )
        raise DataError(msg)
    ways = {name: way for name, way in WAYS.items() if name != PLAIN or not no_plain}
    with progress("training", rounds * len(ways)) as on_step:
        throughputs = measure(chosen, ways, steps=steps, rounds=rounds, on_step=on_step)
    machine = survey()
    note(
        f"{chosen.model}, batch {chosen.batch} of {chosen.seen[0]}x{chosen.seen[1]}, {steps} steps,"
        f" {rounds} rounds, {machine.processor}"
    )
    if as_json:
        found = {name: asdict(pace) for name, pace in throughputs.items()}
        answer = {
            "recipe": chosen.to_dict(),
            "steps": steps,
            "machine": machine.to_dict(),
            "ways": found,
            "ratios": ratios(throughputs),
        }
        click.echo(json.dumps(answer))
        return
    for name, pace in throughputs.items():
        beside = (
            "" if name == OURS else f"  (the whole loop is {ratios(throughputs)[name]:.2f} of it)"
        )
        click.echo(f"{name:12s} {pace.rate:8.1f} images/s{beside}")


if __name__ == "__main__":
    invoke(speed, name="python -m segdeploy.train.throughput")
