"""Multiple-choice questions about images from a user's own file: in the two forms of Q-Bench, as VLMEvalKit's TSV, as lmms-eval's task."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from stimuli.errors import InputError
from stimuli.readers.labels import read_csv, text_of
from stimuli.types import Pixels, Stimulus, StimulusSet

TYPES = ("yes-or-no", "what", "how")
"""Q-Bench's types 0, 1 and 2: "How is the lighting of this building?" is a 2 in its README. (lmms-eval takes 1 for how.)"""
CONCERNS = ("distortion", "others", "in-context distortion", "in-context others")
"""Q-Bench's concerns 0 to 3, as in its leaderboard (Wu et al. 2023, arXiv 2309.14181)."""
OFFICIAL = ("img_path", "question", "candidates")
HF = ("image", "question", "option0", "option1")
EXPECTED = (
    f"Expected questions with {', '.join(OFFICIAL)} (and correct_ans, type, concern), as in llvisionqa_dev.json, or with "
    "id, image, question, option0 … option3, question_type, question_concern, correct_choice, as in Q-Bench-HF"
)
NOTHING = ("", "N/A")
"""What stands for an option that is not there, and for an answer, a type or a concern that is not told."""


@dataclass(frozen=True)
class McqQuestion:
    """One question about one image."""

    id: str
    """As the file has it, else its place there, from 0."""
    image: Path
    question: str
    choices: tuple[str, ...]
    """In order: the first is A."""
    correct: int | None = None
    """The place of the right choice, from 0; None where the file keeps it to itself, as the test half of Q-Bench does."""
    question_type: str | None = None
    """One of `TYPES`, a name of the user's own, or None."""
    concern: str | None = None
    """One of `CONCERNS`, a name of the user's own, or None."""
    reference: str = ""
    """The image's name as the file has it: what bootstraps go by, since one image may have several questions."""
    pixels: Pixels | None = field(default=None, repr=False, compare=False)
    """The image itself, where it is no file of its own; ``image`` is a name then."""

    @property
    def categories(self) -> tuple[str, ...]:
        """The columns of Q-Bench's leaderboard in which the question counts, besides overall: its type and its concern."""
        return tuple(name for name in (self.question_type, self.concern) if name is not None)


@dataclass(frozen=True)
class McqSet:
    """Questions of one file, in its order."""

    name: str
    questions: tuple[McqQuestion, ...] = field(repr=False)
    missing: tuple[str, ...] = ()
    """Questions whose image is not there, with the row: they are skipped when asked."""

    def __len__(self) -> int:
        """The number of questions."""
        return len(self.questions)

    @property
    def stimuli(self) -> StimulusSet:
        """One stimulus per question, of its id, whose reference is the image; type and level are not known."""
        shown = [
            Stimulus(q.id, q.reference or q.image.as_posix(), None, None, pixels=q.image if q.pixels is None else q.pixels)
            for q in self.questions
        ]
        return StimulusSet(shown, self.name, {"questions": len(self), "missing": list(self.missing)})

    def as_dict(self) -> dict[str, Any]:
        """What is in the set, JSON-able: how many questions, images and hidden answers, and how many questions per category."""
        names = [name for question in self.questions for name in question.categories]
        return {
            "name": self.name,
            "questions": len(self),
            "images": len({question.image for question in self.questions}),
            "hidden": sum(question.correct is None for question in self.questions),
            "categories": {name: names.count(name) for name in dict.fromkeys(names)},
            "missing": list(self.missing),
        }


