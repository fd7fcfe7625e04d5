"""The command `segdeploy doctor`."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from segdeploy.cli.console import next_step
from segdeploy.errors import SegdeployError
from segdeploy.system.machine import POOLS, survey
from segdeploy.system.runs import RUNS

NEEDED = ("numpy", "cv2", "PIL", "av", "onnxruntime")
"""What a mask needs; an installed library can still miss one of the system's, as OpenCV does
without libGL."""

ENCODER = "libx264"

ASK_TORCH = """
import json, torch
found = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
print(json.dumps({"cuda": torch.version.cuda, "devices": found}))
"""


@click.command()
@click.option(
    "--torch",
    "ask_torch",
    is_flag=True,
    help="Start PyTorch too, and list its devices; takes seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def doctor(*, ask_torch: bool, as_json: bool) -> None:
    """Show versions, devices and the cores that may be used."""
    found = examine()
    if ask_torch:
        found["torch"] = torch_devices()
    click.echo(json.dumps(found, indent=2) if as_json else as_text(describe(found)))
    if found["broken"]:
        msg = (
            f"cannot import {', '.join(found['broken'])}; mend the installation: pip install"
            " --force-reinstall segdeploy"
        )
        raise SegdeployError(msg)
    next_step("segdeploy", "train", "streets-demo")


def examine() -> dict[str, Any]:
    """Find out everything that can be found out in a moment."""
    machine, broken = survey().to_dict(), broken_imports(NEEDED)
    return {
        "versions": machine.pop("versions"),
        "machine": machine,
        "pools": {name: os.environ.get(name) for name in POOLS},
        "broken": broken,
        "providers": {} if "onnxruntime" in broken else providers(),
        "h264": "av" not in broken and has_encoder(ENCODER),
        "runs": str(RUNS.absolute()),
    }


def broken_imports(names: Sequence[str]) -> dict[str, str]:
    """Import each library, and give the reason for each that cannot be."""
    reasons = {}
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            reasons[name] = str(error)
    return reasons


def providers() -> Mapping[str, bool]:
    """Return which of ONNX Runtime's providers are granted; only asked where it can be imported."""
    from segdeploy.backends.onnx_runtime import granted_providers

    return granted_providers()


def has_encoder(name: str) -> bool:
    """Return whether PyAV carries an encoder; only asked where it can be imported."""
    import av

    return name in av.codecs_available


def torch_devices() -> dict[str, Any]:
    """Ask PyTorch for its devices, in a process of its own.

    A broken installation is an answer too.
    """
    asked = subprocess.run(
        [sys.executable, "-P", "-c", ASK_TORCH], capture_output=True, text=True, check=False
    )  # noqa: S603 - a text of ours
    if asked.returncode:
        lines = asked.stderr.strip().splitlines()
        return {"error": lines[-1] if lines else f"exit code {asked.returncode}"}
    answer: dict[str, Any] = json.loads(asked.stdout)
    return answer


def as_text(sections: Mapping[str, Mapping[str, str]]) -> str:
    """Lay lines out in two columns, under the name of their section."""
    width = 2 + max(len(name) for lines in sections.values() for name in lines)
    return "\n".join(
        f"{title}\n" + "\n".join(f"  {name:{width}}{value}" for name, value in lines.items())
        for title, lines in sections.items()
    )


def describe(found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Turn what was found into lines for a person, by section."""
    machine, versions = found["machine"], dict(found["versions"])
    memory = (
        "not told" if machine["memory"] is None else f"{machine['memory'] / 1e9:.1f} GB may be used"
    )
    load = "not told" if machine["load"] is None else f"{machine['load']:.2f}"
    broken = {"cannot be imported": found["broken"]} if found["broken"] else {}
    return {
        "versions": (
            versions
            | {
                "torch": versions.get(
                    "torch",
                    "not installed; needed to train and export: pip install 'segdeploy[export]'",
                )
            }
        ),
        **broken,
        "machine": {
            "processor": machine["processor"],
            "system": machine["system"],
            "cores": (
                f"{machine['cores']} of {machine['host_cores']} may be used; a network takes as"
                " many threads"
            ),
            "multiplies": (
                f"with {', '.join(machine['features'])}"
                if machine["features"]
                else "not told by the system"
            ),
            "memory": memory,
            "load": load,
        },
        "threads of numpy's BLAS": {
            name: value or "not set: a second pool competes with the network's"
            for name, value in found["pools"].items()
        },
        "ONNX Runtime": {
            name: "granted" if granted else "built in, but not granted"
            for name, granted in found["providers"].items()
        },
        "PyTorch": _torch(found.get("torch"), installed="torch" in versions),
        "video": {
            "H.264": (
                f"written by {ENCODER}"
                if found["h264"]
                else f"cannot be written: this PyAV has no {ENCODER}"
            )
        },
        "output": {"folder": found["runs"]},
    }


def _torch(found: Mapping[str, Any] | None, *, installed: bool) -> dict[str, str]:
    if found is None:
        return {
            "devices": (
                "not asked; --torch asks it, which takes seconds" if installed else "not installed"
            )
        }
    if "error" in found:
        return {"devices": f"it does not start: {found['error']}"}
    devices = {f"cuda:{number}": name for number, name in enumerate(found["devices"])}
    return {
        "built for": f"CUDA {found['cuda']}" if found["cuda"] else "CPU only",
        **(devices or {"devices": "cpu only"}),
    }
