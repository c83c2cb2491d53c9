"""Multiple-choice tasks as lmms-eval has them: a YAML file that says which columns of which data are asked.

Read are fields that name a column or hold a simple template (``docs/task_guide.md`` and ``lmms_eval/api/task.py`` of
EvolvingLMMs-Lab/lmms-eval at 75571cf). Python is never run: ``!function`` is refused where it decides what is asked, and else left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from stimuli.errors import InputError
from stimuli.mcq import McqQuestion, McqSet, _csv, _json, collected
from stimuli.types import Pixels
from stimuli.yaml_files import Loader, read_yaml

ASKED = ("doc_to_visual", "doc_to_text", "doc_to_choice", "doc_to_target")
DECIDING = (*ASKED, "process_docs", "doc_to_messages", "dataset_path", "dataset_kwargs")
"""What decides what is asked; scores are Snellen's own."""
KINDS = ("generate_until", "multiple_choice")
DEEP = 5
"""Most files that include one another."""
_HOLE = re.compile(r"\{\{(.*?)\}\}", re.S)
_PATH = re.compile(r"\s*([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*|\[\d+\]|\['[^']*'\]|\[\"[^\"]*\"\])*?)(\.strip\(\))?\s*")
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
SIMPLE = "{{column}}, {{column.key}}, {{column[0]}} and {{column.strip()}}"


@dataclass(frozen=True)
class _Function:
    """A ``!function`` tag: the name that it had; nothing is imported."""

    name: str


class _Loader(Loader):
    """Safe YAML that knows ``!function`` as a name."""


_Loader.add_constructor("!function", lambda loader, node: _Function(str(node.value)))


def read_task(path: Path, images: Path | None = None) -> McqSet:
    """Read a task of lmms-eval's whose data are local.

    ``dataset_path`` is ``json`` or ``csv`` with ``dataset_kwargs: {data_files: FILE}``, or a folder that ``datasets`` saved, with
    ``load_from_disk: true``. ``doc_to_text``, ``doc_to_choice`` and ``doc_to_target`` are columns, lists or simple templates;
    ``doc_to_visual`` is a column of file names (or of images, in a folder of ``datasets``). A target is a place from 0, a choice or its letter.

    Args:
        path: the YAML file.
        images: the folder that file names of images are relative to; by default the data file's.

    Raises:
        InputError: a file that cannot be read, a field that is missing, a function or no simple template, data that are not local, a
            row that cannot be used (it is named), or none of the images is there.
    """
    task = _Task(path, _content(path))
    rows, folder = task.rows()
    made, where = [], []
    for place, (at, row, picture) in enumerate(rows):
        made.append(_question(task, at, row, picture, images or folder, place))
        where.append(at)
    if not made:
        raise InputError(f"{path}: its data hold zero rows. Expected a row per question. Check data_files and the split.")
    ids = [one.id for one in made]
    twice = next((id for id in ids if ids.count(id) > 1), None) if len(set(ids)) < len(ids) else None
    if twice is not None:
        raise InputError(f"{path}: two rows have the id '{twice}'. Expected each once. Correct the data.")
    return collected(str(task.config.get("task") or path.stem), where, made, images or folder)


def _question(task: _Task, where: str, row: Mapping[str, Any], picture: Pixels | None, folder: Path, place: int) -> McqQuestion:
    choices = task.choices(row, where)
    asked = str(task.value("doc_to_text", row, where)).strip()
    if not asked:
        raise task.refuse("doc_to_text", f"it is empty ({where})", "a question")
    if re.search(r"^\W*A\W.*\n\W*B\W", asked, re.M):
        raise task.refuse(
            "doc_to_text", f"it lists the choices itself ({where})", "the question alone, because the choices are put below it"
        )
    name = "" if picture is not None else task.image(row, where)
    id = next((str(row[key]) for key in ("id", "index", "question_id") if row.get(key) not in (None, "")), str(place))
    category = row.get("category")
    return McqQuestion(
        id, folder / (name or f"{id}.png"), asked, choices, task.target(row, choices, where), str(category) if category else None, None,
        Path(name).as_posix() if name else str(row.get("reference") or id), picture,
    )  # fmt: skip


