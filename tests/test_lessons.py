"""What is taught: balanced classes and words, pairs of severities, replays of the untouched model, and no held-out reference."""

from collections import Counter

import numpy as np
import pytest

from hooks.answer import generate
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.sets import exam_set
from stimuli.types import Stimulus, StimulusSet
from tests.speakers import speaking
from tuning.lessons import (
    REPLAY_TOKENS,
    Lesson,
    Lessons,
    own_words,
    prepare,
    refuse_held_out,
    replayed,
    whole_sentences,
)
from tuning.tuned import _in_order


def stimulus(id: str, type: str | None = None, level: int | None = None, reference: str = "r", **more: float) -> Stimulus:
    return Stimulus(id, reference, type, level, **more)  # type: ignore[arg-type]


def crossed(
    levels: tuple[int, ...] = (1, 3, 5), types: tuple[str, ...] = ("jpeg", "white_noise", "mean_shift")
) -> list[Stimulus]:
    """Clean images and every type at every level, of three references."""
    shown = [stimulus(f"r{r}", reference=f"r{r}") for r in range(3)]
    return shown + [stimulus(f"r{r}-{t}-{v}", t, v, f"r{r}") for r in range(3) for t in types for v in levels]


def ids(lessons: list[Lesson]) -> list[str]:
    return [lesson.stimulus.id for lesson in lessons]


def test_classes_are_equally_likely_and_replays_are_the_models_own_words(llava: Mllm) -> None:
    train = exam_set(4, levels=(5,), split="train", measure=False)
    lessons = prepare(train, "paper8", own_words(llava, train, 3, progress=False))
    assert len(lessons.by_class) == 8 and all(len({x.answer for x in own}) == 1 for own in lessons.by_class)
    drawn = [x for i in range(40) for x in lessons.batch(10, 0.4, np.random.default_rng(i))]
    counts = Counter(x.target for x in drawn)
    assert counts.pop(-1) == 160 == sum(x.kind == "replay" for x in drawn)
    one = lessons.replays[0]
    (said,) = generate(llava, [one.stimulus.image], [one.prompt], max_new_tokens=REPLAY_TOKENS, progress=False)
    assert whole_sentences(said) == one.answer, "this random model never ends"
    assert {x.prompt for x in lessons.replays} == {question("describe").prompt, question("quality").prompt}
    assert max(counts.values()) < 2 * min(counts.values())


@pytest.fixture(scope="module")
def lessons() -> Lessons:
    """Of a crossed set, with two replays."""
    return prepare(crossed(), "paper8", [Lesson(crossed()[i], "What?", "that", -1, "replay") for i in (0, 4)])


@pytest.mark.parametrize("pairs", [False, True])
def test_a_batch_is_a_function_of_its_arguments_and_its_shares_are_as_asked(lessons: Lessons, pairs: bool) -> None:
    first, again, other = (lessons.batch(20, 0.25, np.random.default_rng(s), 0.2, pairs) for s in (1, 1, 2))
    assert ids(first) == ids(again) != ids(other)
    assert [x.kind for x in first] == ["answer"] * 11 + ["quality"] * 4 + ["replay"] * 5
    assert all((x.target >= 0) == (x.kind == "answer") for x in first)


def test_each_quality_word_is_equally_likely_and_right(lessons: Lessons) -> None:
    drawn = [x for i in range(50) for x in lessons.batch(10, 0.0, np.random.default_rng(i), 1.0)]
    counts = Counter(x.answer for x in drawn)
    assert set(counts) == {"excellent", "good", "poor", "bad"} and max(counts.values()) < 1.5 * min(counts.values())
    assert {x.prompt for x in drawn} == {question("quality").prompt}
    assert {(x.stimulus.level, x.answer) for x in drawn} == {(None, "excellent"), (1, "good"), (3, "poor"), (5, "bad")}


def test_partners_are_the_other_levels_of_one_reference_and_type(lessons: Lessons) -> None:
    found = {}
    for own, partners in zip(lessons.by_class, lessons.partners, strict=True):
        for lesson, others in zip(own, partners, strict=True):
            found[lesson.stimulus.id] = {own[i].stimulus.id for i in others}
    assert found["r1-jpeg-3"] == {"r1-jpeg-1", "r1-jpeg-5"}
    assert not found["r1"] and not found["r1-mean_shift-5"], "clean images and signed types have none"
    assert all(
        lesson.clean is not None and lesson.clean.id == lesson.stimulus.reference for own in lessons.by_class for lesson in own
    )


