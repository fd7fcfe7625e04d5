"""The report in its forms: JSON that is read again, Markdown, and a self-contained page."""

import json
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

from segdeploy.benchmarks.measure.accuracy import Pair
from segdeploy.benchmarks.report.page import to_html
from segdeploy.benchmarks.report.plots import (
    class_bars,
    class_differences,
    color_numbers,
    distribution,
    pareto,
    scatter,
    stage_bars,
)
from segdeploy.benchmarks.report.tables import (
    agreement,
    escape,
    joules,
    megabytes,
    milliseconds,
    points,
    summary,
    times,
    to_markdown,
    with_interval,
)
from segdeploy.benchmarks.results.latency import Latency
from segdeploy.benchmarks.results.report import SCHEMA, Report, Row
from segdeploy.benchmarks.results.row import (
    Accuracy,
    ExternalResult,
    LabelAgreement,
    Round,
    RowResult,
    Setting,
    Video,
)
from segdeploy.benchmarks.results.variant import Variant
from segdeploy.errors import DataError
from segdeploy.metrics.scores import Scores
from segdeploy.system.machine import Machine
from segdeploy.video.profiler import StageTime, StageTimes

EVIL = "<script>alert('$x$')</script>|*.onnx"
QUICK, SLOW = (StageTime(p50=value, p95=value, total=100 * value) for value in (0.002, 0.03))
TIMES = StageTimes(
    frames=100,
    wall=4.0,
    decode=QUICK,
    prepare=QUICK,
    infer=SLOW,
    mask=QUICK,
    draw=QUICK,
    encode=QUICK,
)


def round_of(milliseconds: float, batch: int = 1) -> Round:
    latency = Latency(rounds=((milliseconds,) * 3,))
    return Round(
        setting=Setting(
            architecture="unet",
            precision="fp32",
            input=(90, 120),
            device="fake cpu",
            threads=2,
            batch=batch,
        ),
        cold_start=1234.0,
        latency=latency,
        network=latency,
        peak_memory=250_000_000,
    )


def values_of(
    milliseconds: float,
    *,
    miou: float = 0.6,
    labels: float = 1.0,
    drift: float = 1.0,
    batch: int = 1,
) -> RowResult:
    scores = Scores(miou=miou, pixel_accuracy=0.9, dice=0.7, iou=(0.5, None, 0.7), pixels=100)
    accuracy = Accuracy(
        scores=scores,
        boundaries=(0.4, None, 0.6),
        labels=LabelAgreement(overall=labels, near=0.99, by_class=(1.0, None, 0.5)),
        worst=("b", "a"),
    )
    return RowResult(
        rounds=(round_of(milliseconds, batch), round_of(milliseconds * drift, batch)),
        accuracy=accuracy,
    )


def row_of(name: str, result: RowResult | None, error: str = "") -> Row:
    return Row(
        name=name,
        variant=Variant(artifact=f"runs/{name}"),
        size=1_860_000,
        result=result,
        error=error,
    )


REPORT = Report(
    created="2026-01-02T03:04:05+00:00",
    dataset="camvid",
    split="val",
    images=("a", "b"),
    classes=("Sky", "Pole <&>", "Road"),
    reference="best.pt",
    runs=3,
    rounds=2,
    warm_up=1,
    machine=Machine(
        processor="Zen",
        system="Linux 6",
        cores=2,
        host_cores=8,
        memory=16_000_000_000,
        governor="",
        load=0.1,
        versions={"numpy": "2.4"},
    ),
    load_after=1.5,
    video=None,
    rows=(
        row_of("best.pt", values_of(100.0)),
        row_of("best.onnx", values_of(40.0, miou=0.598, labels=0.99996)),
        row_of(EVIL, values_of(80.0)),
        row_of("broken.onnx", None, "it carries <no> card"),
    ),
)
WHOLE = replace(REPORT, rows=REPORT.rows[:3])
EXTERNAL = ExternalResult(
    title="Reading speed", facts={"samples": 12}, variants={"read": {"median": 1.25}}
)
PAIR = Pair(
    row="best.onnx",
    image="street <1>",
    against="best.pt",
    same=0.998,
    left=b"left",
    right=b"right",
)
WITH_VIDEO = replace(
    REPORT,
    video="clip.mp4",
    rows=(row_of("best.onnx", replace(values_of(40.0), video=Video(times=TIMES, flicker=0.0123))),),
)


