"""A network's size on the command line."""

import click
import pytest

from segdeploy.cli.options import ImageSize


def test_size_is_one_number_or_two() -> None:
    """Height comes first, as in every shape."""
    assert ImageSize().convert("180,240", None, None) == (180, 240)
    assert ImageSize().convert("320", None, None) == (320, 320)


@pytest.mark.parametrize("wrong", ["", "180x240", "1,2,3", "180,", "-3", "0"])
def test_other_words_are_no_size(wrong: str) -> None:
    """A typing error is told before anything is loaded."""
    with pytest.raises(click.BadParameter, match="is no size"):
        ImageSize().convert(wrong, None, None)
