"""Multiple-choice files in both of Q-Bench's forms are read alike, and what is broken is named with its row."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stimuli.errors import InputError
from stimuli.mcq import CONCERNS, TYPES, McqQuestion, McqSet, read_mcq, with_order

OFFICIAL: list[dict[str, Any]] = [
    {"img_path": "a.png", "question": "How is the lighting?", "candidates": ["High", "Low", "Medium"], "correct_ans": "Low",
     "type": 2, "concern": 3},
    {"img_path": "deep/a.png", "question": "Is it blurry?", "candidates": ["Yes", "No"], "correct_ans": "Yes", "type": 0,
     "concern": 0},
    {"img_path": "a.png", "question": "What is wrong?", "candidates": ["Noise", "Blur", "Jitter", "Haze"],
     "correct_ans": "Haze", "type": 1, "concern": 2},
]  # fmt: skip
HF: list[dict[str, Any]] = [
    {"id": 0, "image": "a.png", "question": "How is the lighting?", "option0": "High", "option1": "Low", "option2": "Medium",
     "option3": "N/A", "question_type": 2, "question_concern": 3, "correct_choice": "B"},
    {"id": 1, "image": "deep/a.png", "question": "Is it blurry?", "option0": "Yes", "option1": "No", "option2": "N/A",
     "option3": "N/A", "question_type": 0, "question_concern": 0, "correct_choice": "A"},
    {"id": 2, "image": "a.png", "question": "What is wrong?", "option0": "Noise", "option1": "Blur", "option2": "Jitter",
     "option3": "Haze", "question_type": 1, "question_concern": 2, "correct_choice": "D"},
]  # fmt: skip


def as_json(rows: list[Any], path: Path) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def as_lines(rows: list[Any], path: Path) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


def as_csv(rows: list[dict[str, Any]], path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name, value in (("a.png", 10), ("deep/a.png", 20)):
        Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(tmp_path / name)
    return tmp_path


WRITTEN: list[tuple[str, Callable[[list[Any], Path], Path], list[dict[str, Any]]]] = [
    ("q.json", as_json, OFFICIAL), ("q.jsonl", as_lines, OFFICIAL), ("q.json", as_lines, HF), ("q.json", as_json, HF),
    ("q.csv", as_csv, HF), ("q.csv", as_csv, [{**row, "candidates": json.dumps(row["candidates"])} for row in OFFICIAL]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "rows"), WRITTEN)
def test_both_forms_in_every_format_are_the_same_questions(
    folder: Path, name: str, write: Callable[[list[Any], Path], Path], rows: list[dict[str, Any]]
) -> None:
    found = read_mcq(write(rows, folder / name))
    assert found.name == "q" and len(found) == 3 and found.missing == ()
    assert found.questions[0] == McqQuestion(
        "0", folder / "a.png", "How is the lighting?", ("High", "Low", "Medium"), 1, "how", "in-context others", "a.png"
    )
    assert [q.correct for q in found.questions] == [1, 0, 3] and [q.id for q in found.questions] == ["0", "1", "2"]
    assert [len(q.choices) for q in found.questions] == [3, 2, 4]
    assert [q.categories for q in found.questions] == [
        ("how", "in-context others"), ("yes-or-no", "distortion"), ("what", "in-context distortion"),
    ]  # fmt: skip


def test_a_question_is_a_stimulus_and_its_image_the_reference(folder: Path) -> None:
    found = read_mcq(as_json(OFFICIAL, folder / "q.json"))
    stimuli = found.stimuli
    assert [s.id for s in stimuli] == ["0", "1", "2"] and stimuli.references == ("a.png", "deep/a.png"), (
        "folders tell them apart"
    )
    assert [s.image[0, 0, 0] for s in stimuli] == [10, 20, 10]
    assert all(s.type is None and s.level is None for s in stimuli)
    about = found.as_dict()
    assert about["questions"] == 3 and about["images"] == 2 and about["hidden"] == 0 and about["categories"]["how"] == 1
    assert json.loads(json.dumps(about)) == about and json.loads(json.dumps(stimuli.info)) == {"questions": 3, "missing": []}


@pytest.mark.parametrize("hidden", [{}, {"correct_ans": ""}, {"correct_ans": None}, {"correct_ans": "N/A"}])
def test_answers_categories_and_images_may_be_missing(folder: Path, hidden: dict[str, Any]) -> None:
    row = {"img_path": "a.png", "question": "?", "candidates": ["x", "y"], **hidden}
    found = read_mcq(as_json([row, {**row, "img_path": "b.png"}], folder / "q.json"))
    assert [q.correct for q in found.questions] == [None, None] and found.questions[0].categories == ()
    assert found.missing == ("q.json, question 2: b.png",) and found.as_dict()["hidden"] == 2
    assert found.stimuli.info["missing"] == ["q.json, question 2: b.png"]


@pytest.mark.parametrize("hidden", ["", "N/A", "-1", None, -1, float("nan")])
def test_a_letter_may_be_hidden(folder: Path, hidden: object) -> None:
    assert read_mcq(as_json([{**HF[0], "correct_choice": hidden}], folder / "q.json")).questions[0].correct is None


@pytest.mark.parametrize(
    ("given", "name"), [(0, "yes-or-no"), ("2", "how"), (1.0, "what"), ("why", "why"), ("", None), (None, None), ("N/A", None)]
)
def test_a_type_is_a_number_or_a_name_of_ones_own(folder: Path, given: object, name: str | None) -> None:
    question = read_mcq(as_json([{**HF[0], "question_type": given}], folder / "q.json")).questions[0]
    assert question.question_type == name and question.concern == "in-context others"


def test_the_columns_are_those_of_the_leaderboard() -> None:
    assert TYPES == ("yes-or-no", "what", "how")
    assert CONCERNS == ("distortion", "others", "in-context distortion", "in-context others")


def test_images_may_lie_elsewhere_and_options_may_be_many(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = [{**HF[0], "id": "x7", "option3": "Very low", "option4": "None", "correct_choice": "e"}]
    found = read_mcq(as_csv(rows, tmp_path_factory.mktemp("elsewhere") / "q.csv"), folder)
    assert found.questions[0].choices[-1] == "None" and found.questions[0].correct == 4
    assert found.questions[0].image == folder / "a.png" and found.questions[0].id == "x7"


def broken(row: dict[str, Any], **changes: Any) -> list[Any]:
    """A good row and a changed one."""
    gone = {key for key, value in changes.items() if value is ...}
    return [row, {key: value for key, value in {**row, "id": 1, **changes}.items() if key not in gone}]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (broken(OFFICIAL[0], candidates=["Low"]), "question 2: choices: there are 1. Expected 2 to 26"),
        (broken(OFFICIAL[0], candidates=["Low", " Low"]), "choices: 'Low' is there twice. Expected each choice once"),
        (broken(OFFICIAL[0], candidates="Low"), r"question 2: candidates: got 'Low'. Expected a list of texts"),
        (broken(OFFICIAL[0], candidates=["Low", 3]), r"question 2: candidates: got \['Low', 3\]. Expected a list of texts"),
        (broken(OFFICIAL[0], correct_ans="Dim"), "correct_ans: 'Dim' is none of the candidates. Expected one of High, Low"),
        (broken(OFFICIAL[0], type=3), r"question 2: type: got 3. Expected 0 \(yes-or-no\), 1 \(what\), 2 \(how\), or a name"),
        (broken(OFFICIAL[0], concern=-1), r"question 2: concern: got -1. Expected 0 \(distortion\), 1 \(others\)"),
        (broken(OFFICIAL[0], type=True), "question 2: type: got True"),
        (broken(OFFICIAL[0], question=" "), "question 2: question: got ' '. Expected text"),
        (broken(OFFICIAL[0], question=...), "question is missing; there is img_path.*Expected questions with img_path"),
        (broken(OFFICIAL[0], img_path=7), "question 2: img_path: got 7. Expected the name of a file"),
        (broken(HF[0], image={"bytes": "…"}), "image: got {'bytes': '…'}. Expected the name of a file; save images"),
        (broken(HF[0], option1=...), "question 2: option1 is missing"),
        (broken(HF[0], option1="N/A"), "option1: empty, though a later option is not. Expected the options in a row"),
        (broken(HF[0], option0=None), "question 2: option0: empty, though"),
        (broken(HF[0], option0="", option1="", option2=None), "question 2: choices: there are 0. Expected 2 to 26"),
        (broken(HF[0], option1=5), "question 2: option1: got 5. Expected text"),
        (broken(HF[0], correct_choice="D"), "question 2: correct_choice: got 'D'. Expected a letter from A to C"),
        (broken(HF[0], correct_choice="AB"), "question 2: correct_choice: got 'AB'"),
        (broken(HF[0], correct_choice="Low"), "question 2: correct_choice: got 'Low'"),
        (broken(HF[0], id=0), "question 2: id: '0' is also that of q.json, question 1. Expected each id once"),
        ([HF[0], "text"], "question 2 is 'text', not a question. Expected questions with img_path"),
        ([{"answer": 1}], "question 1: image, question, option0, option1 is missing; there is answer"),
        ([], "holds zero questions"),
        ([{**HF[0], "image": "b.png"}], "None of the 1 images is in .*; the first is q.json, question 1: b.png"),
    ],
)  # fmt: skip
def test_broken_rows_are_refused_by_name(folder: Path, rows: list[Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_mcq(as_json(rows, folder / "q.json"))


def test_broken_files_are_refused_by_line(folder: Path) -> None:
    with pytest.raises(InputError, match="There is no file .*none.json. Expected questions with img_path"):
        read_mcq(folder / "none.json")
    path = folder / "q.json"
    path.write_text(json.dumps(HF[0]) + "\n\n{nothing\n")
    with pytest.raises(InputError, match="q.json, line 3 is not JSON .*Correct it"):
        read_mcq(path)
    path.write_text("[1, 2")
    with pytest.raises(InputError, match="q.json is not JSON"):
        read_mcq(path)
    table = as_csv([HF[0], {**HF[1], "correct_choice": "C"}], folder / "q.csv")
    with pytest.raises(InputError, match="q.csv, line 3: correct_choice: got 'C'. Expected a letter from A to B"):
        read_mcq(table)
    table.write_text(table.read_text() + "3,a.png\n")
    with pytest.raises(InputError, match="q.csv, line 4 has 2 cells; expected 10"):
        read_mcq(table)


def test_another_order_keeps_the_right_answer() -> None:
    asked = McqQuestion("0", Path("a.png"), "?", ("w", "x", "y", "z"), 1, "what", "others", "a.png")
    turned = with_order(asked, [1, 2, 3, 0])
    assert turned.choices == ("x", "y", "z", "w") and turned.correct == 0 and with_order(turned, [3, 0, 1, 2]) == asked
    assert with_order(asked, range(4)) == asked and turned.id == asked.id
    assert with_order(McqQuestion("0", Path("a.png"), "?", ("x", "y")), (1, 0)).correct is None
    for order in ([0, 1], [0, 0, 1, 2], [1, 2, 3, 4]):
        with pytest.raises(InputError, match=r"does not fit the 4 choices. Expected each of 0 to 3 once"):
            with_order(asked, order)


def test_a_set_made_by_hand_groups_by_path() -> None:
    found = McqSet("mine", (McqQuestion("0", Path("deep/a.png"), "?", ("x", "y")),))
    assert found.stimuli.references == ("deep/a.png",) and found.as_dict()["categories"] == {}