@pytest.mark.parametrize(
    "report",
    [
        REPORT,
        WITH_VIDEO,
        replace(REPORT, reference=None, rows=(), external=(EXTERNAL,), notes=("Odd.",)),
    ],
)
def test_survives_json(report: Report) -> None:
    """A later report is compared with it."""
    assert Report.from_json(report.to_json(), source="report.json") == report


def test_report_of_schema_2_is_read() -> None:
    """Its keys had other names; an older baseline is still a baseline."""
    report = replace(REPORT, external=(EXTERNAL,))
    values = json.loads(report.to_json())
    old = {"pictures": values.pop("images"), "asides": values.pop("external"), **values}
    old["schema"] = 2
    for row in old["rows"]:
        row["way"], row["figures"] = row.pop("variant"), row.pop("result")
    for entry in old["asides"]:
        entry["ways"] = entry.pop("variants")

    assert Report.from_json(json.dumps(old), source="old.json") == report


def test_json_has_percentiles_and_warnings() -> None:
    """Another program need not compute percentiles."""
    values = json.loads(
        replace(REPORT, rows=(row_of("best.onnx", values_of(40.0, drift=1.5)),)).to_json()
    )

    latency = values["rows"][0]["result"]["latency"]
    assert (latency["median"], latency["intervals"]["median"]) == (50.0, [40.0, 60.0])
    assert values["warnings"] == [
        "The times of best.onnx are noisy: its interquartile range is 40% of the median."
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "is not a report"),
        ("[]", "is not a report"),
        ("{}", "is not a report"),
        (REPORT.to_json().replace('"dataset"', '"what"'), "is not a report"),
        (
            REPORT.to_json().replace(f'"schema": {SCHEMA}', '"schema": 99'),
            "of schema 99 .* upgrade",
        ),
        (
            REPORT.to_json().replace(f'"schema": {SCHEMA}', '"schema": 1'),
            "of schema 1 .* measure it again",
        ),
    ],
)
def test_other_json_is_refused(text: str, message: str) -> None:
    """A report may come from anywhere."""
    with pytest.raises(DataError, match=message):
        Report.from_json(text, source="old.json")


HOSTILE = replace(REPORT, rows=(row_of("best.onnx", values_of(50.0)),)).to_json()


def changed(key: str, value: object) -> str:
    """Return a report in which every value of a key is another one."""

    def change(values: object) -> object:
        if isinstance(values, dict):
            return {name: value if name == key else change(own) for name, own in values.items()}
        return [change(own) for own in values] if isinstance(values, list) else values

    return json.dumps(change(json.loads(HOSTILE)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "nested too deeply"),
        (changed("memory", float("inf")), "it holds the number inf"),
        (changed("size", 10**400), "it holds the number 1000"),
        (changed("rounds", []), "rounds"),
        (changed("latency", {"rounds": [[]]}), "a round has no run"),
        (changed("latency", {"rounds": [[1.0, 0.0]]}), "a run took 0.0 ms"),
        (changed("cold_start", -1.0), "a run took -1.0 ms"),
        (changed("batch", 0), "batch is 0"),
        (changed("classes", ["road"] * 9), "values by class and there are 9 classes"),
        (changed("classes", []), "values by class and there are 0 classes"),
        (changed("created", "yesterday"), "Invalid isoformat string: 'yesterday'"),
        (changed("created", "0001-01-01"), "created is '0001-01-01'"),
    ],
)
def test_values_that_nothing_can_be_computed_with_are_refused(text: str, problem: str) -> None:
    """A baseline may be somebody else's; one bad file must not end the page of all."""
    with pytest.raises(DataError, match=problem):
        Report.from_json(text, source="report.json")


def test_busy_machine_is_reported() -> None:
    """Load 13 on 8 cores: other processes compete."""
    report = replace(WHOLE, machine=replace(REPORT.machine, load=13.0))

    assert report.warnings == (
        (
            "The machine was busy before the first round (load 13.0 on 8 cores): the times are not"
            " reliable."
        ),
    )
    assert WHOLE.warnings == ()


def test_other_input_size_is_reported() -> None:
    """A quarter of the pixels does not make a network faster; the times themselves are reliable."""
    result = values_of(40.0)
    small = tuple(
        replace(found, setting=replace(found.setting, input=(45, 60))) for found in result.rounds
    )
    report = replace(
        WHOLE,
        rows=(*WHOLE.rows[:2], row_of("small.onnx", replace(result, rounds=small))),
    )

    assert report.warnings == (
        (
            "small.onnx runs at 45x60 and best.pt at 90x120: the speedup is that of the input size,"
            " too."
        ),
    )
    assert "not reliable" not in summary(report)
    assert "small.onnx runs at 45x60" in Page(to_html(report)).text
    assert replace(report, reference=None).warnings == ()
    assert replace(WHOLE, notes=("Odd.",)).warnings == ("Odd.",)