# ---- the task --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Task:
    """A task and what is expected of it; every method raises InputError where the expectation fails."""

    path: Path
    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        for key in DECIDING:
            name = _function(self.config.get(key))
            if name is not None:
                raise InputError(
                    f"{self.path}: {key} is the function {name}. Functions of a task file are never run. Write the name of a column, or a "
                    f"template of {SIMPLE}, in its place; choices may be a list."
                )
        lacking = [key for key in ("dataset_path", *ASKED) if self.config.get(key) is None]
        if lacking:
            raise self.refuse(lacking[0], "this key is missing", f"the keys dataset_path, {', '.join(ASKED)}")
        if self.config.get("output_type", KINDS[0]) not in KINDS:
            raise self.refuse("output_type", f"got {self.config['output_type']}", f"one of {', '.join(KINDS)}")
        if self.config.get("num_fewshot"):
            raise self.refuse("num_fewshot", f"got {self.config['num_fewshot']}", "0: examples are not shown")

    def refuse(self, key: str, came: str, expected: str) -> InputError:
        return InputError(f"{self.path}: {key}: {came}. Expected {expected}. Correct the file.")

    def value(self, key: str, row: Mapping[str, Any], where: str) -> Any:
        """A field of a row: a column, or a template filled; a template that is one place gives what stands there."""
        field = self.config[key]
        if not isinstance(field, str):
            return field
        if field in row:
            return row[field]
        holes = _HOLE.findall(field)
        if not holes or "{%" in field or "{#" in field:
            raise self.refuse(
                key, f"'{field:.80}' is no column of {where} ({', '.join(row)})", f"a column, or a template of {SIMPLE}"
            )
        found = [self._at(key, hole, row, where) for hole in holes]
        if _HOLE.fullmatch(field.strip()) and len(holes) == 1:
            return found[0]
        words = iter(found)
        return _HOLE.sub(lambda _: str(next(words)), field)

    def _at(self, key: str, hole: str, row: Mapping[str, Any], where: str) -> Any:
        """What a place of a template stands for; only looked up, never computed."""
        parts = _PATH.fullmatch(hole)
        if parts is None:
            raise self.refuse(key, f"'{{{{{hole}}}}}' is no simple place", f"places such as {SIMPLE}")
        found: Any = row
        steps = [parts[1], *(name or index or single or double for name, index, single, double in _STEP.findall(parts[2]))]
        for step in steps:
            try:
                found = found[int(step)] if isinstance(found, Sequence) and not isinstance(found, str) else found[step]
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise self.refuse(key, f"{where} has no {hole.strip()}", f"one of its columns {', '.join(row)}") from error
        return str(found).strip() if parts[3] else found

    def choices(self, row: Mapping[str, Any], where: str) -> tuple[str, ...]:
        """The choices, as a column, a list, or a template that spells a list."""
        found = self.value("doc_to_choice", row, where)
        listed = list(found.values()) if isinstance(found, Mapping) else _literal(found) if isinstance(found, str) else found
        several = isinstance(listed, list | tuple) and all(isinstance(one, str | int | float) for one in listed)
        made = tuple(str(one).strip() for one in listed) if several else ()
        if not 2 <= len(made) <= len(ascii_uppercase) or "" in made or len(set(made)) < len(made):
            raise self.refuse("doc_to_choice", f"got {found!r:.80} ({where})", "2 to 26 different texts")
        return made

    def target(self, row: Mapping[str, Any], choices: Sequence[str], where: str) -> int | None:
        """The place of the right choice, given so, in full or by its letter; None where it is kept secret."""
        found = self.value("doc_to_target", row, where)
        if found is None or str(found).strip() in ("", "-1") or found != found:
            return None
        said = str(found).strip()
        if said in choices and not isinstance(found, int):
            return choices.index(said)
        if said.isdecimal() and int(said) < len(choices):
            return int(said)
        if len(said) == 1 and said.upper() in ascii_uppercase[: len(choices)]:
            return ascii_uppercase.index(said.upper())
        raise self.refuse(
            "doc_to_target",
            f"got {found!r:.60} ({where})",
            f"a place below {len(choices)}, a letter, or one of {', '.join(choices)}",
        )

    def image(self, row: Mapping[str, Any], where: str) -> str:
        """The name of the image's file."""
        column = self.config["doc_to_visual"]
        found = row.get(column) if isinstance(column, str) else None
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        if isinstance(found, list):
            raise self.refuse(
                "doc_to_visual", f"{where} has {len(found)} images", "one: questions about several images are not asked"
            )
        if not isinstance(found, str) or not found.strip():
            raise self.refuse("doc_to_visual", f"'{column}' is {found!r:.60} ({where})", "a column with the name of a file")
        return found.strip()

    # ---- its data

    def rows(self) -> tuple[Iterator[tuple[str, Mapping[str, Any], Pixels | None]], Path]:
        """Place, row and (where it is inside) image of each row, and the folder of the data."""
        kind, how = str(self.config["dataset_path"]), self.config.get("dataset_kwargs") or {}
        if not isinstance(how, Mapping):
            raise self.refuse("dataset_kwargs", f"got {how!r:.60}", "keys and values")
        if how.get("load_from_disk"):
            return self._saved(kind), self.path.parent
        if kind not in ("json", "csv"):
            raise self.refuse(
                "dataset_path", f"'{kind}' is not on this machine, and nothing is downloaded",
                "json or csv with dataset_kwargs: {data_files: FILE}, or a folder with dataset_kwargs: {load_from_disk: true}",
            )  # fmt: skip
        file = self._file(how.get("data_files"))
        return (
            (where, self._row(row, where), None) for where, row in (_csv(file) if kind == "csv" else _json(file))
        ), file.parent

    def _row(self, row: Any, where: str) -> Mapping[str, Any]:
        if not isinstance(row, Mapping):
            raise InputError(f"{where} is {row!r:.60}; expected an object with the columns of the task. Correct the data.")
        return row

    @property
    def _split(self) -> str | None:
        return next((str(self.config[key]) for key in ("test_split", "validation_split") if self.config.get(key)), None)

    def _file(self, given: Any) -> Path:
        """The data file of the split that is asked, relative to the task."""
        if isinstance(given, Mapping):
            given = given.get(self._split)
        if isinstance(given, list) and len(given) == 1:
            given = given[0]
        if not isinstance(given, str):
            raise self.refuse(
                "dataset_kwargs", f"data_files for the split {self._split} are {given!r:.60}", "the name of one file"
            )
        file = self.path.parent / given
        if not file.is_file():
            raise self.refuse("dataset_kwargs", f"there is no file {file}", "the name of a file, relative to the task's own")
        return file

    def _saved(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any], Pixels | None]]:
        """Rows that ``datasets`` saved, with the image of each."""
        from stimuli.readers.hugging_face import Picture, images_of, opened, rows_of

        data, column = opened(self.path.parent / folder, self._split), str(self.config["doc_to_visual"])
        images = images_of(data, column)
        for place, row in enumerate(rows_of(data, column)):
            where = f"{folder}, row {place}"
            yield where, row, Picture(images, place, column, where)


