"""Rounds: what is left to ask about a batch, its inputs made once, and never many rounds at a time."""

import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from hooks import rounds as module
from hooks.ahead import Readers
from hooks.answer import Options, free, scored
from hooks.asks import Ask
from hooks.batch import Batch
from hooks.book import Book
from hooks.load import Mllm
from hooks.rounds import DEPTH, Ready, Round, ahead, ready, rounds
from stimuli.errors import InputError
from stimuli.types import Stimulus, StimulusSet
from stimuli.views import IMAGE, beside, view
from stimuli.worker import shown_or_error

SCORED = Ask("scored", "Which?", options=("blur", "white noise", "noise blur"))
FREE = Ask("free", "What?")
DRAWN = Ask("drawn", "What does it show?", temperature=1.0, repeats=3)
HIDDEN = Ask("hidden", "What?", view=view("blank"))
TEXT = Ask("text", "What?", view=view("none"))


class Picky:
    """An image processor that takes no image with a dark corner, and so many at a time."""

    def __init__(self, inner: Any, most: int = 99) -> None:
        self.inner, self.most, self.calls = inner, most, 0

    def __call__(self, images: Any, **options: Any) -> Any:
        self.calls += 1
        each = [one for image in images for one in (image if isinstance(image, list) else [image])]  # nested, or flat
        if any(one[0, 0, 0] == 0 for one in each):
            raise ZeroDivisionError("too dark")
        if len(images) > self.most:
            raise ValueError("too many")
        return self.inner(images, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def planned(stimuli: Sequence[Stimulus], asks: Sequence[Ask], block: Sequence[int], book: Book) -> list[Round]:
    keys = {ask.name: [ask.keys(s, place) for place, s in enumerate(stimuli)] for ask in asks}
    return rounds(stimuli, asks, block, keys, book)


def known(stimuli: Sequence[Stimulus], *answers: tuple[Ask, int, int]) -> Book:
    """A book that holds the answers to some questions, each about one place and of one repeat."""
    book = Book(None, {})
    book.add([{"key": ask.keys(stimuli[place], place)[repeat]} for ask, place, repeat in answers])
    return book


def told(own: Sequence[Round]) -> list[tuple[str, tuple[int, ...], list[tuple[str, int]]]]:
    return [(one.view.name, one.places, [(ask.name, repeat) for ask, repeat in one.asks]) for one in own]


def test_all_questions_about_the_same_images_stand_in_one_round(six: StimulusSet) -> None:
    found = planned(six, [FREE, HIDDEN, DRAWN, SCORED, replace(HIDDEN, name="too", prompt="Which?")], [1, 2], Book(None, {}))
    assert told(found) == [
        ("image", (1, 2), [("free", 0), ("drawn", 0), ("drawn", 1), ("drawn", 2), ("scored", 0)]),
        ("blank", (1, 2), [("hidden", 0), ("too", 0)]),
    ]
    assert [own.answers for own in found] == [10, 4]


def test_only_what_is_not_known_is_asked(six: StimulusSet) -> None:
    book = known(six, (FREE, 0, 0), (DRAWN, 0, 0), (DRAWN, 1, 0), (DRAWN, 2, 0), (DRAWN, 2, 1))
    assert told(planned(six, [FREE, DRAWN], [0, 1, 2], book)) == [
        ("image", (1, 2), [("free", 0)]),
        ("image", (0, 1), [("drawn", 1)]),
        ("image", (0, 1, 2), [("drawn", 2)]),
    ]
    everything = known(six, (FREE, 0, 0), *((DRAWN, 0, repeat) for repeat in range(3)))
    assert planned(six, [FREE, DRAWN], [0], everything) == []


def test_the_same_question_by_two_names_is_asked_once(six: StimulusSet) -> None:
    more = replace(DRAWN, name="more", repeats=4)
    same = replace(FREE, name="same")
    found = planned(six, [FREE, same, DRAWN, more], [0, 1], Book(None, {}))
    assert told(found) == [("image", (0, 1), [("free", 0), ("drawn", 0), ("drawn", 1), ("drawn", 2), ("more", 3)])]


def test_pairs_with_other_partners_are_rounds_of_their_own(six: StimulusSet) -> None:
    one, other = (Ask(str(shift), "Which?", view=beside(six, [*six[shift:], *six[:shift]])) for shift in (1, 2))
    assert told(planned(six, [one, other, replace(one, name="again", prompt="What?")], [0, 1], Book(None, {}))) == [
        ("first and second", (0, 1), [("1", 0), ("again", 0)]),
        ("first and second", (0, 1), [("2", 0)]),
    ]


def a_round(asks: Sequence[Ask], places: Sequence[int] = (0, 1, 2)) -> Round:
    return Round(tuple(places), asks[0].view, tuple((ask, repeat) for ask in asks for repeat in range(ask.repeats)))


def same(one: Batch, other: Batch) -> bool:
    values = [(one.tensors[name], other.tensors[name]) for name in one.tensors]
    return one.tensors.keys() == other.tensors.keys() and all(torch.equal(a, b) for a, b in values)


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_inputs_are_those_of_each_question_alone_and_the_images_are_processed_once(
    family: str, six: StimulusSet, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    images, asks = [s.image for s in six[:3]], [FREE, DRAWN, SCORED]
    looks, built = Picky(mllm.processor.image_processor), Mock(wraps=free)
    monkeypatch.setattr(mllm.processor, "image_processor", looks)
    monkeypatch.setattr(module, "free", built)
    made = ready(mllm, a_round(asks), images)
    assert looks.calls == 1 and built.call_count == 2  # the three repeats of one question share its inputs
    assert made.inputs.keys() == {"free", "drawn", "scored"} and not made.refused and made.rejected == 0
    options = made.inputs["scored"]
    alone = scored(mllm, images, ["Which?"] * 3, SCORED.options)
    assert isinstance(options, Options) and (options.tokens, options.starts) == (alone.tokens, alone.starts)
    assert all(map(same, options.batches, alone.batches))
    for ask in (FREE, DRAWN):
        batch = made.inputs[ask.name]
        assert isinstance(batch, Batch) and same(batch, free(mllm, images, [ask.text(0)] * 3))
        assert all(batch.tensors["pixel_values"] is one.tensors["pixel_values"] for one in options.batches)


def test_every_stimulus_gets_its_own_prompt(llava: Mllm, six: StimulusSet) -> None:
    ask = Ask("own", tuple(f"Question {i}?" for i in range(6)))
    batch = ready(llava, a_round([ask], (4, 1)), [six[4].image, six[1].image]).inputs["own"]
    assert isinstance(batch, Batch)
    texts = llava.processor.tokenizer.batch_decode(batch.tensors["input_ids"], skip_special_tokens=True)
    assert ["Question 4?" in texts[0], "Question 1?" in texts[1]] == [True, True]


def test_a_gpu_gets_each_tensor_once(llava: Mllm, six: StimulusSet, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[int] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.ndim)
        return tensor.clone()

    monkeypatch.setattr("hooks.ahead.torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    made = ready(llava, a_round([FREE, SCORED]), [s.image for s in six[:3]])
    options, batch = made.inputs["scored"], made.inputs["free"]
    assert isinstance(options, Options) and isinstance(batch, Batch)
    assert (
        len(options.batches) == 2 and pinned.count(4) == 1 and pinned.count(2) == 2 * 3
    )  # pixels; ids and mask of three batches
    assert same(batch, free(llava, [s.image for s in six[:3]], ["What?"] * 3))


@pytest.fixture
def picky(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> Picky:
    found = Picky(llava.processor.image_processor)
    monkeypatch.setattr(llava.processor, "image_processor", found)
    return found


def marked(six: StimulusSet, *corners: int) -> list[np.ndarray]:
    images = [six[i].image.copy() for i in range(len(corners))]
    for image, corner in zip(images, corners, strict=True):
        image[0, 0, 0] = corner
    return images


def test_bad_images_are_found_one_by_one_and_the_others_are_asked_together(llava: Mllm, six: StimulusSet, picky: Picky) -> None:
    images, unread = marked(six, 1, 0, 1), InputError("x.png cannot be read")
    made = ready(llava, a_round([FREE, SCORED], (5, 4, 3, 2)), [images[0], unread, images[1], images[2]])
    assert made.round.places == (5, 2) and [image is images[i] for image, i in zip(made.shown, (0, 2), strict=True)] == [
        True,
        True,
    ]
    assert [place for place, _ in made.refused] == [4, 3] and made.refused[0][1] is unread and made.rejected == 1
    reason = made.refused[1][1]
    assert isinstance(
        reason, InputError
    ) and "rejects a question with 128 x 128 x 3 (ZeroDivisionError: too dark). Expected" in str(reason)
    batch = made.inputs["free"]
    assert isinstance(batch, Batch) and same(batch, free(llava, [images[0], images[2]], ["What?"] * 2))


def test_images_that_only_go_in_smaller_batches_are_kept_without_inputs(llava: Mllm, six: StimulusSet, picky: Picky) -> None:
    picky.most = 1
    made = ready(llava, a_round([FREE, SCORED]), marked(six, 1, 1, 1))
    assert len(made.shown) == 3 and made.inputs == {} and made.refused == [] and made.rejected == 0


def test_a_round_without_any_good_image_is_made_ready_too(llava: Mllm, six: StimulusSet, picky: Picky) -> None:
    made = ready(llava, a_round([FREE], (0, 1)), marked(six, 0, 0))
    assert (made.shown, made.inputs, made.rejected, made.round.places) == ([], {}, 2, ())
    unread = ready(llava, a_round([FREE], (0, 1)), [InputError("a"), InputError("b")])
    assert (unread.shown, unread.inputs, unread.rejected, len(unread.refused)) == ([], {}, 0, 2)


def test_a_bad_prompt_is_its_own_stimulus_s_fault(llava: Mllm, six: StimulusSet) -> None:
    ask = Ask("own", ("What?", "Two <image> here?", "Which?"))
    made = ready(llava, a_round([FREE, ask]), [s.image for s in six[:3]])
    assert made.round.places == (0, 2) and "own" in made.inputs and [place for place, _ in made.refused] == [1]


def test_no_image_and_two_images_are_told_by_what_they_are(llava: Mllm, six: StimulusSet, picky: Picky) -> None:
    pair = Ask("pair", "Which?", view=beside(six, [*six[1:], six[0]]))
    one, other = marked(six, 1, 0)
    made = ready(llava, a_round([pair], (0, 1)), [(one, one), (one, other)])
    assert made.round.places == (0,) and "a question with 128 x 128 x 3 and 128 x 128 x 3 (Zero" in str(made.refused[0][1])
    text = ready(llava, a_round([TEXT]), [None] * 3).inputs["text"]
    assert isinstance(text, Batch) and "pixel_values" not in text.tensors


def names(own: Sequence[Ready]) -> list[tuple[tuple[int, ...], tuple[str, ...]]]:
    return [(made.round.places, tuple(made.inputs)) for made in own]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_rounds_come_in_order_whoever_makes_them(workers: int, llava: Mllm, six: StimulusSet) -> None:
    todo = [a_round([ask], places) for places in ((0, 1), (2, 3), (4, 5)) for ask in (FREE, HIDDEN, TEXT)]
    found = list(ahead(llava, six, todo, workers))
    assert names(found) == [(own.places, (own.asks[0][0].name,)) for own in todo]
    blank = found[1].shown[0]
    assert isinstance(blank, np.ndarray) and (blank == 255).all() and found[2].shown == [None, None]


class Source:
    """Stimuli whose images are made when asked for, and how many of them are alive."""

    def __init__(self, count: int) -> None:
        self.made: list[weakref.ref[np.ndarray]] = []
        self.stimuli = [Stimulus(f"s{i}", f"r{i}", None, None, pixels=self.image) for i in range(count)]

    def image(self) -> np.ndarray:
        image = np.full((32, 32, 3), 7, np.uint8)
        self.made.append(weakref.ref(image))
        return image

    @property
    def alive(self) -> int:
        return sum(made() is not None for made in self.made)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_images_in_memory_are_those_of_the_rounds_under_way(workers: int, llava: Mllm) -> None:
    source, most = Source(40), 0
    todo = [a_round([FREE], range(start, start + 4)) for start in range(0, 40, 4)]
    for made in ahead(llava, source.stimuli, todo, workers):
        assert len(made.shown) == 4
        del made
        most = max(most, source.alive)
    assert len(source.made) == 40 and most <= (DEPTH + 1) * 4


def test_closing_ends_the_threads_and_reads_no_further(llava: Mllm) -> None:
    source, before = Source(40), set(threading.enumerate())
    todo = [a_round([FREE], range(start, start + 4)) for start in range(0, 40, 4)]
    made = ahead(llava, source.stimuli, todo, 2)
    next(made)
    assert set(threading.enumerate()) - before
    made.close()
    assert not set(threading.enumerate()) - before and len(source.made) <= (DEPTH + 1) * 4


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_that_is_no_bad_image_gets_out_and_ends_the_threads(workers: int, llava: Mllm, six: StimulusSet) -> None:
    before = set(threading.enumerate())
    broken: Any = lambda: 1 / 0  # noqa: E731
    stimuli = [*six[:2], replace(six[2], pixels=broken)]
    with pytest.raises(ZeroDivisionError):
        list(ahead(llava, stimuli, [a_round([FREE], (i,)) for i in range(3)], workers))
    assert not set(threading.enumerate()) - before


def test_a_file_that_cannot_be_read_is_refused_with_its_name(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    stimuli = [six[0], replace(six[1], pixels=tmp_path / "gone.png")]
    (made,) = ahead(llava, stimuli, [Round((0, 1), IMAGE, ((FREE, 0),))], 2)
    assert made.round.places == (0,) and "gone.png" in str(made.refused[0][1]) and made.rejected == 0


@pytest.mark.slow
def test_what_is_shown_may_be_made_in_other_processes(six: StimulusSet, tmp_path: Path) -> None:
    """Beside a GPU: threads until the processes have started, then these; what comes is the same."""
    readers = Readers(2, processes=True)
    views = [IMAGE, view("noise"), view("none"), beside(six, [*six[1:], six[0]])]
    lost = replace(six[0], pixels=tmp_path / "gone.png")
    try:
        for _ in range(3):
            found = [[readers.submit(shown_or_error, how.of(one)).result() for how in views] for one in six]
            for one, shown in zip(six, found, strict=True):
                for how, there in zip(views, shown, strict=True):
                    assert not isinstance(there, Exception)
                    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (how.of(one)(), there)), strict=True):
                        assert a is b is None or np.array_equal(a, b)
            assert isinstance(readers.submit(shown_or_error, IMAGE.of(lost)).result(), InputError)
            assert readers._started is not None
            readers._started.result()  # from here on in processes
    finally:
        readers.shutdown()
