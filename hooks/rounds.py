"""Rounds of questions: one batch of stimuli shown in one way, with everything that is asked about it, made ready ahead of the model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from hooks.ahead import Pinned, Readers, default_workers, pinned
from hooks.answer import Options, free, scored
from hooks.asks import Ask
from hooks.batch import Batch
from hooks.book import Book
from hooks.load import Mllm
from hooks.reuse import processed_once
from stimuli.errors import InputError
from stimuli.types import Stimulus
from stimuli.views import Shown, View
from stimuli.worker import shown_or_error

DEPTH = 2
"""Rounds under way at a time: what bounds the memory."""
ALONE = threading.Lock()
"""Held while inputs are made: neither tokenizers nor ``processed_once`` are for two threads at a time."""
Keys = Mapping[str, Sequence[Sequence[str]]]
"""Question to the keys of its answers, stimulus by stimulus and repeat by repeat."""


@dataclass(frozen=True)
class Round:
    """Some stimuli in one view, and what is asked about them."""

    places: tuple[int, ...]
    """Of the stimuli in the list."""
    view: View
    asks: tuple[tuple[Ask, int], ...]
    """Questions, each with the number of the repeat."""

    @property
    def answers(self) -> int:
        """How many will be given."""
        return len(self.places) * len(self.asks)


@dataclass
class Ready:
    """A round with its inputs, and the stimuli that cannot be shown."""

    round: Round
    shown: list[Shown]
    inputs: dict[str, Batch | Options] = field(default_factory=dict)
    """By question; empty where the processor takes these images in smaller batches only."""
    refused: list[tuple[int, Exception]] = field(default_factory=list)
    """Place in the list, and why."""
    rejected: int = 0
    """How many of these could be shown, but not to this model."""


def rounds(stimuli: Sequence[Stimulus], asks: Sequence[Ask], block: Sequence[int], keys: Keys, book: Book) -> list[Round]:
    """What is left to ask about a batch: one round per view and set of stimuli that lack the same answers, each once."""
    groups: dict[tuple[str, tuple[int, ...]], list[tuple[Ask, int]]] = {}
    views: dict[str, View] = {}
    planned: set[str] = set()
    for ask in asks:
        for repeat in range(ask.repeats):
            wanted = {place: keys[ask.name][place][repeat] for place in block}
            places = tuple(place for place, key in wanted.items() if key not in book and key not in planned)
            planned.update(wanted.values())
            if places:
                view = str([ask.view.identity(stimuli[place]) for place in places])
                views[view] = ask.view
                groups.setdefault((view, places), []).append((ask, repeat))
    return [Round(places, views[view], tuple(found)) for (view, places), found in groups.items()]


def ready(mllm: Mllm, own: Round, shown: Sequence[Shown | Exception]) -> Ready:
    """The inputs of every question of a round; images that the processor rejects are found one by one."""
    found = list(zip(own.places, shown, strict=True))
    refused = [(place, image) for place, image in found if isinstance(image, Exception)]
    good = [(place, image) for place, image in found if not isinstance(image, Exception)]
    with ALONE:
        try:
            return Ready(_of(own, good), [image for _, image in good], _inputs(mllm, own, good), refused)
        except Exception:  # whatever a processor raises; one by one tells whose fault it is
            return _sifted(mllm, own, good, refused)


def _of(own: Round, shown: Sequence[tuple[int, Shown]]) -> Round:
    return Round(tuple(place for place, _ in shown), own.view, own.asks)


def _inputs(mllm: Mllm, own: Round, shown: Sequence[tuple[int, Shown]]) -> dict[str, Batch | Options]:
    """What the model is given for each question about some images."""
    held: Pinned = {}
    with processed_once(mllm.processor):
        return {ask.name: _input(mllm, ask, shown, held) for ask in {ask.name: ask for ask, _ in own.asks}.values() if shown}


def _input(mllm: Mllm, ask: Ask, shown: Sequence[tuple[int, Shown]], held: Pinned) -> Batch | Options:
    prompts = [ask.text(place) for place, _ in shown]
    images: Any = None if shown[0][1] is None else [image for _, image in shown]
    if ask.options:
        made = scored(mllm, images, prompts, ask.options, ask.prefix, ask.system)
        return replace(made, batches=tuple(pinned(batch, held) for batch in made.batches))
    return pinned(free(mllm, images, prompts, ask.prefix, ask.system), held)


def _sifted(mllm: Mllm, own: Round, shown: Sequence[tuple[int, Shown]], refused: list[tuple[int, Exception]]) -> Ready:
    good, bad = [], []
    for one in shown:
        try:
            _inputs(mllm, own, [one])
            good.append(one)
        except Exception as error:
            bad.append((one[0], _told(error, one[1])))
    try:
        made = _inputs(mllm, own, good)
    except Exception:  # all are good alone, it is together that they fail
        made = {}
    return Ready(_of(own, good), [image for _, image in good], made, [*refused, *bad], len(bad))


def _told(error: Exception, shown: Shown) -> InputError:
    """That the processor rejects what is shown, and why."""
    images = () if shown is None else shown if isinstance(shown, tuple) else (shown,)
    shapes = " and ".join(" x ".join(str(side) for side in image.shape) for image in images) or "no image"
    return InputError(
        f"The model's processor rejects a question with {shapes} ({type(error).__name__}: {error}). Expected what it takes: resize or "
        "remove the image, or leave out this way of showing it; without --strict the stimulus is skipped."
    )


def ahead(mllm: Mllm, stimuli: Sequence[Stimulus], todo: Sequence[Round], workers: int | None) -> Generator[Ready]:
    """Rounds made ready in order, a few ahead of whoever asks.

    Args:
        mllm: the model.
        stimuli: all of them.
        todo: the rounds.
        workers: how many read and distort images; by default what ``hooks.ahead.default_workers`` says, 0 for none.
    """
    if workers == 0:
        for own in todo:
            yield ready(mllm, own, [shown_or_error(own.view.of(stimuli[place])) for place in own.places])
        return
    gpu = mllm.device.type == "cuda"
    readers, builder = Readers(default_workers(gpu) if workers is None else workers, gpu), ThreadPoolExecutor(1)
    under_way: deque[Future[Ready]] = deque()
    try:
        for own in todo:
            images = [readers.submit(shown_or_error, own.view.of(stimuli[place])) for place in own.places]
            under_way.append(builder.submit(_when_shown, mllm, own, images))
            if len(under_way) == DEPTH:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        builder.shutdown(cancel_futures=True)
        readers.shutdown()


def _when_shown(mllm: Mllm, own: Round, images: Sequence[Future[Shown | Exception]]) -> Ready:
    return ready(mllm, own, [image.result() for image in images])
