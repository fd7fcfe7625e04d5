"""Training throughput beside that of the network alone and of a plain PyTorch loop.

`python -m segdeploy.train.throughput RECIPE`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click

from segdeploy.cli.console import echo, note, progress
from segdeploy.cli.main import invoke
from segdeploy.cli.options import (
    Command,
    json_option,
    option,
    options,
    plugin_option,
    section,
)
from segdeploy.datasets.registry import layout
from segdeploy.errors import DataError
from segdeploy.system.concurrency import process_context
from segdeploy.system.machine import describe_machine
from segdeploy.system.plugins import LOADED, load_plugin

from .recipe import Recipe
from .recipe_file import read_recipe, with_overrides

Run = Callable[[Recipe, int], float]
"""Trains a number of steps and returns images per second."""

LIMIT, HALF_LIMIT = "network in float32", "network in half precision"
OURS, PLAIN = "whole loop", "plain loop"


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Throughput of one loop.

    Attributes:
        rate: Images per second, the median of the rounds.
        rounds: Images per second in each round.
    """

    rate: float
    rounds: tuple[float, ...]


def run_limit(recipe: Recipe, steps: int) -> float:
    """Train the network alone on one batch in memory, in float32."""
    from .throughput_loops import limit

    return limit(recipe, steps, half=False)


def run_half_limit(recipe: Recipe, steps: int) -> float:
    """Train the network alone on one batch in memory, in the device's half precision."""
    from .throughput_loops import limit

    return limit(recipe, steps, half=True)


def run_ours(recipe: Recipe, steps: int) -> float:
    """Train as `segdeploy train` does."""
    from .throughput_loops import whole_loop

    return whole_loop(recipe, steps)


def run_plain(recipe: Recipe, steps: int) -> float:
    """Train as PyTorch tutorials do."""
    from .throughput_loops import PLAIN_WORKERS, WARM_UP, plain_loop

    files = layout(recipe.dataset).index(Path(recipe.data), "train").dataset()
    return plain_loop(recipe, files, steps, warm_up=max(WARM_UP, 2 * PLAIN_WORKERS))


RUNS: Mapping[str, Run] = {
    LIMIT: run_limit,
    HALF_LIMIT: run_half_limit,
    OURS: run_ours,
    PLAIN: run_plain,
}


def measure(
    recipe: Recipe,
    runs: Mapping[str, Run],
    *,
    steps: int,
    rounds: int,
    on_step: Callable[[str], None],
) -> dict[str, Throughput]:
    """Train with every loop in turn, each turn in a process of its own.

    Args:
        recipe: What to train.
        runs: The loops by their names.
        steps: Timed steps of each turn.
        rounds: Turns of each loop.
        on_step: Called with the name of a loop after each turn.
    """
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            with ProcessPoolExecutor(
                1, process_context("spawn"), initializer=load_all, initargs=(tuple(LOADED),)
            ) as pool:
                rates[name].append(pool.submit(run, recipe, steps).result())
            on_step(name)
    return {
        name: Throughput(rate=median(values), rounds=tuple(values))
        for name, values in rates.items()
    }


def load_all(plugins: Sequence[str]) -> None:
    """Load the plugins of the command in a new process."""
    for name in plugins:
        load_plugin(name)


def ratios(throughputs: Mapping[str, Throughput]) -> dict[str, float]:
    """Return the throughput of our loop by the limit, and by that of the plain loop if it is there.

    Each is the median of the rounds' ratios: what else the machine does changes from round to
    round. The limit is the network in the precision that is faster.
    """
    limits = [throughputs[name] for name in (LIMIT, HALF_LIMIT) if name in throughputs]
    others = {"limit": max(limits, key=lambda limit: limit.rate)}
    if PLAIN in throughputs:
        others[PLAIN] = throughputs[PLAIN]
    ours = throughputs[OURS].rounds
    return {
        name: median(one / two for one, two in zip(ours, other.rounds, strict=True))
        for name, other in others.items()
    }