def test_speed_is_a_range_where_it_was_measured_with_noise() -> None:
    """Quartiles of 100 and 300 three times each are 100 and 300.

    Against 40 ms that is 2.5 to 7.5 times as fast.
    """
    noisy = replace(
        REPORT,
        rows=(
            row_of("best.pt", values_of(100.0, drift=3.0)),
            row_of("best.onnx", values_of(40.0)),
        ),
    )

    assert noisy.speedup(noisy.rows[1].result) == (2.5, 7.5)
    assert noisy.speedup(noisy.rows[0].result) == (1.0, 1.0)
    assert summary(noisy).startswith(
        "best.onnx takes 40.0 ms an image, 2.5 to 7.5 times as fast as best.pt, with "
    )
    assert "| best.onnx | 40.0 ms | 40.0 ms | 40.0 ms | 40.0 ms | 25.0 | 2.5–7.5× |" in to_markdown(
        noisy
    )
    assert WHOLE.speedup(WHOLE.rows[1].result) == (2.5, 2.5)


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (
            replace(REPORT, rows=REPORT.rows[:2]),
            "best.onnx takes 40.0 ms an image, 2.5 times as fast as best.pt, "  # noqa: ISC004 - one sentence
            "with 99.996% of its labels and 59.80% mIoU, 0.20 points less.",
        ),
        (
            replace(REPORT, rows=(REPORT.rows[0], row_of("slow.onnx", values_of(200.0)))),
            (
                "slow.onnx takes 200 ms an image, 2.0 times as long as best.pt, with 100% of its"
                " labels and the same mIoU, 60.00%."
            ),
        ),
        (
            replace(REPORT, reference=None, rows=REPORT.rows[1:2]),
            "best.onnx segments an image in 40.0 ms, at 59.80% mIoU.",
        ),
        (
            replace(REPORT, rows=(REPORT.rows[0], REPORT.rows[3])),
            ("best.pt segments an image in 100 ms, at 60.00% mIoU. 1 of 2 artifacts failed."),
        ),
        (
            replace(REPORT, rows=REPORT.rows[3:]),
            "No artifact could be measured. 1 of 1 artifacts failed.",
        ),
        (
            replace(REPORT, reference=None, rows=(row_of("a.onnx", values_of(100.0, drift=1.2)),)),
            (
                "a.onnx segments an image in 110 ms, at 60.00% mIoU. The times are not reliable:"
                " they are noisy."
            ),
        ),
    ],
)
def test_summary_says_what_was_found(report: Report, sentence: str) -> None:
    """It is read first, and often nothing else is."""
    assert summary(report) == sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (milliseconds(3.214), "3.21 ms"),
        (milliseconds(32.14), "32.1 ms"),
        (milliseconds(321.4), "321 ms"),
        (milliseconds(2513.0), "2.51 s"),
        (agreement(1.0), "100%"),
        (agreement(0.9999999), "99.999%"),
        (points(0.00001), "±0"),
        (points(-0.0123), "−1.23"),
        (points(0.005), "+0.50"),
        (times(2.349, 2.349), "2.3×"),
        (times(120.4, 120.4), "120×"),
        (times(0.523, 0.523), "0.52×"),
        (times(1.22, 9.96), "1.2–10×"),
        (megabytes(1_860_000), "1.86 MB"),
        (megabytes(31_000_000), "31 MB"),
        (megabytes(2_500_000_000), "2.50 GB"),
        (megabytes(None), "–"),
        (joules(2.345), "2.35 J"),
        (joules(0.0456), "45.6 mJ"),
        (with_interval(Latency(rounds=((40.0, 40.0),)), 50), "40.0 ms"),
        (with_interval(Latency(rounds=((40.0,), (60.0,))), 50), "50.0 ms [40.0, 60.0]"),
    ],
)
def test_values_are_written_with_their_units(text: str, expected: str) -> None:
    """Nothing is rounded up to perfect."""
    assert text == expected


