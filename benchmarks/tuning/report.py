"""What `segdeploy tune` shows: a table, a page, and JSON."""

from collections.abc import Sequence
from typing import Any

from segdeploy.reports.html import render

from ..report.tables import escape, grid, megabytes
from .solver import Candidate, Solution
from .space import Budget

COLUMNS = ("fps", "p95 ms", "lost", "file", "memory")


def cells(candidate: Candidate, loss: str) -> list[str]:
    """Return the values of a candidate by `COLUMNS`; the range of the rounds is in brackets."""
    low, high = candidate.fps_range
    spread = f" ({low:.1f} to {high:.1f})" if len(candidate.trials) > 1 else ""
    lost = "not measured" if candidate.loss is None else f"{candidate.loss:.2f}{loss}"
    return [
        f"{candidate.fps:.1f}{spread}",
        f"{candidate.latency:.1f}",
        lost,
        megabytes(candidate.size),
        megabytes(int(candidate.memory)),
    ]


def misses(solution: Solution, budget: Budget) -> list[Candidate]:
    """Return up to three candidates that miss the budget by least."""
    missing = [one for one in solution.candidates if one.trials and one.excess(budget)]
    return sorted(missing, key=lambda one: sum(one.excess(budget).values()))[:3]


def rows(candidates: Sequence[Candidate], loss: str) -> list[tuple[str, list[str]]]:
    """Return a row of the table for each candidate."""
    return [(one.configuration.name, cells(one, loss)) for one in candidates]


def shown(solution: Solution) -> list[Candidate]:
    """Return what the tables show: the finalists, and the frontier beside them."""
    beside = [one for one in solution.frontier if one not in solution.finalists]
    return [*solution.finalists, *beside]


def why_missed(candidate: Candidate, budget: Budget) -> str:
    """Return by how much a candidate misses each bound."""
    return ", ".join(
        f"{name} by {excess:.0%} of the bound" for name, excess in candidate.excess(budget).items()
    )


def to_markdown(solution: Solution, budget: Budget, *, loss: str, notes: Sequence[str]) -> str:
    """Return the finalists and the frontier, the choice, and the nearest misses."""
    parts = [grid("configuration", COLUMNS, rows(shown(solution), loss)), headline(solution)]
    parts += [
        f"missed: {escape(one.configuration.name)}, {why_missed(one, budget)}"
        for one in misses(solution, budget)
    ]
    return "\n\n".join([*parts, *map(escape, notes)]) + "\n"


def headline(solution: Solution) -> str:
    """Return the choice and why, in a sentence."""
    if solution.choice is None:
        return solution.reason
    return f"{solution.choice.configuration.name}: {solution.reason}"


def to_html(
    solution: Solution, budget: Budget, *, loss: str, notes: Sequence[str], facts: Sequence[str]
) -> str:
    """Return the page: a chart of fps against what is lost, and the table."""
    missed = [
        f"{one.configuration.name}: {why_missed(one, budget)}" for one in misses(solution, budget)
    ]
    return render(
        "tuning.html.j2",
        title=headline(solution),
        facts=facts,
        chart=points(solution, loss),
        loss=loss.strip(),
        columns=COLUMNS,
        rows=rows(shown(solution), loss),
        missed=missed,
        notes=notes,
    )


def points(solution: Solution, loss: str) -> list[dict[str, Any]]:
    """Return the points of the chart, x and y in percent of its sides, with what the tip says."""
    whole = [one for one in solution.candidates if one.trials and one.loss is not None]
    fastest = max((one.fps for one in whole), default=1.0)
    most = max((max(0.0, one.loss or 0.0) for one in whole), default=0.0) or 1.0
    frontier = solution.frontier
    return [
        {
            "x": 4 + 90 * one.fps / fastest,
            "y": 6 + 84 * max(0.0, one.loss or 0.0) / most,
            "kind": "chosen" if one == solution.choice else "front" if one in frontier else "",
            "tip": f"{one.configuration.name}: {', '.join(cells(one, loss))}",
        }
        for one in whole
    ]


def to_dict(
    solution: Solution, budget: Budget, *, loss: str, notes: Sequence[str]
) -> dict[str, Any]:
    """Return what was found as JSON values: fps, milliseconds, bytes, points."""
    return {
        "choice": None if solution.choice is None else _values(solution.choice),
        "reason": solution.reason,
        "loss_unit": loss.strip(),
        "finalists": [_values(one) for one in solution.finalists],
        "frontier": [_values(one) for one in solution.frontier],
        "missed": [
            {**_values(one), "excess": one.excess(budget)} for one in misses(solution, budget)
        ],
        "tried": [_values(one) for one in solution.candidates if one.trials],
        "failed": [
            {"configuration": one.configuration.name, "error": one.error}
            for one in solution.candidates
            if one.error
        ],
        "notes": list(notes),
    }


def _values(candidate: Candidate) -> dict[str, Any]:
    low, high = candidate.fps_range
    return {
        "configuration": candidate.configuration.name,
        "fps": round(candidate.fps, 2),
        "fps_range": [round(low, 2), round(high, 2)],
        "latency_p95": round(candidate.latency, 2),
        "loss": None if candidate.loss is None else round(candidate.loss, 3),
        "size": candidate.size,
        "memory": candidate.memory,
    }