def test_pairs_stand_together_and_classes_stay_equally_likely(lessons: Lessons) -> None:
    classes: Counter[int] = Counter()
    for seed in range(60):
        batch = lessons.batch(13, 0.25, np.random.default_rng(seed), pairs=True)
        units = list(zip(batch[0:10:2], batch[1:10:2], strict=True))
        classes.update(x.target for x in batch[:10])
        for first, second in units:
            assert first.target == second.target and first.kind == second.kind == "answer"
            assert first.paired(second) == (first.stimulus.type in ("jpeg", "white_noise"))
    assert set(classes) == {0, 1, 2, 3} and max(classes.values()) < 1.5 * min(classes.values())
    assert not any(x.paired(y) for x in lessons.replays for y in lessons.replays)


def test_what_cannot_be_drawn_is_refused_in_words() -> None:
    apart = [stimulus("a", "jpeg"), stimulus("b", "white_noise", reference="q")]
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="no training stimulus tells its quality"):
        prepare(apart, "paper8").batch(8, 0.0, rng, quality=0.5)
    with pytest.raises(InputError, match=r"no two levels of one distortion type .* the constraint 'order'"):
        prepare(crossed((5,)), "paper8").batch(8, 0.0, rng, pairs=True)


def test_leaks_and_useless_sets_are_refused(six: StimulusSet) -> None:
    with pytest.raises(InputError, match=r"1 training references are held out for the exam \(r1\)"):
        refuse_held_out(six, ("r1",))
    with pytest.raises(InputError, match="Got zero training stimuli"):
        prepare([], "paper8")
    with pytest.raises(InputError, match=r"show only \['clean'\]; expected at least two classes"):
        prepare([Stimulus("a", "a", None, None)], "paper8")


def test_an_answer_that_did_not_end_is_cut_after_its_last_sentence(llava: Mllm) -> None:
    assert whole_sentences("A red barn. It stands in a") == "A red barn."
    assert whole_sentences("A barn of 3.5 m") == "A barn of 3.5 m" and whole_sentences("Is it? Yes!") == "Is it? Yes!"
    long = "a red barn stands on grass. it is old and the sky behind it is blue and"
    train = exam_set(2, levels=(5,), split="train", measure=False)
    for said, kept in ((long, "a red barn stands on grass."), ("a barn", "a barn")):
        mine = speaking(llava, lambda prompt, pixels, before, said=said: said)
        limit = len(llava.processor.tokenizer(" a red barn stands on grass. it is")["input_ids"])
        found = own_words(mine, train, 2, progress=False, max_new_tokens=limit)
        assert {lesson.answer for lesson in found} == {kept} and len(found) == 4
    assert {lesson.prompt for lesson in own_words(mine, train, 2, progress=False, quality=False)} == {
        question("describe").prompt
    }


def test_processes_that_share_the_questions_ask_what_one_asks(llava: Mllm) -> None:
    train = exam_set(2, levels=(5,), split="train", measure=False)
    whole = own_words(llava, train, 5, progress=False)
    shares = [own_words(llava, train, 5, progress=False, rank=rank, world=2) for rank in (0, 1)]
    rows = [[lesson.stimulus.id, lesson.prompt, lesson.answer] for share in shares for lesson in share]
    ids = [s.id for s in replayed(train, 5, 0)]
    assert _in_order([*rows, *rows[:2]], ids) == [[lesson.stimulus.id, lesson.prompt, lesson.answer] for lesson in whole]


def test_constraints_that_nothing_could_satisfy_are_refused() -> None:
    distorted = exam_set(2, levels=(5,), split="train", measure=False).select(lambda s: s.type is not None)
    lessons = prepare(distorted, "paper8")
    lessons.check(0.0, False, ("align", "keep"), 1)
    with pytest.raises(InputError, match="hold no clean image, on which the constraint 'distill' is"):
        lessons.check(0.0, False, ("distill",))
    lessons.check(0.0, False, ("decorrelate",), 8)
    with pytest.raises(InputError, match="A pass holds 2 distortion lessons, too few .* Raise micro_batch"):
        lessons.check(0.0, False, ("decorrelate",), 2.2)
