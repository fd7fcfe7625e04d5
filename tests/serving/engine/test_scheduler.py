"""What is accepted is done, what is too much is refused at once, and who leaves costs nothing."""

import threading
from collections.abc import Iterator

import pytest

from segdeploy.errors import CancelledRequest, RequestError
from segdeploy.serving.engine.scheduler import Scheduler, Work


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that keeps a worker busy until it is set."""
    event = threading.Event()
    yield event
    event.set()


def test_full_queue_is_refused_and_the_accepted_are_done(gate: threading.Event) -> None:
    """A server under load says so at once; it does not let memory grow."""
    scheduler = Scheduler(workers=1, queue=2)
    first = scheduler.submit(lambda _: gate.wait())
    wait_until_running(scheduler)
    others = [scheduler.submit(lambda _: 1) for _ in range(2)]

    with pytest.raises(RequestError, match="2 requests are waiting") as caught:
        scheduler.submit(lambda _: 2)
    gate.set()

    assert caught.value.status == 503
    assert caught.value.retry_after == 1
    assert first.future.result() is True
    assert [other.future.result() for other in others] == [1, 1]


def wait_until_running(scheduler: Scheduler) -> None:
    """Wait until a worker has taken the only job."""
    while scheduler.waiting:
        threading.Event().wait(0.001)


def test_client_that_left_is_not_computed_for(gate: threading.Event) -> None:
    """A job that waits leaves the queue and makes room for another."""
    scheduler = Scheduler(workers=1, queue=1)
    scheduler.submit(lambda _: gate.wait())
    wait_until_running(scheduler)
    done: list[str] = []
    left = scheduler.submit(lambda _: done.append("left"))

    scheduler.cancel(left)
    other = scheduler.submit(lambda _: done.append("other"))
    gate.set()
    other.future.result()

    assert done == ["other"]
    assert left.future.cancelled()


def test_running_job_ends_at_its_next_stage(gate: threading.Event) -> None:
    """The network is not run for a client that left while its image was being decoded."""
    scheduler = Scheduler(workers=1, queue=1)
    begun = threading.Event()

    def job(work: Work) -> None:
        with work.stage("decode"):
            begun.set()
            gate.wait()
        with work.stage("infer"):
            pytest.fail("the network ran")

    ticket = scheduler.submit(job)
    begun.wait()
    scheduler.cancel(ticket)
    gate.set()

    with pytest.raises(CancelledRequest):
        ticket.future.result()


def test_job_past_its_deadline_is_given_up() -> None:
    """What waited too long is not worth the work."""
    time = [0.0]
    work = Work(deadline=5, clock=lambda: time[0])
    with work.stage("decode"):
        time[0] = 6

    with pytest.raises(RequestError, match="was not done in time"), work.stage("infer"):
        pytest.fail("it went on")

    assert work.seconds == {"decode": 6}


def test_drain_waits_for_accepted_jobs_and_refuses_new_ones(gate: threading.Event) -> None:
    """At SIGTERM nothing that was accepted is lost."""
    scheduler = Scheduler(workers=1, queue=4)
    tickets = [scheduler.submit(lambda _: gate.wait()) for _ in range(3)]

    scheduler.close()
    early = scheduler.drain(0)
    gate.set()

    with pytest.raises(RequestError, match="is stopping"):
        scheduler.submit(lambda _: 1)
    assert not early
    assert scheduler.drain(10)
    assert all(ticket.future.result() for ticket in tickets)
