"""How fast a run learns, when it ends, and how a step is cut into passes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.schedule import LAST, Plan, passes

PLAN = Plan(100, None, 32, None, 2.0, 0.45, 0.0, False, 0, None, 50, 100)


def test_the_rate_climbs_for_a_tenth_and_falls_to_its_last_share() -> None:
    rates = [PLAN.rate(step, 0.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == pytest.approx(2.0) and max(rates) == pytest.approx(2.0)
    assert rates[55] == pytest.approx(2.0 * (LAST + (1 - LAST) / 2))  # half of the cosine
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False)) and rates[-1] < 1.1 * 2.0 * LAST


def test_wall_time_ends_a_run_and_drives_its_schedule() -> None:
    timed = replace(PLAN, steps=None, seconds=10.0)
    assert timed.done(5, 9.9) < 1 <= timed.done(5, 10.0)
    assert timed.rate(3, 1.0) == pytest.approx(2.0) and timed.rate(900, 10.0) == pytest.approx(2.0 * LAST)
    assert 0 < timed.rate(0, 0.0) < 2.0
    both = replace(PLAN, seconds=10.0)
    assert both.done(100, 1.0) == 1 and both.done(1, 10.0) == 1 and both.done(50, 1.0) == 0.5


@given(st.integers(1, 70), st.integers(1, 40) | st.none(), st.integers(1, 4), st.sampled_from([1, 2]))
def test_passes_hold_every_lesson_once_in_order(count: int, size: int | None, world: int, unit: int) -> None:
    batch = list(range(count * unit))
    cut = passes(batch, size, world, unit)
    assert [lesson for part in cut for lesson in part] == batch and len(cut) % world == 0
    assert all(len(part) % unit == 0 for part in cut)
    if size is not None and unit == world == 1:
        assert max(len(part) for part in cut) <= size
    assert all(cut) or count < world, "a process without a pass would wait for the others for ever"
    assert max(len(part) for part in cut) - min(len(part) for part in cut) <= unit
