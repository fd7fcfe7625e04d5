"""What another command measured, beside a benchmark's own rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from segdeploy.errors import SegdeployError


@dataclass(frozen=True, kw_only=True)
class Aside:
    """What another command measured.

    Attributes:
        title: What it measured.
        facts: On what, by name: the count of samples, the size and the like.
        ways: Figures of each way, by the way's name, each by its own.
    """

    title: str
    facts: Mapping[str, Any]
    ways: Mapping[str, Mapping[str, float]]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave, through JSON or not."""
        return cls(**values)

    @classmethod
    def read(cls, title: str, text: str) -> Self:
        """Take what a command printed as JSON: an object of figures for each way under "ways", and facts beside it.

        Raises:
            SegdeployError: It is not of that form.
        """
        try:
            values = json.loads(text)
            ways = {
                str(way): {str(name): float(value) for name, value in found.items() if isinstance(value, int | float)}
                for way, found in values["ways"].items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f'{title} printed no figures ({type(error).__name__}: {error}); it must print JSON with "ways"'
            raise SegdeployError(msg) from error
        facts = {name: value for name, value in values.items() if name not in {"ways", "machine"}}
        return cls(title=title, facts=facts, ways=ways)

    @property
    def columns(self) -> list[str]:
        """Names of the figures, in the order in which they come first."""
        return list(dict.fromkeys(name for found in self.ways.values() for name in found))

    @property
    def hint(self) -> str:
        """The facts in a line."""
        return ", ".join(f"{name} {value}" for name, value in self.facts.items() if not isinstance(value, dict))

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """The ways by name, and their figures as text in the order of `columns`."""
        return [(way, [f"{found[name]:.4g}" if name in found else "–" for name in self.columns]) for way, found in self.ways.items()]
