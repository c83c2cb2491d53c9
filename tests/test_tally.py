"""What a run tells of itself."""

import json

import pytest
import torch

from hooks.asks import Ask
from hooks.tally import Tally

FREE, SCORED = Ask("a", "What?"), Ask("b", "What?", options=("blur",))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time in seconds that the test sets."""
    now = [100.0]
    monkeypatch.setattr("hooks.tally.time.perf_counter", lambda: now[0])
    return now


def test_answers_tokens_and_seconds_are_counted_by_kind(clock: list[float]) -> None:
    tally = Tally(torch.device("cpu"))
    for ask, count, seconds in ((FREE, 4, 2.0), (SCORED, 6, 1.0), (FREE, 2, 2.0)):
        with tally.answers(ask, count):
            clock[0] += seconds
    tally.tokens += 30
    clock[0] += 5
    found = tally.summary()
    assert found == json.loads(json.dumps(found)) and found["device"] == "cpu" and found.pop("started")[-1] == "Z"
    assert found == {
        "device": "cpu", "seconds": 10.0, "free_answers": 6, "scored_answers": 6, "generated_tokens": 30, "seconds_generating": 4.0,
        "seconds_scoring": 1.0, "tokens_per_second": 7.5, "answers_per_second": 1.2, "model_share": 0.5,
    }  # fmt: skip
    assert tally.sentence() == "12 answers in 10.0 s: 1.2 per second, 7.5 tokens per second; 50% of the time in the model"


def test_answers_that_failed_do_not_count(clock: list[float]) -> None:
    tally = Tally(torch.device("cpu"))
    with pytest.raises(MemoryError), tally.answers(FREE, 4):
        clock[0] += 3
        raise MemoryError
    clock[0] += 1
    found = tally.summary()
    assert (found["free_answers"], found["seconds_generating"], found["tokens_per_second"], found["seconds"]) == (0, 0, None, 4)
    assert "tokens per second" not in tally.sentence()
