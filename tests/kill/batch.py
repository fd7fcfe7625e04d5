"""Kill workers, nodes and the driver of `segdeploy batch`, and compare with `segdeploy run`.

    python -m tests.kill.batch --model best.onnx --kills 20

Two nodes of Ray run on this machine, with a core each. Every trial is a job of its own, which is
resumed until it ends; then each input must have one row and the mask that `run` writes.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import click
import numpy as np
import psutil
from ray.cluster_utils import Cluster

from segdeploy.batch.tables import read_rows
from segdeploy.imaging.io import read_ids, write_image

VICTIMS = ("worker", "node", "driver")

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}

LONGEST = 170
"""Seconds after which a job is one that does not end."""


def command(*words: object) -> list[str]:
    """Return a command of segdeploy."""
    return [sys.executable, "-m", "segdeploy", *map(str, words)]


def write_images(folder: Path, count: int) -> None:
    """Write images of noise."""
    random = np.random.default_rng(0)
    for number in range(count):
        write_image(folder / f"{number}.png", random.integers(0, 256, (60, 80, 3), dtype=np.uint8))


def title(process: psutil.Process) -> str:
    """Return the title that Ray gives a process, or "" once it is gone."""
    try:
        return (process.cmdline() or [""])[0]
    except psutil.Error:
        return ""


def workers() -> list[psutil.Process]:
    """Return the processes of this cluster's workers; the machine may have other clusters."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if title(process).startswith("ray::Actor")
    ]


def faults(output: Path, images: Path, once: Path) -> list[str]:
    """Return what was lost, is there twice, or is broken."""
    with (output / "manifest.parquet").open("rb") as file:
        rows = [str(row["name"]) for row in read_rows(file, name="manifest")]
    names = {path.name for path in images.iterdir()}
    found = [f"lost {name}" for name in names - set(rows)]
    found += [f"twice {name}" for name in set(rows) if rows.count(name) > 1]
    for path in (output / "mask").iterdir():
        if not np.array_equal(read_ids(path), read_ids(once / "mask" / path.name[:-4])):
            found.append(f"broken {path.name}")
    written = {path.name[:-4] for path in (output / "mask").iterdir()}
    return found + [f"other files {name}" for name in written ^ names]


class Trial:
    """One job, and what is killed of it."""

    def __init__(self, cluster: Cluster, job: list[str], random: Random) -> None:
        """Prepare a job."""
        self._cluster = cluster
        self._job = job
        self._random = random

    def run(self, victim: str) -> str:
        """Run the job to its end, kill once on the way, and return what happened."""
        process = subprocess.Popen(self._job, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        end = time.monotonic() + LONGEST
        while not workers() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(self._random.uniform(0, 3))
        in_time = process.poll() is None
        self._kill(victim, process)
        process.communicate(timeout=LONGEST)
        if process.returncode:
            again = subprocess.run(
                [*self._job, "--resume"],
                check=False,
                capture_output=True,
                text=True,
                timeout=LONGEST,
            )
            if again.returncode:
                return f"--resume ended with {again.returncode}: {again.stderr[-300:]}"
        return "killed" if in_time else "was done before"

    def _kill(self, victim: str, process: "subprocess.Popen[bytes]") -> None:
        if victim == "driver":
            process.kill()
        elif victim == "worker":
            if running := workers():
                os.kill(self._random.choice(running).pid, signal.SIGKILL)
        else:
            (node, *_) = self._cluster.worker_nodes
            self._cluster.remove_node(node, allow_graceful=False)
            self._cluster.add_node(**NODE)


@click.command()
@click.option("--model", required=True, type=click.Path(path_type=Path), help="The artifact.")
@click.option("--kills", default=20, show_default=True, help="Kills of each kind.")
@click.option("--images", "count", default=120, show_default=True, help="Images of a job.")
@click.option("--seed", default=0, show_default=True, help="Seed of the moments.")
@click.option("--only", type=click.Choice(VICTIMS), multiple=True, help="What is killed.")
def main(*, model: Path, kills: int, count: int, seed: int, only: tuple[str, ...]) -> None:
    """Kill at random moments; the exit code is 1 where something was lost or broken."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    random = Random(seed)
    bad = 0
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    cluster.add_node(**NODE)
    try:
        with tempfile.TemporaryDirectory(prefix="kill-batch-") as temporary:
            images, once = Path(temporary, "images"), Path(temporary, "once")
            write_images(images, count)
            what = ("--model", model, "--save", "mask")
            subprocess.run(command("run", *what, images, "--output", once), check=True)
            for number in range(kills):
                for victim in only or VICTIMS:
                    output = Path(temporary, f"{victim}-{number}")
                    where = ("--input", images, "--output", output, "--address", cluster.address)
                    happened = Trial(cluster, command("batch", *what, *where), random).run(victim)
                    found = faults(output, images, once)
                    bad += bool(found) or happened.startswith("--resume")
                    click.echo(f"{victim} {number}: {happened}; {'; '.join(found) or 'whole'}")
    finally:
        cluster.shutdown()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
