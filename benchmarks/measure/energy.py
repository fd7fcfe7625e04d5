"""Energy that the machine uses, where it reports it.

Processors by Intel's and AMD's counters (RAPL), graphics cards by NVML. The counters cover the
whole processor or card, with everything else that runs on it. Nothing is estimated: what the
machine does not report is left out.
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")

Joules = float
Counter = Callable[[], Joules]
"""Returns the joules since some moment."""


class Domain:
    """One counter of a processor, in microjoules, which wraps at `max_energy_range_uj`."""

    def __init__(self, folder: Path) -> None:
        """Start to count.

        Args:
            folder: The counter's folder below `POWERCAP`.

        Raises:
            OSError: The system does not let this user read it.
            ValueError: The counter is not a number.
        """
        self._file = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text(encoding="utf-8"))
        self._last = int(self._file.read_text(encoding="utf-8"))
        self._total = 0

    def read(self) -> Joules:
        """Return the joules since the start.

        It must be called before the counter wraps a second time, which takes minutes.
        """
        now = int(self._file.read_text(encoding="utf-8"))
        self._total += (now - self._last) % self._range if now != self._last else 0
        self._last = now
        return self._total / 1e6


def processor_counters(root: Path = POWERCAP) -> list[Counter]:
    """Return a counter for each processor that can be read, its cores and memory included."""
    counters: list[Counter] = []
    for folder in sorted(root.glob("*-rapl:*")):
        # A processor is called intel-rapl:0, a part of it intel-rapl:0:1.
        if folder.name.count(":") == 1:
            # Most systems let only the administrator read them (CVE-2020-8694).
            with suppress(OSError, ValueError):
                counters.append(Domain(folder).read)
    return counters


def card_counter(index: int) -> list[Counter]:
    """Return the counter of a graphics card, if pynvml is installed and the card has one."""
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
    """Counts energy from its creation on."""

    def __init__(self, counters: Mapping[str, list[Counter]]) -> None:
        """Start to count.

        Args:
            counters: Counters by what they measure, "processor" and "card"; an empty list where
                there is none.
        """
        self._counters = {name: found for name, found in counters.items() if found}
        self._start = self._read()

    def per_image(self, images: int) -> dict[str, Joules]:
        """Return the joules an image since the start, by what used them; empty without counters."""
        return {
            name: round((value - self._start[name]) / images, 6)
            for name, value in self._read().items()
        }

    def _read(self) -> dict[str, Joules]:
        return {name: sum(counter() for counter in found) for name, found in self._counters.items()}


def meter_for(device: str) -> Meter:
    """Start to count for a device as a backend names it, for example "torch cuda:1"."""
    _, cuda, index = device.partition("cuda")
    on_card = (
        card_counter(int(index[1:]) if index[1:].isdecimal() else 0)
        if cuda or "CUDA" in device
        else []
    )
    return Meter({"processor": processor_counters(), "card": on_card})