def test_markdown_holds_the_tables() -> None:
    """Pasted into an issue, it must still be a table."""
    lines = to_markdown(REPORT).splitlines()

    assert lines[0] == "# Benchmark"
    assert (
        "| best.pt (reference) | 100 ms | 100 ms | 100 ms | 100 ms | 10.0 | 1.0× | 100 ms | 1.23 s"
        " | 250 MB | 1.86 MB |" in lines
    )
    assert (
        "| best.onnx | 40.0 ms | 40.0 ms | 40.0 ms | 40.0 ms | 25.0 | 2.5× | 40.0 ms | 1.23 s | 250"
        " MB | 1.86 MB |" in lines
    )
    assert "| best.onnx | 59.80% | −0.20 | 50.00% | 90.00% | 70.00% | 99.996% | 99.000% |" in lines
    assert "* **broken.onnx**: it carries \\<no\\> card" in lines
    rows = [line for line in lines if line.startswith("| \\<script")]
    assert len(rows) == 3
    assert all("\\|\\*.onnx |" in line for line in rows)


def test_markdown_escapes_what_a_name_may_hold() -> None:
    """A name is text, whatever it looks like."""
    assert escape("a|b*c_`d`\n<e>") == "a\\|b\\*c\\_\\`d\\` \\<e\\>"


class Page(HTMLParser):
    """What a page holds: its elements, its ids, its attributes, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in {"meta", "link", "br", "img", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(to_html(REPORT, [PAIR]))


def test_page_is_well_formed_and_self_contained(page: Page) -> None:
    """It is opened from an e-mail, offline.

    The only scripts are those of the sliders.
    """
    text = to_html(REPORT, [PAIR])

    assert page.open == []
    assert not {"script", "link", "iframe"} & page.tags.keys()
    assert all(
        value.startswith("data:image/jpeg;base64,")
        for name, value in page.attributes
        if name == "src"
    )
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text.replace("url(#", "")


def test_ids_are_unique_and_references_lead_to_them(page: Page) -> None:
    """Three charts of one library would use the same ids."""
    ids = [value for name, value in page.attributes if name == "id"]
    led_to = {value.removeprefix("#") for name, value in page.attributes if name == "href"}
    led_to |= {value[5:-1] for name, value in page.attributes if name == "clip-path"}

    assert len(ids) == len(set(ids))
    assert led_to <= set(ids)
    assert led_to


def test_every_row_is_in_every_table(page: Page) -> None:
    """A row that failed has its reason."""
    assert page.tags["table"] == 3
    assert page.tags["svg"] == 4
    for name in ("best.pt", "best.onnx", EVIL):
        assert page.text.count(name) >= 4
    assert (page.tags["img"], page.tags["input"]) == (2, 1)
    assert "street <1>: 99.800% of the labels as best.pt" in page.text
    assert "broken.onnx failed: it carries <no> card" in page.text
    assert "Pole <&>" in page.text


def test_page_has_both_themes_and_fits_a_phone() -> None:
    """Charts take their colors from the page, so they change with it."""
    text = to_html(REPORT)

    assert "prefers-color-scheme: dark" in text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "var(--series-0)" in text
    assert "#0401" not in text
    assert "#010101" not in text


def test_video_has_a_table_of_its_stages() -> None:
    """100 frames in 4 s; the network's 30 ms are the bottleneck."""
    found = Page(to_html(WITH_VIDEO))

    assert found.tags["table"] == 4
    assert "100 frames of clip.mp4" in found.text
    assert (
        "| best.onnx | 25.0 | 2.00 ms | 2.00 ms | 30.0 ms | 2.00 ms | 2.00 ms | 2.00 ms | infer |"
        " 1.23% |" in to_markdown(WITH_VIDEO)
    )


def test_page_without_a_measured_row_says_why() -> None:
    """All artifacts failed: there is nothing to draw."""
    found = Page(to_html(replace(REPORT, rows=REPORT.rows[3:])))

    assert found.tags["svg"] == 0
    assert "broken.onnx failed" in found.text


@pytest.mark.parametrize("draw", [scatter, distribution, class_bars, stage_bars])
def test_drawing_shows_names_as_they_are(draw: object) -> None:
    """A dollar sign is not math, a missing glyph gives no warning, and a long name is cut."""
    names = ("$\\frac$.onnx", "\u6a21\u578b.onnx", "x" * 60 + ".onnx")
    report = replace(
        REPORT,
        classes=names,
        rows=tuple(
            row_of(name, replace(values_of(10.0), video=WITH_VIDEO.measured[0][1].video))
            for name in names
        ),
    )

    root = ET.fromstring(draw(report))

    text = "\n".join(root.itertext())
    assert names[0] in text
    assert names[1] in text
    assert f"\u2026{'x' * 24}.onnx" in text
    assert root.attrib["role"] == "img"


