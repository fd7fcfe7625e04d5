"""The machine, and how much of it a process may use."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from segdeploy.system.machine import (
    Machine,
    cgroup_memory,
    cgroup_quota,
    cores,
    cpu_features,
    describe_machine,
    features,
    limited_memory,
    memory_limit,
    versions,
)
from segdeploy.system.schema import convert

V2 = "0::/user.slice/job.scope\n"
V1 = "4:memory:/docker/f00\n1:cpu,cpuacct:/docker/f00\n0::/\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.mark.parametrize(
    ("files", "membership", "quota"),
    [
        ({}, V2, None),
        ({"cpu.max": "max 100000"}, "0::/\n", None),
        ({"cpu.max": "150000 100000"}, "0::/\n", 1.5),
        ({"user.slice/job.scope/cpu.max": "200000 100000"}, V2, 2.0),
        # A limit of the slice holds for all within it.
        (
            {
                "user.slice/cpu.max": "100000 100000",
                "user.slice/job.scope/cpu.max": "400000 100000",
            },
            V2,
            1.0,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, V1, None),
        # A container sees its own group as the root, while /proc names the host's path.
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, V1, 2.5),
        (
            {
                "cpu/docker/f00/cpu.cfs_quota_us": "50000",
                "cpu/docker/f00/cpu.cfs_period_us": "100000",
            },
            V1,
            0.5,
        ),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "0"}, V1, None),
        ({"cpu.max": "100000 100000"}, "", None),
    ],
)
def test_reads_the_quota_of_a_container(
    tmp_path: Path, files: dict[str, str], membership: str, quota: float | None
) -> None:
    """Pools of the host's size in a small container make everything slow (onnxruntime#29510)."""
    for name, text in files.items():
        write(tmp_path / name, text)

    assert cgroup_quota(tmp_path, membership) == quota


@pytest.mark.parametrize(
    ("files", "membership", "limit"),
    [
        ({}, V2, None),
        ({"memory.max": "max"}, "0::/\n", None),
        ({"user.slice/job.scope/memory.max": "1048576", "user.slice/memory.max": "4096"}, V2, 4096),
        ({"memory/memory.limit_in_bytes": "2097152"}, V1, 2097152),
        (
            {
                "memory/docker/f00/memory.limit_in_bytes": "1024",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            V1,
            1024,
        ),
    ],
)
def test_reads_the_memory_of_a_container(
    tmp_path: Path, files: dict[str, str], membership: str, limit: int | None
) -> None:
    """A process that plans by the host's memory is killed."""
    for name, text in files.items():
        write(tmp_path / name, text)

    assert cgroup_memory(tmp_path, membership) == limit


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_cores_follow_affinity() -> None:
    """`taskset` bounds a process without any cgroup."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_the_machine_survives_json() -> None:
    """A report carries it."""
    machine = describe_machine()

    values = json.loads(json.dumps(asdict(machine)))

    assert convert(values, Machine, refuse=ValueError) == machine
    assert 1 <= machine.cores <= machine.host_cores
    assert machine.memory == memory_limit()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
def test_peak_memory_grows_with_allocations() -> None:
    """The peak stays when the memory is freed.

    In a process of its own: that of the tests may hold gigabytes.
    """
    code = """
from segdeploy.system.machine import peak_memory
before = peak_memory()
held = bytearray(b"x") * before
del held
print(before, peak_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    before, after = map(int, done.stdout.split())
    assert after > 1.5 * before


def test_versions_name_python_and_what_is_installed() -> None:
    """A library that is missing is left out, not guessed."""
    found = versions()

    assert found["python"].startswith("3.")
    assert found["numpy"]
    assert all(found.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni\n",
            ("avx2", "avx512f", "avx512_vnni", "avx512_bf16"),
        ),
        ("Features\t: fp asimd i8mm bf16\n", ("asimd", "i8mm", "bf16")),
        ("bugs\t\t: bf16\nflags\t\t: fpu avx2_x\n", ()),
    ],
)
def test_reads_the_features_of_a_processor(
    tmp_path: Path, text: str, expected: tuple[str, ...]
) -> None:
    """Processors of one name may differ in them; a virtual one shows fewer than it has."""
    (tmp_path / "cpuinfo").write_text(text)

    assert features(tmp_path / "cpuinfo") == expected
    assert features(tmp_path / "nothing") == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", ()), ("avx2", ("avx2",)), ("bf16, avx2,unknown", ("avx2", "bf16"))],
)
def test_features_are_those_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: tuple[str, ...]
) -> None:
    """One machine can make the choices of another, in a test or to compare."""
    monkeypatch.setenv("SEGDEPLOY_CPU_FEATURES", value)

    assert cpu_features() == expected
    assert describe_machine().features == expected


def test_a_machine_of_an_older_report_has_no_features() -> None:
    """It can still be read."""
    old = {key: value for key, value in asdict(describe_machine()).items() if key != "features"}

    assert convert(old, Machine, refuse=ValueError).features == ()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit the memory of a process")
def test_memory_is_limited_within_a_block_only() -> None:
    """A hostile network must not take what the machine has; the images behind it may."""
    size = 2 << 30

    with pytest.raises(MemoryError), limited_memory(64 << 20):
        bytearray(size)

    assert len(bytearray(size)) == size
