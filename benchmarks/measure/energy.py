"""How much energy the machine takes, where it tells.

Processors by Intel's and AMD's counters (RAPL), graphics cards by NVML.

The counters see the whole processor or card, whoever uses it. Nothing is estimated: what the
machine does not tell is left out.
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")

Joules = float
Counter = Callable[[], Joules]
"""Gives joules since some moment; it may begin again from zero, as `Domain` says."""


class Domain:
    """One counter of the processor, in microjoules, which begins again after `max_energy_range_uj`."""

    def __init__(self, folder: Path) -> None:
        """Begin to count; an OSError where the system does not let us read."""
        self._file = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last = int(self._file.read_text())
        self._total = 0

    def read(self) -> Joules:
        """Return the joules since the beginning.

        It is to be asked more often than the counter begins again, which takes minutes.
        """
        now = int(self._file.read_text())
        self._total += (now - self._last) % self._range if now != self._last else 0
        self._last = now
        return self._total / 1e6


def processor_counters(root: Path = POWERCAP) -> list[Counter]:
    """Return a counter for each processor that tells; its parts (cores, memory) are in it already."""
    found: list[Counter] = []
    for folder in sorted(root.glob("*-rapl:*")):
        # A part is called intel-rapl:0:1, a processor intel-rapl:0.
        if folder.name.count(":") == 1:
            # Most systems let only the administrator read them (CVE-2020-8694).
            with suppress(OSError, ValueError):
                found.append(Domain(folder).read)
    return found


def card_counter(index: int) -> list[Counter]:
    """Return the counter of a graphics card, where pynvml is installed and the card has one."""
    try:
        pynvml = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        return []
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return []
    return [lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000]


class Meter:
    """Counts the energy of some acts."""

    def __init__(self, counters: Mapping[str, list[Counter]]) -> None:
        """Begin to count.

        Args:
            counters: What tells, by "processor" and "card"; an empty list where nothing does.
        """
        self._counters = {name: found for name, found in counters.items() if found}
        self._start = self._read()

    def spent(self, images: int) -> dict[str, Joules]:
        """Return joules an image since the beginning, by what spent them.

        Empty where nothing tells.
        """
        return {
            name: round((value - self._start[name]) / images, 6)
            for name, value in self._read().items()
        }

    def _read(self) -> dict[str, Joules]:
        return {name: sum(counter() for counter in found) for name, found in self._counters.items()}


def meter_of(device: str) -> Meter:
    """Begin to count for a device as a backend names it, for example "torch cuda:1"."""
    _, cuda, index = device.partition("cuda")
    on_card = (
        card_counter(int(index[1:]) if index[1:].isdecimal() else 0)
        if cuda or "CUDA" in device
        else []
    )
    return Meter({"processor": processor_counters(), "card": on_card})
