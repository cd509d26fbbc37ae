"""When it is tried again: jitter, ceilings, deadlines, and what 29next asks for."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.disputes.retry import expires_at, next_try, parse_retry_after
from tests.support.clock import DAY, HOUR, in_zone
from tests.support.examples import examples
from tests.support.trying import tried_with

NOW = 1_772_366_400.0  # Sun, 01 Mar 2026 12:00:00 GMT
BEYOND = f"Sun, 01 Mar {'9' * 20} 12:00:00 GMT"  # no machine's clock goes so far
CEILING, LONGEST_RETRY_AFTER = 900.0, 300.0  # seconds
many = examples(30)
seeds = st.integers(0, 10**6).map(Random)


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - repeatable, not secret


def spread(tries: int, deadline: float) -> list[float]:
    return sorted(next_try(NOW, tries, deadline, seeded(seed)) - NOW for seed in range(300))


@pytest.mark.parametrize("tries", range(1, 6))
def test_the_first_five_retries_come_within_thirty_seconds(tries: int) -> None:
    assert spread(tries, NOW + DAY)[-1] <= 30


def test_the_sixth_may_take_longer() -> None:
    assert spread(6, NOW + DAY)[-1] > 30


def test_waits_grow_up_to_their_ceiling() -> None:
    longest = [spread(tries, NOW + DAY)[-1] for tries in range(1, 20)]
    assert longest == sorted(longest)
    assert longest[0] < 2
    assert CEILING * 0.95 < longest[-1] <= CEILING
    assert spread(10**6, NOW + DAY)[-1] <= CEILING


@pytest.mark.parametrize("tries", [1, 5, 12])
def test_jitter_is_full(tries: int) -> None:
    waits = spread(tries, NOW + DAY)
    assert waits[0] < waits[-1] * 0.05
    assert waits[-1] * 0.4 < waits[150] < waits[-1] * 0.6


@many
@given(seeds, st.integers(1, 50), st.floats(0.001, 10 * DAY))
def test_before_the_deadline_the_next_try_is_no_later_than_the_deadline(
    chance: Random, tries: int, left: float
) -> None:
    assert NOW <= next_try(NOW, tries, NOW + left, chance) <= NOW + left


def test_a_try_is_made_right_before_the_deadline() -> None:
    assert next_try(NOW, 30, NOW + 0.5, seeded(1)) == NOW + 0.5


@many
@given(seeds, st.integers(1, 50), st.floats(0, 7 * DAY))
def test_after_the_deadline_it_is_tried_hourly(chance: Random, tries: int, late: float) -> None:
    wait = next_try(NOW, tries, NOW - late, chance) - NOW
    assert HOUR / 2 <= wait <= HOUR


@many
@given(seeds, st.integers(1, 50), st.floats(-DAY, DAY), st.floats(0, LONGEST_RETRY_AFTER))
def test_a_wait_that_29next_asks_for_is_kept(
    chance: Random, tries: int, left: float, retry_after: float
) -> None:
    assert next_try(NOW, tries, NOW + left, chance, retry_after) >= NOW + retry_after


def test_it_is_given_up_a_week_after_the_deadline() -> None:
    assert expires_at(NOW) == NOW + 7 * DAY


@tried_with(
    ("header", "seconds"),
    [
        ("1", 1),
        (" 30 ", 30),
        ("0", 0),
        ("1.5", 1.5),
        ("-5", 0),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60),
        ("Sun, 01 Mar 2026 12:01:00 -0000", 60),
        ("Sunday, 01-Mar-26 12:01:00 GMT", 60),
        ("Sun Mar  1 12:01:00 2026", 60),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 14:01:00 +0200", 60),
        ("Sun, 01 Mar 2099 12:00:00 GMT", LONGEST_RETRY_AFTER),
        ("31536000", LONGEST_RETRY_AFTER),
        ("9" * 400, LONGEST_RETRY_AFTER),
        ("-" + "9" * 400, 0),
        (None, None),
        ("", None),
        ("  ", None),
        ("soon", None),
        ("1e5", None),
        ("inf", None),
        ("nan", None),
        ("\u0663", None),
        ("1, 2", None),
        ("Sun, 99 Mar 2026 12:00:00 GMT", None),
        ("Sun, 01 Mar 99999 12:00:00 GMT", None),
        (BEYOND, None),
    ],
)
def test_retry_after_is_read_in_every_form_wherever_the_machine_stands(
    header: str | None, seconds: float | None
) -> None:
    for zone in ("UTC", "NZST-12"):
        with in_zone(zone):
            assert parse_retry_after(header, NOW) == seconds, zone


@many
@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} Mar -?\d{1,6} \d+:\d+:\d+ \S*"))
def test_no_header_breaks_the_reading(header: str) -> None:
    seconds = parse_retry_after(header, NOW)
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER
