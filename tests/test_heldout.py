"""References that are watched are not learnt, and evaluations ask for all classes."""

from collections import Counter

import pytest

from stimuli.errors import InputError
from stimuli.sets import exam_set
from tuning.heldout import held_out_lessons, split_references


def test_no_reference_is_learnt_and_watched() -> None:
    train = exam_set(10, levels=(5,), split="train", measure=False)
    learnt, watched = split_references(train, 0.3, seed=0)
    assert len(learnt) + len(watched) == len(train)
    assert len({s.reference for s in watched}) == 3 and not {s.reference for s in learnt} & {s.reference for s in watched}
    assert {s.reference for s in split_references(train, 0.3, seed=1)[1]} != {s.reference for s in watched}
    assert split_references(train, 0.0, seed=0) == (train, ())
    assert split_references(learnt, watched, seed=0) == (learnt, watched)


def test_shares_that_leave_nothing_and_leaks_are_refused() -> None:
    train = exam_set(2, levels=(5,), split="train", measure=False)
    with pytest.raises(InputError, match="Got validation=1.5. Expected the share"):
        split_references(train, 1.5, 0)
    with pytest.raises(InputError, match="validation=0.9 of 2 training references, which leaves none"):
        split_references(train, 0.9, 0)
    with pytest.raises(InputError, match="held out"):
        split_references(train, train, 0)


def test_an_evaluation_asks_for_the_classes_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    stimuli = exam_set(3, levels=(2, 5), split="train", measure=False)
    lessons = held_out_lessons(stimuli, "paper8", 0)
    assert len(lessons) == len(stimuli) and lessons == held_out_lessons(stimuli, "paper8", 0)
    monkeypatch.setattr("tuning.heldout.MOST", 16)
    counts = Counter(lesson.target for lesson in held_out_lessons(stimuli, "paper8", 0))
    assert sum(counts.values()) == 16 and set(counts.values()) == {2}
    assert held_out_lessons((), "paper8", 0) == ()
