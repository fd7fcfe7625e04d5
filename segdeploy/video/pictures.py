"""Pictures in files as a source of frames."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Self

from segdeploy.errors import DataError
from segdeploy.pictures import list_pictures, read_picture
from segdeploy.video.frames import Frame
from segdeploy.video.selection import Selection


class PictureSource:
    """Pictures one after the other, each of its own size; a frame's index is the place of its path.

    Attributes:
        paths: Every picture: files as they were given, and those in folders, sorted by name.
        frames: How many will be read.
        losses: Why pictures were left out so far, a sentence each, with the file's name.
        notes: What was changed so far, a sentence each; of pictures, nothing.
    """

    def __init__(self, paths: Sequence[Path], *, selection: Selection | None = None) -> None:
        """Look for the pictures.

        Args:
            paths: Files, and folders of which every picture is taken.
            selection: Which of them are wanted, by stride and number; all where None.

        Raises:
            DataError: A path does not exist, or there is no picture.
        """
        chosen = selection or Selection()
        self.paths = list_pictures(paths)[:: chosen.stride][: chosen.most]
        self.frames = len(self.paths)
        self._done: frozenset[int] = frozenset()
        self.losses: list[str] = []
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open between two pictures."""

    def skip(self, indices: Collection[int]) -> None:
        """Leave out these: an interrupted run has done them."""
        self._done = frozenset(indices)
        self.frames = len(self.paths) - len(self._done)

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self.paths):
            if index in self._done:
                continue
            try:
                image = read_picture(path)
            except DataError as error:
                self.losses.append(str(error))
                continue
            yield Frame(image=image, index=index, seconds=0.0)
