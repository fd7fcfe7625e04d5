"""Set-up of a run."""

import re
from pathlib import Path

from segdeploy.train.run_setup import commit


def test_commit_is_that_of_the_checkout() -> None:
    """In a checkout it is a commit.

    An installed package has none, whatever repository it happens to lie in.
    """
    in_checkout = (Path(__file__).parents[2] / ".git").exists()

    assert re.fullmatch(r"[0-9a-f]{40,64}" if in_checkout else "", commit())
