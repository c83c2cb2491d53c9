"""What is taught: balanced classes, replays of the untouched model, and no held-out reference."""

from collections import Counter

import numpy as np
import pytest

from hooks.answer import generate
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.sets import exam_set
from stimuli.types import Stimulus, StimulusSet
from tuning.lessons import own_words, prepare, refuse_held_out


def test_classes_are_equally_likely_and_replays_are_the_models_own_words(llava: Mllm) -> None:
    train = exam_set(4, levels=(5,), split="train", measure=False)
    lessons = prepare(train, "paper8", own_words(llava, train, 3, progress=False))
    assert len(lessons.by_class) == 8 and all(len({x.answer for x in own}) == 1 for own in lessons.by_class)
    drawn = [x for i in range(40) for x in lessons.batch(10, 0.4, np.random.default_rng(i))]
    counts = Counter(x.target for x in drawn)
    assert counts.pop(-1) == 160
    one = lessons.replays[0]
    assert generate(llava, [one.stimulus.image], [one.prompt], progress=False) == [one.answer]
    assert {x.prompt for x in lessons.replays} == {question("describe").prompt, question("quality").prompt}
    assert max(counts.values()) < 2 * min(counts.values())


def test_leaks_and_useless_sets_are_refused(six: StimulusSet) -> None:
    with pytest.raises(InputError, match=r"1 training references are held out for the exam \(r1\)"):
        refuse_held_out(six, ("r1",))
    with pytest.raises(InputError, match="Got zero training stimuli"):
        prepare([], "paper8")
    with pytest.raises(InputError, match=r"show only \['clean'\]; expected at least two classes"):
        prepare([Stimulus("a", "a", None, None)], "paper8")
