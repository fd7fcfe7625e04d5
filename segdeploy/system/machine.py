"""What this process may use of the machine, and what the machine is."""

import math
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

CGROUP = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
CPU = Path("/proc/cpuinfo")
CPU_FEATURES = "SEGDEPLOY_CPU_FEATURES"
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
"""What decides a network's speed, as Linux names it: how wide a processor adds, and whether it multiplies bytes (VNNI, AMX, dot products)
and bfloat16 by itself."""
BLAS_THREADS = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Set before numpy is imported: its BLAS reads them then, and a second pool of threads beside a
runtime's own costs a factor of two."""

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


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine that figures were measured on, at one moment.

    Attributes:
        processor: Name of the processor, as the system gives it.
        system: Name and release of the operating system.
        cores: How many cores this process may use.
        host_cores: How many cores the machine has.
        memory: How much memory this process may use, in bytes; None where nobody tells.
        governor: How the system sets the clock's rate, for example "performance"; "" where nobody
            tells.
        load: How many processes wanted a core, as a mean over the last minute; None where nobody
            tells.
        versions: Version of Python and of each library.
        features: Which of FEATURES the processor has; none where nobody tells.
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
        """The processor with what it multiplies, as in "AMD EPYC (avx2)".

        A name alone tells little of a virtual one.
        """
        return f"{self.processor} ({', '.join(self.features)})" if self.features else self.processor

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave; a missing or unknown key is a TypeError."""
        return cls(**{**values, "features": tuple(values.get("features", ()))})


def describe_machine() -> Machine:
    """Describe the machine as it is now."""
    return Machine(
        processor=processor(),
        system=f"{platform.system()} {platform.release()}",
        cores=cores(),
        host_cores=os.cpu_count() or 1,
        memory=memory_limit(),
        governor=_text(GOVERNOR).strip(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        versions=versions(),
        features=cpu_features(),
    )


def cores() -> int:
    """Return how many cores this process may use.

    Affinity and the container's quota, not the host's count.
    """
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = cgroup_quota(CGROUP, _text(MEMBERSHIP))
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def memory_limit() -> int | None:
    """Return how many bytes of memory this process may use.

    What the machine has, or what the container grants.
    """
    total = (
        [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")] if hasattr(os, "sysconf") else []
    )
    granted = cgroup_memory(CGROUP, _text(MEMBERSHIP))
    return min([*total, *([] if granted is None else [granted])], default=None)


def peak_memory() -> int | None:
    """Return the most memory in bytes that this process ever held at once.

    None where the system does not tell.
    """
    return _status("VmHWM")


def held_memory() -> int | None:
    """Return how much memory in bytes this process holds now; None where the system does not tell."""
    return _status("VmRSS")


def _status(key: str) -> int | None:
    """Read a figure in bytes of the system's own page on this process."""
    found = [
        line.split()[1]
        for line in _text(Path("/proc/self/status")).splitlines()
        if line.startswith(key)
    ]
    return int(found[0]) * 1024 if found else None


def cgroup_quota(root: Path, membership: str) -> float | None:
    """Read how many cores' time a container grants (cgroup v1 and v2).

    None where there is no bound.

    Args:
        root: Where cgroups are mounted, usually /sys/fs/cgroup.
        membership: Text of /proc/self/cgroup.
    """
    quotas = []
    for folder in _groups(root, membership, "cpu"):
        together = (
            _text(folder / "cpu.max")
            or f"{_text(folder / 'cpu.cfs_quota_us')} {_text(folder / 'cpu.cfs_period_us')}"
        )
        numbers = [int(word) for word in together.split() if word.isdigit()]
        if len(numbers) == 2 and min(numbers) > 0:
            quotas.append(numbers[0] / numbers[1])
    return min(quotas, default=None)


def cgroup_memory(root: Path, membership: str) -> int | None:
    """Read how many bytes of memory a container grants (cgroup v1 and v2).

    None where there is no bound.
    """
    limits = []
    for folder in _groups(root, membership, "memory"):
        limit = (_text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")).strip()
        if limit.isdigit():
            limits.append(int(limit))
    return min(limits, default=None)


def _groups(root: Path, membership: str, controller: str) -> Iterator[Path]:
    """Return the folders of the groups that this process is in, its own first.

    Each of them may hold a bound.
    """
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        top = root / controller if controller in controllers.split(",") else root
        if top != root or not controllers:
            own = top / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def processor() -> str:
    """Name the processor as the system does."""
    named = [
        line.partition(":")[2].strip()
        for line in _text(CPU).splitlines()
        if line.startswith("model name")
    ]
    return named[0] if named else platform.processor() or platform.machine()


def cpu_features() -> tuple[str, ...]:
    """Return which of FEATURES this processor has, or those that SEGDEPLOY_CPU_FEATURES names.

    The variable holds names with commas, or nothing. With it one machine makes the choices of another, for
    example no bfloat16 in training: SEGDEPLOY_CPU_FEATURES=avx2.
    """
    named = os.environ.get(CPU_FEATURES)
    if named is None:
        return features(CPU)
    return tuple(name for name in FEATURES if name in named.replace(" ", "").split(","))


def features(flags: Path) -> tuple[str, ...]:
    """Read which of FEATURES a processor has in Linux's list of its flags.

    None where there is no list.
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
    """Return the version of Python and of each library of ours that is installed, without importing any."""
    found = {"python": platform.python_version(), "segdeploy": _version("segdeploy")}
    found.update({name: _version(name) for name in LIBRARIES})
    return {name: version for name, version in found.items() if version}


def _version(name: str) -> str:
    # It takes a tenth of the time to a first mask to import, and only reports ask for versions.
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _text(path: Path) -> str:
    """Read a file of the system; "" where this system has none."""
    try:
        return path.read_text()
    except OSError:
        return ""
