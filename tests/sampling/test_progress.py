"""The progress bar: shown when it is wanted, and only where the work takes a while."""

from types import SimpleNamespace

import pytest

from bayesmixed.sampling import progress
from bayesmixed.sampling.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set: ``clock.now = 3.0``."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def shown(capfd, clock, wanted, *seconds):
    """What a bar writes that is told of 10 evaluations after each of these times."""
    with Progress(wanted, "Sampling 5 parameters") as bar:
        for second in seconds:
            clock.now = 100.0 + second
            bar.advance(10)
    captured = capfd.readouterr()
    assert captured.err == ""
    return captured.out


def test_quick_work_shows_nothing(capfd, clock):
    assert shown(capfd, clock, True, 0.3, 0.6, 0.9) == ""


def test_longer_work_shows_how_many_evaluations_there_were_from_the_start(capfd, clock):
    assert "Sampling 5 parameters: 30 evaluations of the density" in shown(capfd, clock, True, 0.5, 1.5, 1.7)


def test_what_is_counted_may_be_something_else_of_a_known_number(capfd, clock):
    with Progress(True, "Summing", "rows", 5_000_000) as bar:
        clock.now += 2.0
        bar.advance(1_000_000)

    assert "Summing: 1,000,000 of 5,000,000 rows" in capfd.readouterr().out


def test_nothing_is_shown_unless_it_is_wanted(capfd, clock):
    assert shown(capfd, clock, False, 0.5, 1.5, 60.0) == ""


def test_the_bar_ends_when_the_work_fails(capfd, clock):
    def work():
        with Progress(True, "Sampling") as bar:
            clock.now += 2.0
            bar.advance(10)
            raise ZeroDivisionError

    for _ in range(2):  # off a terminal, a bar writes when it is stopped
        with pytest.raises(ZeroDivisionError):
            work()
    assert capfd.readouterr().out.count("Sampling: 10 evaluations") == 2