def test_row_without_a_file_has_no_size() -> None:
    """A library's own network has no file of ours."""
    report = replace(REPORT, rows=(REPORT.rows[0], replace(REPORT.rows[1], size=None)))

    assert to_markdown(report).splitlines()[9].endswith("| 250 MB | – |")
    assert Report.from_json(report.to_json(), source="report.json") == report
    jsonschema.Draft202012Validator(SCHEMA_FILE).validate(json.loads(report.to_json()))


def test_only_the_reference_is_gray() -> None:
    """A row that is compared with nothing is not drawn as the background of others."""
    assert color_numbers(REPORT) == {"best.pt": 0, "best.onnx": 1, EVIL: 2, "broken.onnx": 3}
    assert color_numbers(replace(REPORT, reference=None, rows=REPORT.rows[1:2])) == {"best.onnx": 1}


def test_nothing_beats_the_front() -> None:
    """b is slower and no better than a; of two equally fast ones the better stays."""
    found = [
        ("a", 10.0, 60.0),
        ("b", 12.0, 60.0),
        ("c", 20.0, 70.0),
        ("d", 20.0, 65.0),
        ("e", 5.0, 50.0),
    ]

    assert [name for name, *_ in pareto(found)] == ["e", "a", "c"]


def test_batch_is_compared_image_by_image() -> None:
    """Four images in 80 ms are five times as fast as one in 100 ms, and 50 images a second."""
    report = replace(
        REPORT, rows=(REPORT.rows[0], row_of("best.onnx, batch 4", values_of(80.0, batch=4)))
    )

    result = report.measured[1][1]
    assert report.speedup(result) == (5.0, 5.0)
    assert result.rate == pytest.approx(50.0)
    assert summary(report).startswith(
        "best.onnx, batch 4 takes 20.0 ms an image, 5.0 times as fast as best.pt"
    )
    assert (
        "| best.onnx, batch 4 | 80.0 ms | 80.0 ms | 80.0 ms | 80.0 ms | 50.0 | 5.0× |"
        in to_markdown(report)
    )


def test_energy_is_shown_where_the_machine_reports_it() -> None:
    """A column without any value is left out, not filled with dashes."""
    measured = replace(round_of(40.0), energy={"processor": 0.5})
    report = replace(
        REPORT, rows=(row_of("a.onnx", RowResult(rounds=(measured, measured), accuracy=None)),)
    )

    assert "energy" not in to_markdown(REPORT)
    assert "| 500 mJ |" in to_markdown(report)


def test_row_without_accuracy_is_drawn_by_its_time_alone() -> None:
    """The weights of a peer's network are random: its masks are meaningless."""
    report = replace(
        REPORT, rows=(REPORT.rows[0], row_of("peer", replace(values_of(50.0), accuracy=None)))
    )

    assert "peer" not in scatter(report)
    assert "peer" in distribution(report)
    assert "peer takes 50.0 ms an image, 2.0 times as fast as best.pt." in summary(report)
    assert Page(to_html(report)).tags["svg"] == 3


def test_differences_are_points_to_the_reference() -> None:
    """A class that never occurs has no difference."""
    assert "IoU minus the reference's, points" in class_differences(WHOLE)


SCHEMA_FILE = json.loads((Path(__file__).parents[3] / "docs" / "report.schema.json").read_text())


@pytest.mark.parametrize(
    "report", [REPORT, WITH_VIDEO, replace(REPORT, reference=None, rows=(), external=(EXTERNAL,))]
)
def test_json_follows_the_documented_schema(report: Report) -> None:
    """Other programs rely on docs/report.schema.json."""
    jsonschema.Draft202012Validator(SCHEMA_FILE).validate(json.loads(report.to_json()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"schema": 3', '"schema": 4'),
        ('"overall": 1.0', '"overall": 1.5'),
        ('"batch": 1', '"stapel": 1'),
    ],
)
def test_schema_refuses_other_json(old: str, new: str) -> None:
    """One that allows everything describes nothing."""
    assert not jsonschema.Draft202012Validator(SCHEMA_FILE).is_valid(
        json.loads(REPORT.to_json().replace(old, new))
    )


def test_what_other_commands_measured_has_tables_too() -> None:
    """Training and reading speed are shown below the rows."""
    report = replace(REPORT, external=(EXTERNAL,))

    assert (
        "## Reading speed\n\nsamples 12\n\n| variant | median |\n| :-- | --: |\n| read | 1.25 |"
        in to_markdown(report)
    )
    assert "Reading speed" in Page(to_html(report)).text