def read_mcq(path: str | Path, images: str | Path | None = None) -> McqSet:
    """Read a file of multiple-choice questions.

    Two forms are read, as JSON (a list, or an object per line) or CSV; further columns are left alone:

    * Q-Bench's own: ``img_path, question, candidates`` (a list), and where known ``correct_ans`` (a candidate, in full),
      ``type`` and ``concern`` (numbers, or names of your own).
    * that of Q-Bench-HF: ``image, question, option0, option1`` … (empty or N/A where there are fewer), and where known
      ``question_type``, ``question_concern`` and ``correct_choice`` (a letter).

    Either may have an ``id``. A file that ends in ``.tsv`` is read as VLMEvalKit's (``stimuli.mcq_tsv``), one in ``.yaml`` as a task of
    lmms-eval (``stimuli.mcq_task``).

    Args:
        path: the file.
        images: the folder that image names are relative to; by default the file's own.

    Raises:
        InputError: no such file, neither form, a row that cannot be used (it is named), two rows of one id, or not one of the
            images is there. Single images that are not are told in ``missing``.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}. {EXPECTED}. Check the path.")
    folder = path.parent if images is None else Path(images)
    if path.suffix.lower() == ".tsv":
        from stimuli.mcq_tsv import read_tsv

        return read_tsv(path, folder)
    if path.suffix.lower() in (".yaml", ".yml"):
        from stimuli.mcq_task import read_task

        return read_task(path, None if images is None else folder)
    rows = [_Row(where, cells) for where, cells in (_csv(path) if path.suffix.lower() == ".csv" else _json(path))]
    if not rows:
        raise InputError(f"{path} holds zero questions. {EXPECTED}. Fetch or write the file again.")
    made = [row.question(place, folder) for place, row in enumerate(rows)]
    _refuse_twice(rows, made)
    return collected(path.stem, [row.where for row in rows], made, folder)


def collected(
    name: str, where: Sequence[str], made: Sequence[McqQuestion], folder: Path, without: Sequence[str] = ()
) -> McqSet:
    """Questions of a file as a set, with the places of those whose images are not there, and of rows ``without`` any.

    Raises:
        InputError: not one image is there.
    """
    missing = [
        f"{place}: {q.reference}" for place, q in zip(where, made, strict=True) if q.pixels is None and not q.image.is_file()
    ]
    if len(missing) == len(made):
        raise InputError(
            f"None of the {len(made)} images is in {folder}; the first is {(*missing, *without)[0]}. Expected paths relative to that "
            "folder. Give the folder of the images (images=…)."
        )
    return McqSet(name, tuple(made), (*missing, *without))


def with_order(question: McqQuestion, order: Sequence[int]) -> McqQuestion:
    """The same question with its choices in another order.

    Args:
        question: as read.
        order: the places of the choices, from 0, in their new order: the new A is ``choices[order[0]]``.

    Raises:
        InputError: not every place once.
    """
    if sorted(order) != list(range(len(question.choices))):
        expected = f"each of 0 to {len(question.choices) - 1} once"
        raise InputError(f"The order {list(order)} does not fit the {len(question.choices)} choices. Expected {expected}.")
    correct = None if question.correct is None else list(order).index(question.correct)
    return replace(question, choices=tuple(question.choices[place] for place in order), correct=correct)


def _csv(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for line in read_csv(path, ()).lines:
        yield line.where, line.cells


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows of a list, or of lines with an object each."""
    text = text_of(path)
    listed = text.lstrip().startswith("[")
    if listed:
        rows = _loaded(text, str(path))
        yield from ((f"{path.name}, question {place}", row) for place, row in enumerate(rows, 1))
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{path.name}, line {number}", _loaded(line, f"{path.name}, line {number}")


def _loaded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where} is not JSON ({error}). {EXPECTED}. Correct it, or name a CSV so that it ends in .csv."
        ) from error


def _refuse_twice(rows: Sequence[_Row], made: Sequence[McqQuestion]) -> None:
    first: dict[str, str] = {}
    for row, question in zip(rows, made, strict=True):
        if question.id in first:
            raise row.refuse("id", f"'{question.id}' is also that of {first[question.id]}", "each id once")
        first[question.id] = row.where


