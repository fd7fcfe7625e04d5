"""Lines of JSON about zones: the share of each class in each zone of each frame, and alerts."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from segdeploy.video.alerts import AlertEvent, AlertWatch
from segdeploy.video.annotations import incremental_file
from segdeploy.video.frames import Outputs, SegmentedFrame
from segdeploy.video.zones import ZoneMeter


@contextmanager
def with_zone_lines(
    outputs: AbstractContextManager[Outputs],
    path: Path,
    *,
    meter: ZoneMeter,
    watch: AlertWatch,
    tell: Callable[[AlertEvent], None],
) -> Iterator[Outputs]:
    """Add a file about zones to the outputs of a run.

    A line has the frame's number, its time in seconds, the shares, and the events that begin.

    Args:
        outputs: The other outputs, which are entered and left here.
        path: Path of the file.
        meter: Measures the shares.
        watch: Finds the events.
        tell: Called with each event.

    Raises:
        OutputError: The file cannot be written.
    """
    with outputs as others, incremental_file(path) as write:

        def add(result: SegmentedFrame) -> None:
            shares = meter.measure(result.mask)
            events: Sequence[AlertEvent] = watch.update(shares, result.frame.seconds)
            line: dict[str, object] = {
                "frame": result.frame.index,
                "seconds": round(result.frame.seconds, 6),
                "zones": shares,
            }
            if events:
                line["alerts"] = [asdict(event) for event in events]
            write(json.dumps(line) + "\n")
            for event in events:
                tell(event)

        yield replace(others, writers=(*others.writers, add), paths=(*others.paths, path))