def _literal(text: str) -> Any:
    """A list that is spelt in Python's way, without running anything; None if it is none."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _function(value: Any) -> str | None:
    """The name of a function anywhere in a value."""
    if isinstance(value, _Function):
        return value.name
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return next((name for one in inside if (name := _function(one)) is not None), None)


def _content(path: Path, above: Sequence[Path] = ()) -> dict[str, Any]:
    """A task file over those that it includes, which lie in its folder.

    Raises:
        InputError: it cannot be read, is too large, or includes itself or something outside.
    """
    try:
        own = read_yaml(path, _Loader)
        if not isinstance(own, dict):
            raise ValueError("it holds no keys")
    except (OSError, ValueError) as error:
        raise InputError(
            f"The task file {path} cannot be used: {' '.join(str(error).split())}. Expected YAML as lmms-eval's tasks. Correct the file."
        ) from error
    given = own.pop("include", None) or []
    whole: dict[str, Any] = {}
    for name in reversed([given] if isinstance(given, str) else given):
        below = path.parent / str(name)
        if below.parent != path.parent or below in (path, *above) or len(above) >= DEEP:
            raise InputError(
                f"{path}: include: got '{name}'. Expected files of the same folder that do not include one another. Correct it."
            )
        whole |= _content(below, (path, *above))
    return whole | own
