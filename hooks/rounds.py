"""Rounds of questions: one batch of stimuli shown in one way, with everything that is asked about it, made ready ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hooks.ahead import Readers, default_workers, pinned, told
from hooks.answer import Options, free, scored
from hooks.asks import Ask
from hooks.batch import Batch
from hooks.book import Book
from hooks.load import Mllm
from hooks.reuse import processed_once
from stimuli.types import Stimulus
from stimuli.views import Shown, View
from stimuli.worker import shown_or_error

DEPTH = 2
"""Rounds under way at a time: what bounds the memory."""
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
    """By question; empty where these images only fit one by one."""
    refused: list[tuple[int, Exception]] = field(default_factory=list)
    """Place in the list, and why."""


def rounds(stimuli: Sequence[Stimulus], asks: Sequence[Ask], block: Sequence[int], keys: Keys, book: Book) -> list[Round]:
    """What is left to ask about a batch: one round per view and set of stimuli that lack the same answers."""
    groups: dict[tuple[str, tuple[int, ...]], list[tuple[Ask, int]]] = {}
    views: dict[str, View] = {}
    for ask in asks:
        for repeat in range(ask.repeats):
            places = tuple(place for place in block if keys[ask.name][place][repeat] not in book)
            if places:
                view = str([ask.view.identity(stimuli[place]) for place in places])
                views[view] = ask.view
                groups.setdefault((view, places), []).append((ask, repeat))
    return [Round(places, views[view], tuple(found)) for (view, places), found in groups.items()]


def inputs(mllm: Mllm, ask: Ask, shown: Sequence[Shown], places: Sequence[int]) -> Batch | Options:
    """What the model is given for one question about some images, in memory that a GPU reads without waiting for the processor."""
    prompts = [ask.text(place) for place in places]
    images: Any = None if shown[0] is None else shown
    if ask.options:
        made = scored(mllm, images, prompts, ask.options, ask.prefix)
        return Options(tuple(map(pinned, made.batches)), made.single)
    return pinned(free(mllm, images, prompts, ask.prefix))


def ready(mllm: Mllm, own: Round, shown: Sequence[Shown | Exception]) -> Ready:
    """The inputs of every question of a round; images that the processor rejects are found one by one."""
    good = [(place, image) for place, image in zip(own.places, shown, strict=True) if not isinstance(image, Exception)]
    refused = [(place, image) for place, image in zip(own.places, shown, strict=True) if isinstance(image, Exception)]
    made = Ready(Round(tuple(place for place, _ in good), own.view, own.asks), [image for _, image in good], {}, refused)
    if not good:
        return made
    try:
        with processed_once(mllm.processor):
            made.inputs = {ask.name: inputs(mllm, ask, made.shown, made.round.places) for ask, _ in own.asks}
    except Exception:  # whatever a processor raises; one by one tells whose fault it is
        return _sifted(mllm, made)
    return made


def _sifted(mllm: Mllm, made: Ready) -> Ready:
    ask = made.round.asks[0][0]
    good: list[tuple[int, Shown]] = []
    for place, image in zip(made.round.places, made.shown, strict=True):
        try:
            inputs(mllm, ask, [image], [place])
            good.append((place, image))
        except Exception as error:
            made.refused.append((place, told(error, image) if isinstance(image, np.ndarray) else error))
    own = Round(tuple(place for place, _ in good), made.round.view, made.round.asks)
    return Ready(own, [image for _, image in good], {}, made.refused)


def ahead(mllm: Mllm, stimuli: Sequence[Stimulus], todo: Sequence[Round], workers: int | None) -> Iterator[Ready]:
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
