"""A loss as it is written: names with weights, for example `ce+dice` or `0.5*ohem+lovasz`."""

from math import inf

from segdeploy.errors import ConfigError

LOSSES = ("ce", "ohem", "focal", "dice", "lovasz")


def read_terms(text: str) -> tuple[tuple[float, str], ...]:
    """Give the weight and the name of each loss in a sum.

    Raises:
        ConfigError: A name is unknown, or a weight is no number above 0.
    """
    return tuple(_read_term(term.strip(), text) for term in text.split("+"))


def _read_term(term: str, text: str) -> tuple[float, str]:
    weight, times, name = term.rpartition("*")
    try:
        number = float(weight) if times else 1.0
    except ValueError:
        number = 0.0
    if not 0 < number < inf or name.strip() not in LOSSES:
        msg = f"loss is {text!r}; it must be one of {', '.join(LOSSES)}, or a sum as ce+dice or 0.5*ohem+lovasz"
        raise ConfigError(msg)
    return number, name.strip()
