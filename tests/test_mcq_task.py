"""Tasks of lmms-eval are read where they name columns or simple templates; no Python of a task file is ever run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from stimuli.errors import InputError
from stimuli.mcq import McqSet, read_mcq

ROWS: list[dict[str, Any]] = [
    {"id": "q1", "image": "a.png", "question": " How sharp? ", "choices": {"text": ["very", "hardly"], "label": ["A", "B"]},
     "option0": "very", "option1": "hardly", "answer": "B", "place": 1, "said": "hardly", "category": "sharpness"},
    {"id": "q2", "image": "b.png", "question": "What is wrong?", "choices": {"text": ["blur", "noise"], "label": ["A", "B"]},
     "option0": "blur", "option1": "noise", "answer": "A", "place": 0, "said": "blur", "category": None},
]  # fmt: skip
TASK = {
    "task": "mine", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "data.json", "train": "none.json"}},
    "test_split": "test", "output_type": "multiple_choice", "doc_to_visual": "image", "doc_to_text": "question",
    "doc_to_choice": "{{choices.text}}", "doc_to_target": "place", "metric_list": [{"metric": "acc"}],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, level in (("a", 10), ("b", 20)):
        Image.fromarray(np.full((4, 5, 3), level, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "data.json").write_text(json.dumps(ROWS))
    return tmp_path


def task(folder: Path, text: str = "", **changes: Any) -> Path:
    """The task with some keys changed (None takes one out), and raw YAML behind it."""
    own = {key: value for key, value in {**TASK, **changes}.items() if value is not None}
    (folder / "mine.yaml").write_text(yaml.safe_dump(own) + text)
    return folder / "mine.yaml"


def as_it_is(found: McqSet) -> list[Any]:
    return [(q.id, q.question, q.choices, q.correct, q.categories, q.reference) for q in found.questions]


EXPECTED = [
    ("q1", "How sharp?", ("very", "hardly"), 1, ("sharpness",), "a.png"),
    ("q2", "What is wrong?", ("blur", "noise"), 0, (), "b.png"),
]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"doc_to_target": "answer"},
        {"doc_to_target": "said"},
        {"doc_to_target": "{{answer}}", "output_type": None},
        {"doc_to_target": "{{ place }}", "doc_to_text": "{{question.strip()}}"},
        {"doc_to_choice": "['{{option0}}', '{{ option1 }}']"},
        {"doc_to_choice": "{{choices['text']}}", "test_split": None, "validation_split": "test"},
        {"doc_to_target": "{{choices.text[1]}}"},
    ],
)
def test_columns_and_simple_templates_say_what_is_asked(folder: Path, changes: dict[str, Any]) -> None:
    found = read_mcq(task(folder, **changes))
    assert found.name == "mine" and found.missing == ()
    expected = [(*row[:3], 1, *row[4:]) for row in EXPECTED] if "[1]" in changes.get("doc_to_target", "") else EXPECTED
    assert as_it_is(found) == expected
    assert [one.image[0, 0, 0] for one in found.stimuli] == [10, 20]


def test_text_around_places_a_list_of_choices_and_a_csv(folder: Path) -> None:
    (folder / "data.csv").write_text("image,question,answer\na.png,sharp,0\nb.png,blurry,-1\n")
    found = read_mcq(task(folder, dataset_path="csv", dataset_kwargs={"data_files": "data.csv"}, doc_to_text="Is it {{question}}, or not?",
                          doc_to_choice=["Yes", "No"], doc_to_target="answer"))  # fmt: skip
    assert [(q.id, q.question, q.choices, q.correct) for q in found.questions] == [
        ("0", "Is it sharp, or not?", ("Yes", "No"), 0), ("1", "Is it blurry, or not?", ("Yes", "No"), None),
    ]  # fmt: skip


def test_a_task_may_include_others_of_its_folder(folder: Path) -> None:
    (folder / "base.yaml").write_text(yaml.safe_dump({**TASK, "task": "base", "doc_to_target": "answer"}))
    (folder / "top.yaml").write_text("include: base.yaml\ntask: top\n")
    assert read_mcq(folder / "top.yaml").name == "top" and as_it_is(read_mcq(folder / "top.yaml")) == EXPECTED
    for name in ("top.yaml", "../base.yaml", "/etc/base.yaml"):
        (folder / "top.yaml").write_text(f"include: {name}\n")
        with pytest.raises(
            InputError, match="include: got .* Expected files of the same folder that do not include one another"
        ):
            read_mcq(folder / "top.yaml")


def test_missing_images_are_told_and_images_may_lie_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "b.png").unlink()
    assert read_mcq(task(folder)).missing == ("data.json, question 2: b.png",)
    with pytest.raises(InputError, match="None of the 2 images is in"):
        read_mcq(task(folder), tmp_path_factory.mktemp("elsewhere"))


@pytest.mark.parametrize(
    "key", ["doc_to_text", "doc_to_visual", "doc_to_choice", "doc_to_target", "process_docs", "doc_to_messages"]
)
def test_functions_that_decide_what_is_asked_are_refused_and_not_run(folder: Path, key: str) -> None:
    (folder / "utils.py").write_text(f"open({str(folder / 'ran')!r}, 'w').write('x')\ndef f(doc): return 'x'\n")
    with pytest.raises(
        InputError, match=f"{key} is the function utils.f. Functions of a task file are never run. Write the name of a column"
    ):
        read_mcq(task(folder, f"{key}: !function utils.f\n", **{key: None}))
    assert not (folder / "ran").exists()


def test_functions_that_score_are_left_alone(folder: Path) -> None:
    (folder / "utils.py").write_text(f"open({str(folder / 'ran')!r}, 'w').write('x')\n")
    text = "process_results: !function utils.f\nmetric_list:\n  - metric: own\n    aggregation: !function utils.g\n"
    assert as_it_is(read_mcq(task(folder, text, metric_list=None))) == EXPECTED
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    "template",
    [
        "{{ question.__class__ }}", "{{ ''.__class__.__mro__ }}", "{{ question|upper }}", "{{ range(10**9) }}", "{{ lipsum() }}",
        "{% for i in range(3) %}x{% endfor %}", "{{ question.replace('a', 'b') }}", "{{ 'a' * 100 }}", "no column", "{{ nothing }}",
        "{{ choices.none }}", "{{ choices.text[7] }}", "{# x #}{{ question }}",
    ],
)  # fmt: skip
def test_a_template_looks_things_up_and_does_nothing_else(folder: Path, template: str) -> None:
    with pytest.raises(InputError, match=r"doc_to_text: .*Expected (a column|places such as|one of its columns)"):
        read_mcq(task(folder, doc_to_text=template))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"doc_to_visual": None}, "doc_to_visual: this key is missing. Expected the keys dataset_path, doc_to_visual"),
        ({"dataset_path": "q-future/Q-Bench-HF"}, "'q-future/Q-Bench-HF' is not on this machine, and nothing is downloaded"),
        ({"dataset_kwargs": {"data_files": "none.json"}}, "there is no file .*none.json"),
        ({"dataset_kwargs": {"data_files": {"dev": "data.json"}}}, "data_files for the split test are None"),
        ({"output_type": "loglikelihood"}, "output_type: got loglikelihood. Expected one of generate_until, multiple_choice"),
        ({"num_fewshot": 2}, "num_fewshot: got 2. Expected 0"),
        ({"doc_to_visual": "place"}, r"doc_to_visual: 'place' is 1 \(data.json, question 1\). Expected a column with the name of a file"),
        ({"doc_to_choice": "question"}, r"doc_to_choice: got ' How sharp\? ' .*Expected 2 to 26 different texts"),
        ({"doc_to_choice": ["x", "x"]}, r"doc_to_choice: got \['x', 'x'\]"),
        ({"doc_to_choice": "{{choices}}__import__('os')"}, "doc_to_choice: got"),
        ({"doc_to_target": "id"}, r"doc_to_target: got 'q1' .*Expected a place below 2, a letter, or one of very, hardly"),
        ({"doc_to_target": 2}, "doc_to_target: got 2"),
        ({"doc_to_text": "{{question}}\nA. {{option0}}\nB. {{option1}}"}, "doc_to_text: it lists the choices itself"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_asked_is_refused(folder: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_mcq(task(folder, **changes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!!python/object/apply:os.system ['touch ran']", "cannot be used: could not determine a constructor"),
        ("- a\n- b\n", "it holds no keys"),
        ("a: 1\na: 2\n", "given twice"),
        ("a: [", "cannot be used"),
        ("#" * 1_000_001, "has more than 1000000 bytes"),
    ],
)
def test_a_file_that_is_no_task_is_refused(tmp_path: Path, text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_mcq(tmp_path / "t.yaml")
    assert not (tmp_path / "ran").exists()


def test_rows_of_several_images_and_double_ids_are_refused(folder: Path) -> None:
    (folder / "data.json").write_text(json.dumps([{**ROWS[0], "image": ["a.png", "b.png"]}]))
    with pytest.raises(InputError, match="question 1 has 2 images. Expected one: questions about several images are not asked"):
        read_mcq(task(folder))
    (folder / "data.json").write_text(json.dumps([ROWS[0], {**ROWS[1], "id": "q1"}]))
    with pytest.raises(InputError, match="two rows have the id 'q1'"):
        read_mcq(task(folder))
