"""Energy: counters that wrap, machines that report nothing."""

from pathlib import Path

from segdeploy.benchmarks.measure.energy import Meter, card_counter, meter_for, processor_counters


def rapl(root: Path, name: str, energy: int, most: int = 1_000_000) -> Path:
    """A counter as Linux shows it."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "energy_uj").write_text(f"{energy}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder / "energy_uj"


def test_counts_whole_processors_and_not_their_parts(tmp_path: Path) -> None:
    """intel-rapl:0:0 is within intel-rapl:0; counting both would count the cores twice."""
    first = rapl(tmp_path, "intel-rapl:0", 100_000)
    part = rapl(tmp_path, "intel-rapl:0:0", 0)
    second = rapl(tmp_path, "intel-rapl:1", 900_000)
    meter = Meter({"processor": processor_counters(tmp_path), "card": []})

    first.write_text("400000")
    part.write_text("999999")
    # It began again: 100,000 to its end and 100,000 from its beginning.
    second.write_text("100000")

    # 0.3 J and 0.2 J for ten images.
    assert meter.per_image(10) == {"processor": 0.05}


def test_machine_that_reports_nothing_is_left_out(tmp_path: Path) -> None:
    """Nothing is estimated; a counter that is not a number is left out."""
    rapl(tmp_path, "intel-rapl:0", 0).write_text("secret")

    assert processor_counters(tmp_path) == []
    assert processor_counters(tmp_path / "nowhere") == []
    assert Meter({"processor": [], "card": []}).per_image(3) == {}


def test_unchanged_counter_adds_nothing(tmp_path: Path) -> None:
    """A short run may end before the counter moves."""
    rapl(tmp_path, "amd-rapl:0", 5)
    meter = Meter({"processor": processor_counters(tmp_path)})

    assert meter.per_image(1) == {"processor": 0.0}


def test_card_is_read_only_where_one_is_used() -> None:
    """A row on the processor does not count an idle graphics card."""
    assert "card" not in meter_for("onnxruntime CPUExecutionProvider").per_image(1)
    assert all(counter() >= 0 for counter in card_counter(0))
