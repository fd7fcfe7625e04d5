"""The command `segdeploy doctor`."""

import importlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from segdeploy.cli.console import echo, next_step
from segdeploy.cli.options import Command, json_option, option, section
from segdeploy.errors import SegdeployError
from segdeploy.installation import find_installation, is_installed
from segdeploy.system.concurrency import PYTHON
from segdeploy.system.machine import BLAS_THREADS, describe_machine
from segdeploy.system.runs import RUNS

REQUIRED = ("numpy", "cv2", "PIL", "av", "onnxruntime")
"""Modules that inference needs; an installed one can still lack a system library, as OpenCV does
without libGL."""

ENCODER = "libx264"

LIST_TORCH_DEVICES = """
import json, torch
names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
print(json.dumps({"cuda": torch.version.cuda, "devices": names}))
"""


@click.command(cls=Command)
@section(
    "Report",
    option(
        "--torch",
        "with_torch",
        is_flag=True,
        help="Start PyTorch too, and list its devices; takes seconds.",
    ),
    json_option("the report"),
)
def doctor(*, with_torch: bool, as_json: bool) -> None:
    """Show versions, devices and available cores."""
    report = examine()
    if with_torch:
        report["torch"] = torch_devices()
    echo(json.dumps(report, indent=2) if as_json else as_text(describe(report)))
    if report["broken"]:
        msg = (
            f"cannot import {', '.join(report['broken'])}; repair the installation:"
            f" {find_installation().command('')} --force-reinstall"
        )
        raise SegdeployError(msg)
    if is_installed("train"):
        next_step("segdeploy", "train", "streets-demo")
    else:
        next_step("segdeploy", "data", "render", "--video", "street.mp4")


def examine() -> dict[str, Any]:
    """Return what can be determined quickly, as values of JSON."""
    machine, broken = asdict(describe_machine()), broken_imports(REQUIRED)
    return {
        "versions": machine.pop("versions"),
        "machine": machine,
        "pools": {name: os.environ.get(name) for name in BLAS_THREADS},
        "broken": broken,
        "providers": {} if "onnxruntime" in broken else providers(),
        "h264": "av" not in broken and has_encoder(ENCODER),
        "runs": str(RUNS.absolute()),
    }


def broken_imports(names: Sequence[str]) -> dict[str, str]:
    """Import modules, and return the error message of each that fails."""
    reasons = {}
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            reasons[name] = str(error)
    return reasons


def providers() -> Mapping[str, bool]:
    """Return whether each provider of this ONNX Runtime works here, by name."""
    from segdeploy.backends.onnx_runtime import granted_providers

    return granted_providers()


def has_encoder(name: str) -> bool:
    """Return whether this PyAV has an encoder."""
    import av

    return name in av.codecs_available


def torch_devices() -> dict[str, Any]:
    """Return the CUDA version and the devices of PyTorch, from a process of its own.

    Where PyTorch does not start, the value is its error.
    """
    process = subprocess.run(  # noqa: S603 - no foreign text
        [*PYTHON, "-c", LIST_TORCH_DEVICES],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        lines = process.stderr.strip().splitlines()
        return {"error": lines[-1] if lines else f"exit code {process.returncode}"}
    devices: dict[str, Any] = json.loads(process.stdout)
    return devices


def as_text(sections: Mapping[str, Mapping[str, str]]) -> str:
    """Return lines in two columns below the title of each section."""
    width = 2 + max(len(name) for lines in sections.values() for name in lines)
    return "\n".join(
        f"{title}\n" + "\n".join(f"  {name:{width}}{value}" for name, value in lines.items())
        for title, lines in sections.items()
    )


def describe(report: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return a report as lines of a name and a text, by the title of their section."""
    versions = dict(report["versions"])
    command = find_installation().command("export")
    missing = f"not installed; needed to train and export: {command}"
    broken = {"cannot be imported": report["broken"]} if report["broken"] else {}
    return {
        "versions": versions | {"torch": versions.get("torch", missing)},
        **broken,
        "machine": _describe_machine(report["machine"]),
        "threads of numpy's BLAS": {
            name: value or "not set: its threads compete with the network's"
            for name, value in report["pools"].items()
        },
        "ONNX Runtime": {
            name: "available" if is_granted else "built in, but not available here"
            for name, is_granted in report["providers"].items()
        },
        "PyTorch": _describe_torch(report.get("torch"), is_installed="torch" in versions),
        "video": {
            "H.264": f"encoded by {ENCODER}"
            if report["h264"]
            else f"cannot be encoded: this PyAV has no {ENCODER}"
        },
        "output": {"folder": report["runs"]},
    }


def _describe_machine(machine: Mapping[str, Any]) -> dict[str, str]:
    memory, load, features = machine["memory"], machine["load"], machine["features"]
    return {
        "processor": machine["processor"],
        "system": machine["system"],
        "cores": (
            f"{machine['cores']} of {machine['host_cores']} available; a network uses as many"
            " threads"
        ),
        "instructions": ", ".join(features) if features else "not reported by the system",
        "memory": "unknown" if memory is None else f"{memory / 1e9:.1f} GB available",
        "load": "unknown" if load is None else f"{load:.2f}",
    }


def _describe_torch(values: Mapping[str, Any] | None, *, is_installed: bool) -> dict[str, str]:
    if values is None:
        hint = "not examined; --torch lists them, which takes seconds"
        return {"devices": hint if is_installed else "not installed"}
    if "error" in values:
        return {"devices": f"PyTorch does not start: {values['error']}"}
    devices = {f"cuda:{index}": name for index, name in enumerate(values["devices"])}
    return {
        "built for": f"CUDA {values['cuda']}" if values["cuda"] else "CPU only",
        **(devices or {"devices": "CPU only"}),
    }
