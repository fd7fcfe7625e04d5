"""What `tune` shows of its search."""

import json

from segdeploy.benchmarks.tuning.report import misses, to_dict, to_html, to_markdown
from segdeploy.benchmarks.tuning.solver import Candidate, Solution
from segdeploy.benchmarks.tuning.space import Budget, Configuration, Trial

BUDGET = Budget(fps=20, loss=0.5)


def candidate(file: str, fps: tuple[float, ...], loss: float) -> Candidate:
    return Candidate(
        configuration=Configuration(file=file, throughput=True, threads=2),
        trials=tuple(Trial(fps=one, latency=40.0, memory=200_000_000) for one in fps),
        loss=loss,
        size=3_700_000,
    )


CHOSEN = candidate("onnx <int8>", (24.0, 25.0, 26.0), 0.4)
SLOW = candidate("onnx fp32", (16.0,), 0.0)
COARSE = candidate("half size", (40.0,), 2.0)
SOLUTION = Solution(
    candidates=(CHOSEN, SLOW, COARSE), finalists=(CHOSEN,), choice=CHOSEN, reason="the best"
)


def test_table_has_the_finalists_and_the_frontier() -> None:
    """With the range of the rounds, and what misses the budget by how much."""
    text = to_markdown(SOLUTION, BUDGET, loss=" points of mIoU", notes=("openvino is missing",))

    assert "25.0 (24.0 to 26.0) | 40.0 | 0.40 points of mIoU | 3.70 MB | 200 MB" in text
    assert "onnx fp32, throughput, 2 threads | 16.0 |" in text
    # 20 / 16 - 1, and (2.0 - 0.5) / 1
    assert "missed: onnx fp32, throughput, 2 threads, fps by 25% of the bound" in text
    assert "missed: half size, throughput, 2 threads, loss by 150% of the bound" in text
    assert text.endswith("openvino is missing\n")


def test_nearest_miss_comes_first() -> None:
    """Of those that miss a bound."""
    assert misses(SOLUTION, BUDGET) == [SLOW, COARSE]


def test_page_escapes_names_and_says_what_a_point_is() -> None:
    """Names of files come from outside."""
    page = to_html(SOLUTION, BUDGET, loss=" points of mIoU", notes=(), facts=("film.mp4",))

    assert "onnx &lt;int8&gt;, throughput, 2 threads: the best" in page
    assert "<int8>" not in page
    assert page.count("<ellipse") == 3
    assert "half size, throughput, 2 threads: 40.0, 40.0, 2.00 points of mIoU" in page


def test_json_has_the_choice_and_every_trial() -> None:
    """Also where nothing was chosen."""
    values = json.loads(json.dumps(to_dict(SOLUTION, BUDGET, loss="%", notes=())))
    none = to_dict(
        Solution(candidates=(SLOW,), finalists=(SLOW,), choice=None, reason="too slow"),
        BUDGET,
        loss="%",
        notes=(),
    )

    assert values["choice"]["fps"] == 25.0
    assert values["choice"]["fps_range"] == [24.0, 26.0]
    assert [one["fps"] for one in values["tried"]] == [25.0, 16.0, 40.0]
    assert none["choice"] is None
    assert none["missed"][0]["excess"] == {"fps": 0.25}