@dataclass(frozen=True, kw_only=True)
class ThroughputOptions:
    """Options of the command.

    Attributes:
        recipe: TOML file or name of a bundled recipe.
        data: Folder of the dataset; "" for the recipe's.
        overrides: Values of the recipe as "KEY=VALUE".
        steps: Timed steps of each turn.
        rounds: Turns of each loop.
        no_plain: Whether the plain loop is left out.
        as_json: Whether the values are printed as JSON.
    """

    recipe: str
    data: str
    overrides: tuple[str, ...]
    steps: int
    rounds: int
    no_plain: bool
    as_json: bool


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe")
@section(
    "Recipe",
    option("--data", default="", show_default=False, help="Folder of the dataset."),
    option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Any value of the recipe; may be repeated.",
    ),
)
@section(
    "Measurement",
    option("--steps", default=20, type=click.IntRange(min=1), help="Timed steps of each turn."),
    option("--rounds", default=3, type=click.IntRange(min=1), help="Turns of each loop."),
    option(
        "--no-plain",
        is_flag=True,
        help="Leave the plain loop out; it needs a dataset that lies in files.",
    ),
)
@section("Output", json_option("the values"))
@plugin_option
@options(ThroughputOptions)
def speed(options: ThroughputOptions) -> None:
    """Measure how fast a recipe trains.

    The whole loop is compared with the network alone, on one batch in memory and with plain cross
    entropy, in the faster of float32 and half precision, and with the loop of PyTorch tutorials.

    The whole loop decodes every image, as in a first epoch; later epochs take from memory what
    fits into `memory`. Validation is not timed. The plain loop trains in single precision and
    default memory layout, with Pillow, four workers and torchvision's transforms.
    """
    overrides = [*([f"data={options.data}"] if options.data else []), *options.overrides]
    values = with_overrides(read_recipe(options.recipe), overrides)
    recipe = Recipe.from_dict(values, source=options.recipe)
    if not options.no_plain and not recipe.data:
        msg = (
            f"{recipe.dataset} does not lie in files, which the plain loop reads; give --data, or"
            " leave it out with --no-plain"
        )
        raise DataError(msg)
    runs = choose_runs(recipe, plain=not options.no_plain)
    with progress("training", options.rounds * len(runs)) as on_step:
        throughputs = measure(
            recipe, runs, steps=options.steps, rounds=options.rounds, on_step=on_step
        )
    report(recipe, throughputs, options)


def choose_runs(recipe: Recipe, *, plain: bool) -> dict[str, Run]:
    """Return the loops to compare; half precision only where the device computes it.

    Args:
        recipe: Its device.
        plain: Whether the plain loop is among them.
    """
    from segdeploy.backends.pytorch import choose_device, half_precision

    left_out = set() if plain else {PLAIN}
    if half_precision(choose_device(recipe.device)) is None:
        left_out.add(HALF_LIMIT)
    return {name: run for name, run in RUNS.items() if name not in left_out}


def report(
    recipe: Recipe, throughputs: Mapping[str, Throughput], options: ThroughputOptions
) -> None:
    """Print the throughputs as lines or as JSON."""
    machine = describe_machine()
    height, width = recipe.train_size
    note(
        f"{recipe.model}, batch {recipe.batch} of {height}x{width}, {options.steps} steps,"
        f" {options.rounds} rounds, {machine.processor}"
    )
    if options.as_json:
        values = {
            "recipe": recipe.to_dict(),
            "steps": options.steps,
            "machine": asdict(machine),
            "ways": {name: asdict(value) for name, value in throughputs.items()},
            "ratios": ratios(throughputs),
        }
        echo(json.dumps(values))
        return
    for name, value in throughputs.items():
        echo(f"{name:25s} {value.rate:8.1f} images/s")
    for name, ratio in ratios(throughputs).items():
        echo(f"the whole loop is {ratio:.2f} of the {name}")


if __name__ == "__main__":
    invoke(speed, name="python -m segdeploy.train.throughput")
