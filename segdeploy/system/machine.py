"""What the machine is, and how much of it this process may use: cores, memory, CPU features."""

import math
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import posix

MAX_THREADS = 1024
"""Threads beyond any use; a pool of many more would exhaust the machine."""

CGROUP = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
CPU = Path("/proc/cpuinfo")
CPU_FEATURES = "SEGDEPLOY_CPU_FEATURES"
"""Environment variable that replaces the features of the processor."""

FEATURES = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "amx_int8",
    "avx512_bf16",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
"""Features that decide a network's speed, as Linux names them: the width of vectors, and whether
the processor multiplies bytes (VNNI, AMX, dot products) and bfloat16 in hardware."""

BLAS_THREADS = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment variables to set before numpy is imported, when its BLAS reads them: a second pool of
threads beside a runtime's own costs a factor of two."""

LIBRARIES = (
    "av",
    "click",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python",
    "openvino",
    "pillow",
    "torch",
    "torchvision",
)


# No msgspec.Struct, since `segdeploy --help` imports this module.
@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine on which values were measured, at the time of the measurement.

    Attributes:
        processor: Name of the processor, as the system gives it.
        system: Name and release of the operating system.
        cores: How many cores this process may use.
        host_cores: How many cores the machine has.
        memory: How much memory this process may use, in bytes; None where it is unknown.
        governor: How the system sets the clock rate, for example "performance"; "" where it is
            unknown.
        load: Mean number of processes that waited for or had a core, over the last minute; None
            where it is unknown.
        versions: Version of Python and of each library.
        features: Which of FEATURES the processor has; empty where they are unknown.
    """

    processor: str
    system: str
    cores: int
    host_cores: int
    memory: int | None
    governor: str
    load: float | None
    versions: Mapping[str, str]
    features: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The processor with its features, as in "AMD EPYC (avx2)".

        Virtual processors of one name differ in them.
        """
        return f"{self.processor} ({', '.join(self.features)})" if self.features else self.processor


def describe_machine() -> Machine:
    """Return the machine as it is now."""
    return Machine(
        processor=processor(),
        system=f"{platform.system()} {platform.release()}",
        cores=cores(),
        host_cores=os.cpu_count() or 1,
        memory=memory_limit(),
        governor=_text(GOVERNOR).strip(),
        load=posix.load_average(),
        versions=versions(),
        features=cpu_features(),
    )


def cores() -> int:
    """Return how many cores this process may use: affinity and quota, not the host's count."""
    allowed = posix.allowed_cores()
    quota = cgroup_quota(CGROUP, _text(MEMBERSHIP))
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def memory_limit() -> int | None:
    """Return how many bytes of memory this process may use, of the machine or its container."""
    limits = posix.installed_memory(), cgroup_memory(CGROUP, _text(MEMBERSHIP))
    return min((limit for limit in limits if limit is not None), default=None)


def peak_memory() -> int | None:
    """Return the largest memory in bytes that this process held; None where it is unknown."""
    return _status("VmHWM")


def current_memory() -> int | None:
    """Return the memory in bytes that this process holds now; None where it is unknown."""
    return _status("VmRSS")


@contextmanager
def limited_memory(most: int) -> Iterator[None]:
    """Let this process take so many more bytes of memory within a block, on Linux.

    More than that fails as if the machine had no more. Other systems cannot limit it.

    Args:
        most: Bytes of memory.
    """
    used = _status("VmData")
    if used is None:
        yield
        return
    # Each thread of a runtime reserves a stack of some megabytes.
    with posix.limited_data(used + most + (cores() + 4) * (16 << 20)):
        yield


def _status(key: str) -> int | None:
    """Read a value in bytes from the system's status of this process."""
    values = [
        line.split()[1]
        for line in _text(Path("/proc/self/status")).splitlines()
        if line.startswith(key)
    ]
    return int(values[0]) * 1024 if values else None


def cgroup_quota(root: Path, membership: str) -> float | None:
    """Return how many cores' time a container may use (cgroup v1 and v2); None without a limit.

    Args:
        root: Where cgroups are mounted, usually /sys/fs/cgroup.
        membership: Text of /proc/self/cgroup.
    """
    quotas = []
    for folder in _groups(root, membership, "cpu"):
        text = (
            _text(folder / "cpu.max")
            or f"{_text(folder / 'cpu.cfs_quota_us')} {_text(folder / 'cpu.cfs_period_us')}"
        )
        numbers = [int(word) for word in text.split() if word.isdigit()]
        if len(numbers) == 2 and min(numbers) > 0:
            quotas.append(numbers[0] / numbers[1])
    return min(quotas, default=None)


def cgroup_memory(root: Path, membership: str) -> int | None:
    """Return how many bytes a container may use (cgroup v1 and v2); None without a limit."""
    limits = []
    for folder in _groups(root, membership, "memory"):
        limit = (_text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")).strip()
        if limit.isdigit():
            limits.append(int(limit))
    return min(limits, default=None)


def _groups(root: Path, membership: str, controller: str) -> Iterator[Path]:
    """Yield the folders of the groups of this process, its own first; each may hold a limit."""
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        top = root / controller if controller in controllers.split(",") else root
        if top != root or not controllers:
            own = top / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def processor() -> str:
    """Return the system's name of the processor."""
    names = [
        line.partition(":")[2].strip()
        for line in _text(CPU).splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def cpu_features() -> tuple[str, ...]:
    """Return which of FEATURES this processor has, or those that SEGDEPLOY_CPU_FEATURES names.

    The variable holds names separated by commas, or is empty. It lets one machine make the choices
    of another, for example no bfloat16 in training: SEGDEPLOY_CPU_FEATURES=avx2.
    """
    named = os.environ.get(CPU_FEATURES)
    if named is None:
        return features(CPU)
    return tuple(name for name in FEATURES if name in named.replace(" ", "").split(","))


def features(flags: Path) -> tuple[str, ...]:
    """Return which of FEATURES a processor has.

    Args:
        flags: Linux's list of the processor's flags, usually /proc/cpuinfo; without one there are
            none.
    """
    lines = (line.partition(":") for line in _text(flags).splitlines())
    found = {
        flag
        for key, _, values in lines
        if key.strip() in {"flags", "Features"}
        for flag in values.split()
    }
    return tuple(name for name in FEATURES if name in found)


def versions() -> Mapping[str, str]:
    """Return the versions of Python and of the installed libraries, without importing them."""
    found = {"python": platform.python_version(), "segdeploy": _version("segdeploy")}
    found.update({name: _version(name) for name in LIBRARIES})
    return {name: version for name, version in found.items() if version}


def _version(name: str) -> str:
    # Its import takes a tenth of the time to a first mask, and only reports hold versions.
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _text(path: Path) -> str:
    """Return the text of a file of the system; "" where it has none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
