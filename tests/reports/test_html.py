"""Templates: escaped values, no missing ones, and no jinja2 before a page is written."""

import subprocess
import sys

import pytest

from segdeploy.reports.html import render

VALUES = {"title": "2 reports", "facts": [], "legend": [], "charts": [], "columns": []}


def test_values_are_escaped_and_drawings_are_not() -> None:
    """Names come from files; only the SVG is ours."""
    charts = [{"title": "<Latency>", "svg": "<svg></svg>"}]
    changes = [('a"><b>.onnx', ["1 ms → 2 ms [1, <3>]"])]

    page = render("history.html.j2", **{**VALUES, "charts": charts}, changes=changes)

    assert "<h2>&lt;Latency&gt;</h2>" in page
    assert "<svg></svg>" in page
    assert "a&#34;&gt;&lt;b&gt;.onnx" in page
    assert "<td>1 ms → 2 ms<small>[1, &lt;3&gt;]</small></td>" in page


def test_a_missing_value_is_an_error() -> None:
    """An empty place on a page would not be noticed."""
    jinja2 = pytest.importorskip("jinja2")

    with pytest.raises(jinja2.UndefinedError, match="'changes' is undefined"):
        render("history.html.j2", **VALUES)


def test_jinja2_is_imported_with_the_first_page() -> None:
    """Commands that write no page need not wait for it."""
    code = (
        "import sys, segdeploy.reports.comparison, segdeploy.benchmarks.run;"
        " print('jinja2' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
