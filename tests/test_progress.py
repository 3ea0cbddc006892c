"""Long work says how far it is."""

import pytest

from labkit import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: seconds[0])
    return seconds


def lines(capsys, clock, count, each):
    for _ in progress.track(range(count), count, "measuring"):
        clock[0] += each
    return capsys.readouterr().out.splitlines()


def test_a_line_each_tenth_with_what_is_left(capsys, clock):
    found = lines(capsys, clock, count=40, each=progress.LONG / 4)
    assert found == [f"measuring: {10 * tenth} %, {50 - 5 * tenth} s left" for tenth in range(1, 10)]


def test_fewer_items_than_tenths(capsys, clock):
    found = lines(capsys, clock, count=3, each=60)
    assert found == ["measuring: 30 %, 120 s left", "measuring: 60 %, 60 s left"]


def test_what_is_soon_over_says_nothing(capsys, clock):
    assert lines(capsys, clock, count=100, each=0.49) == lines(capsys, clock, count=0, each=60) == []


def test_items_are_passed_on():
    assert list(progress.track("films", 5, "measuring")) == list("films")
