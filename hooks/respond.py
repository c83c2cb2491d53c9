"""The answers of a model to any number of questions about any number of stimuli; a killed run goes on, several share the work.

Every answer is kept by what was asked about which stimulus (``hooks.asks``), so it is computed once, whoever asks for it again. Of
one image the processor and the vision tower run once for all questions about it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hooks import ranks
from hooks.answer import Drawing, Options, Said, loglik, say
from hooks.asks import Ask, Responses, check
from hooks.book import Book
from hooks.extract import IDENTITY, ids_of
from hooks.load import Mllm
from hooks.loop import out_of_memory
from hooks.reuse import images_once
from hooks.rounds import Keys, Ready, Round, ahead, ready, rounds
from hooks.tally import Tally
from stimuli.errors import InputError
from stimuli.progress import tell, tqdm
from stimuli.types import Stimulus, StimulusSet
from stimuli.views import Shown

Row = dict[str, Any]


def respond(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    asks: Sequence[Ask],
    out: str | Path | None = None,
    *,
    batch_size: int = 16,
    workers: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    job: str | None = None,
    progress: bool = True,
    strict: bool = False,
) -> dict[str, Responses]:
    """Ask every question about every stimulus.

    Args:
        mllm: the model.
        stimuli: what to show.
        asks: the questions.
        out: folder of answers; what is found there is not asked again. In memory alone by default.
        batch_size: images per forward pass; halved where memory runs out.
        workers: how many read and distort images ahead of the model; 0 for none.
        rank: which of several processes this is, from 0.
        world_size: how many there are; they share ``out`` and need not know of each other.
        job: a name that is the same for all processes started together.
        progress: show a progress bar, and at the end what was measured.
        strict: raise on the first stimulus that cannot be shown.

    Returns:
        What came back, by the name of the question, of the stimuli that have an answer to each of them.

    Raises:
        InputError: questions that cannot be told apart, no stimuli, another model's folder, a full disk, a bad stimulus (strict),
            none that can be shown, or answers of other processes that are not there yet.
    """
    ids = ids_of(stimuli)
    check(asks, len(stimuli))
    mine = ranks.checked(rank, world_size, job)
    folder = None if out is None else Path(out)
    if folder is None and world_size > 1:
        raise InputError(f"Got {world_size} processes and no folder; expected out=, which they share. Give one.")
    book = Book(folder, {name: mllm.provenance.get(name) for name in IDENTITY})
    keys = {ask.name: [ask.keys(s, place) for place, s in enumerate(stimuli)] for ask in asks}
    done = {id for i, id in enumerate(ids) if _whole(keys, i, book)}
    blocks = ranks.blocks(folder or Path(), mine, ids, done, batch_size)
    todo = [own for block in blocks for own in rounds(stimuli, asks, block, keys, book)]
    run = _Run(mllm, stimuli, book, keys, batch_size, strict)
    if todo:
        left = sum(own.answers for own in todo)
        with tqdm(total=left, desc="ask", unit="answer", disable=not progress or rank > 0) as bar:
            run(todo, workers, bar.update)
        if progress and rank == 0:
            _tell(run)
    if world_size > 1:
        book.refresh()
    return _collected(asks, ids, keys, book, run.refused, world_size)


class _Run:
    """One process's way through its rounds."""

    def __init__(self, mllm: Mllm, stimuli: Sequence[Stimulus], book: Book, keys: Keys, batch_size: int, strict: bool) -> None:
        self._mllm, self._stimuli, self._book, self._keys, self._strict = mllm, stimuli, book, keys, strict
        self._limit = batch_size
        self.tally = Tally(mllm.device)
        self.refused: dict[str, str] = {}

    def __call__(self, todo: Sequence[Round], workers: int | None, told: Callable[[int], Any]) -> None:
        """Answer round by round; every answer is on disk before the next question."""
        try:
            with images_once(self._mllm.model), closing(ahead(self._mllm, self._stimuli, todo, workers)) as each:
                for made in each:
                    self._refuse_hopeless(made)
                    self._round(made, told)
        finally:
            self._book.log(self.tally.summary())

    def _round(self, made: Ready, told: Callable[[int], Any]) -> None:
        """All questions of a round, in parts that fit into memory; a stimulus that does not even fit alone is left out."""
        for place, error in made.refused:
            self._refuse(place, error)
            told(len(made.round.asks))
        count, left = len(made.shown), list(made.round.asks) if made.shown else []
        while left and made.inputs and count <= self._limit:
            found = self._fits(made, *left[0])
            if found is None:
                self._limit = count // 2
            else:
                self._keep(*left.pop(0), made.round.places, found)
                told(count)
        if left and count == 1:
            self._limit = 1
            self._refuse(made.round.places[0], InputError("It does not fit into memory, not even alone in its batch."))
            told(len(left))
        elif left:
            for part in (slice(0, count // 2), slice(count // 2, count)):
                own = Round(made.round.places[part], made.round.view, tuple(left))
                self._round(ready(self._mllm, own, made.shown[part]), told)

    def _refuse(self, place: int, error: Exception) -> None:
        if self._strict:
            raise error
        self.refused[self._stimuli[place].id] = str(error)

    def _refuse_hopeless(self, made: Ready) -> None:
        """A model that takes none of the first stimuli is not going to take the others; files that cannot be read say nothing."""
        if made.shown or not 1 < len(made.refused) == made.rejected:
            return
        if not any(key in self._book for ask, _ in made.round.asks for keys in self._keys[ask.name] for key in keys):
            place, error = made.refused[0]
            raise InputError(
                f"None of the first {len(made.refused)} stimuli can be shown to the model ('{made.round.view.name}'). "
                f"'{self._stimuli[place].id}': {error}"
            )

    @cached_property
    def _mouth(self) -> Mllm:
        """The model with a tokenizer of its own, because another thread is making inputs with the other."""
        processor = copy.copy(self._mllm.processor)
        processor.tokenizer = copy.deepcopy(processor.tokenizer)
        return replace(self._mllm, processor=processor)

    def _fits(self, made: Ready, ask: Ask, repeat: int) -> list[Row | None] | None:
        """The answers to one question, None for those that are no numbers; None if memory runs out."""
        given = made.inputs[ask.name]
        try:
            with self.tally.answers(ask, len(made.shown)):
                if isinstance(given, Options):
                    return _scores(*loglik(self._mllm, given))
                keys = [self._keys[ask.name][place][repeat] for place in made.round.places]
                said = say(self._mouth, given, ask.max_new_tokens, _drawing(ask, keys))
            self.tally.tokens += sum(one.tokens for one in said)
            return [
                {"text": one.text, "confidence": one.confidence, "tokens": one.tokens} if one.sound else None for one in said
            ]
        except Exception as error:
            if not out_of_memory(error) and isinstance(made.shown[0], np.ndarray):
                raise
            if not out_of_memory(error):
                raise _unanswered(error, ask, made.shown[0]) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _keep(self, ask: Ask, repeat: int, places: Sequence[int], found: Sequence[Row | None]) -> None:
        about = {"question": ask.name, "view": ask.view.name, **({"repeat": repeat} if ask.repeats > 1 else {})}
        rows = [
            {"key": self._keys[ask.name][place][repeat], "id": self._stimuli[place].id, **about, **row}
            for place, row in zip(places, found, strict=True)
            if row is not None
        ]
        self._book.add(rows)
        for place in (place for place, row in zip(places, found, strict=True) if row is None):
            self._refuse(
                place, InputError(f"Its answer to '{ask.name}' has NaN for a probability. Load the model in another dtype=")
            )


def _unanswered(error: Exception, ask: Ask, shown: Shown) -> InputError:
    """Why a model fails: not every one takes questions without an image, or with several."""
    what = "no image" if shown is None else f"{len(shown)} images"
    return InputError(
        f"The model cannot answer '{ask.name}', a question with {what} ('{ask.view.name}'; {type(error).__name__}: {error}). Expected a "
        "model that can. Leave this question out."
    )


def _drawing(ask: Ask, keys: Sequence[str]) -> Drawing | None:
    return Drawing(tuple(int(key[:15], 16) for key in keys), ask.temperature, ask.top_k, ask.top_p) if ask.drawn else None


def _scores(total: np.ndarray, tokens: np.ndarray) -> list[Row | None]:
    rows = [{"loglik": [float(value) for value in row], "tokens": [int(count) for count in tokens]} for row in total]
    return [None if bool(np.isnan(own).any()) else row for own, row in zip(total, rows, strict=True)]


def _whole(keys: Keys, place: int, book: Book) -> bool:
    return all(key in book for rows in keys.values() for key in rows[place])


def _collected(
    asks: Sequence[Ask], ids: Sequence[str], keys: Keys, book: Book, refused: dict[str, str], world_size: int
) -> dict[str, Responses]:
    """What is in the book, by question.

    Raises:
        InputError: stimuli of other processes are not answered yet, or none could be shown.
    """
    there = [i for i in range(len(ids)) if _whole(keys, i, book)]
    missing = len(ids) - len(there) - len(refused)
    if missing > 0 and world_size > 1:
        raise InputError(
            f"{missing} of {len(ids)} stimuli have no answers yet: other processes of this run are at work, or were stopped. What is there "
            "is kept. When they have finished, run the same with one process (no rank) to score them; nothing is asked twice."
        )
    if not there:
        id, reason = next(iter(refused.items()))
        raise InputError(f"None of the {len(ids)} stimuli could be shown to the model. '{id}': {reason}")
    return {ask.name: _responses(ask, ids, there, keys[ask.name], book, refused) for ask in asks}


def _responses(
    ask: Ask, ids: Sequence[str], there: Sequence[int], keys: Sequence[Sequence[str]], book: Book, refused: dict[str, str]
) -> Responses:
    rows = [[book[key] for key in keys[i]] for i in there]
    empty = np.empty((len(rows), 0))
    known = tuple(ids[i] for i in there)
    if ask.options:
        scores = np.array([row[0]["loglik"] for row in rows], float)
        return Responses(ask, known, ((),) * len(rows), empty, scores, np.array(rows[0][0]["tokens"], int), refused)
    said = [[Said(row["text"], row["confidence"], row["tokens"]) for row in repeats] for repeats in rows]
    texts = tuple(tuple(one.text for one in repeats) for repeats in said)
    sure = np.array([[one.confidence for one in repeats] for repeats in said], float)
    return Responses(ask, known, texts, sure, empty, np.empty(0, int), refused)


def _tell(run: _Run) -> None:
    lines = [run.tally.sentence(), *(f"  left out: {id}: {reason}" for id, reason in list(run.refused.items())[:10])]
    if len(run.refused) > 10:
        lines.append(f"  … and {len(run.refused) - 10} more")
    tell("\n".join(lines))
