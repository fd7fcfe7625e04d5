"""What this process may use of the machine, and what the machine is."""

import math
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
LIBRARIES = ("av", "click", "numpy", "onnx", "onnxruntime", "opencv-python", "openvino", "pillow", "torch", "torchvision")


def cores() -> int:
    """Give how many cores this process may use: affinity and the container's quota, not the host's count."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(CGROUP)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cgroup_quota(root: Path) -> float | None:
    """Read how many cores' time a container grants (cgroup v2, then v1); None where there is no bound.

    Args:
        root: Where cgroups are mounted, usually /sys/fs/cgroup.
    """
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def processor() -> str:
    """Name the processor as the system does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def versions() -> Mapping[str, str]:
    """Give the version of Python and of each library of ours that is installed, without importing any."""
    found = {"python": platform.python_version(), "segdeploy": _version("segdeploy")}
    found.update({name: _version(name) for name in LIBRARIES})
    return {name: version for name, version in found.items() if version}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
