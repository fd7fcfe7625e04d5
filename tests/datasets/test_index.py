"""Files of a split are found by their names, and nothing else is waited for."""

import os

import pytest

from segdeploy.datasets.index import find_files, find_tree, names_of
from segdeploy.datasets.split import held_out


def test_names_of_pairs_are_unique():
    """They are the keys of masks and the names of results; case is ignored by some systems."""
    assert names_of(["a", "b/c"]) == ["a", "b_c"]
    assert names_of(["a/b", "a_b", "A/B", "a_b-2"]) == ["a_b-3", "a_b", "A_B-4", "a_b-2"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_only_files_are_listed(tmp_path):
    """A pipe would be waited for; a link to a missing file is reported by its name later."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.png").write_text("")
    (tmp_path / "b.PNG").write_text("")
    (tmp_path / "c.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "d.png")

    assert sorted(find_files(tmp_path, (".png",), needs="")) == ["b", "c"]
    assert list(find_tree(tmp_path, (".png",))) == ["b.PNG", "below/a.png", "c.png"]


def test_a_split_is_drawn_of_any_names():
    """Also of those that are not UTF-8, as old archives hold them."""
    assert len(held_out([os.fsdecode(b"caf\xe9"), "b", "\ud800"])) == 1