@dataclass(frozen=True)
class _Row:
    """A row of a file and what is expected of it; every method raises InputError where the expectation fails."""

    where: str
    cells: Any

    def refuse(self, key: str, came: str, expected: str) -> InputError:
        return InputError(f"{self.where}: {key}: {came}. Expected {expected}. Correct the row.")

    def question(self, place: int, folder: Path) -> McqQuestion:
        if not isinstance(self.cells, Mapping):
            raise InputError(f"{self.where} is {self.cells!r:.60}, not a question. {EXPECTED}. Correct the row.")
        official = "img_path" in self.cells or "candidates" in self.cells
        lacking = [key for key in (OFFICIAL if official else HF) if key not in self.cells]
        if lacking:
            raise InputError(f"{self.where}: {', '.join(lacking)} is missing; there is {', '.join(self.cells)}. {EXPECTED}.")
        choices = self.candidates() if official else self.options()
        if len(choices) < 2 or len(choices) > len(ascii_uppercase):
            raise self.refuse("choices", f"there are {len(choices)}", "2 to 26")
        twice = next((choice for choice in choices if choices.count(choice) > 1), None)
        if twice is not None:
            raise self.refuse("choices", f"'{twice}' is there twice", "each choice once")
        name = self.text("img_path" if official else "image")
        return McqQuestion(
            id=str(place) if self.absent("id") else str(self.cells["id"]).strip(),
            image=folder / name,
            question=self.text("question"),
            choices=choices,
            correct=self.answer(choices) if official else self.letter(choices),
            question_type=self.named("type" if official else "question_type", TYPES),
            concern=self.named("concern" if official else "question_concern", CONCERNS),
            reference=Path(name).as_posix(),
        )

    def absent(self, key: str) -> bool:
        """Whether a value is missing, or says that there is none."""
        value = self.cells.get(key)
        return value is None or value != value or str(value).strip() in NOTHING

    def text(self, key: str) -> str:
        value = self.cells[key]
        if isinstance(value, str) and value.strip():
            return value.strip()
        kind = "the name of a file; save images that are in the table as files" if key in ("image", "img_path") else "text"
        raise self.refuse(key, f"got {value!r:.60}", kind)

    def candidates(self) -> tuple[str, ...]:
        value = self.cells["candidates"]
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                value = None
        if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
            raise self.refuse("candidates", f"got {self.cells['candidates']!r:.60}", 'a list of texts such as ["Yes", "No"]')
        return tuple(one.strip() for one in value)

    def options(self) -> tuple[str, ...]:
        keys = [f"option{place}" for place in range(len(ascii_uppercase)) if f"option{place}" in self.cells]
        there = [key for key in keys if not self.absent(key)]
        if there != keys[: len(there)]:
            gap = next(key for key in keys if key not in there)
            raise self.refuse(gap, "empty, though a later option is not", "the options in a row")
        return tuple(self.text(key) for key in there)

    def answer(self, choices: Sequence[str]) -> int | None:
        """The place of an answer given in full."""
        if self.absent("correct_ans"):
            return None
        said = str(self.cells["correct_ans"]).strip()
        if said not in choices:
            raise self.refuse("correct_ans", f"'{said}' is none of the candidates", f"one of {', '.join(choices)}")
        return choices.index(said)

    def letter(self, choices: Sequence[str]) -> int | None:
        """The place of an answer given by its letter."""
        said, letters = str(self.cells.get("correct_choice")).strip(), ascii_uppercase[: len(choices)]
        if self.absent("correct_choice") or said == "-1":
            return None
        if len(said) != 1 or said.upper() not in letters:
            raise self.refuse("correct_choice", f"got '{said}'", f"a letter from A to {letters[-1]}")
        return letters.index(said.upper())

    def named(self, key: str, names: Sequence[str]) -> str | None:
        """A category by its number, or by a name."""
        if self.absent(key):
            return None
        value = self.cells[key]
        said = str(value).strip().removesuffix(".0")
        if isinstance(value, bool) or (said.lstrip("-").isdecimal() and said not in map(str, range(len(names)))):
            numbered = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
            raise self.refuse(key, f"got {value!r}", f"{numbered}, or a name")
        return names[int(said)] if said.isdecimal() else said
