"""Where a network comes from."""

import re
from pathlib import Path

from segdeploy.train.birth import commit


def test_commit_is_the_checkout_s_own() -> None:
    """In a checkout it is a commit; an installed package has none, whatever repository it happens to lie in."""
    in_checkout = (Path(__file__).parents[1] / ".git").exists()

    assert re.fullmatch(r"[0-9a-f]{40,64}" if in_checkout else "", commit())
