"""What the commands ask and rate do with a model that answers by rule: lines, tables, figures, and nothing asked twice."""

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from analysis.figures.files import written
from analysis.quality_methods import method
from hooks.load import Mllm
from snellen.asking import Asking, ask_questions, questions_of, rate_images
from stimuli.errors import InputError
from stimuli.types import StimulusSet
from tests.speakers import Rule
from tests.test_interview import expert
from tests.test_mcq_answers import asked, row
from tests.test_preference import one_at_a_time
from tests.test_quality import answering, painted

HOW: dict[str, Any] = {"progress": False, "workers": 0, "n_boot": 20}
PLAIN: dict[str, Any] = {"prompt": None, "length_normalised": True, "calibrated": False, "orders": 2, "max_new_tokens": 60}


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures in one format."""
    monkeypatch.setattr("snellen.asking.written", partial(written, formats=("png",)))


def few() -> StimulusSet:
    return StimulusSet(painted(2, ("jpeg", "gaussian_blur"), (3,)), "few")


def told(
    llava: Mllm, protocol: str = "forced-choice", out: Path | None = None, rule: Rule = expert, repeats: int = 1, **wanted: Any
) -> list[str]:
    extra = {"paraphrases": None, "pixels": False, "controls": False, **wanted}
    return Asking(answering(llava, rule), few(), "paper8", out, 0, HOW)(protocol, PLAIN, repeats, 1.0, **extra)


def silent(prompt: str, pixels: Any, before: int) -> str:
    raise AssertionError("asked again")


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_everything_that_was_wanted_is_told_and_written_and_nothing_is_asked_twice(llava: Mllm, tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"repeats": 3, "paraphrases": "ours", "pixels": True, "controls": True}
    lines = told(llava, out=tmp_path / "run", **wanted)
    assert lines[0].startswith("forced-choice: 6 images, accuracy 100.0% [100.0%, 100.0%], balanced 100.0%")
    assert "chance 12.5%, majority 33.3%, unparsed 0.0%" in lines[0]
    assert lines[1] == "answers: blur 33%, compression 33%, clean 33%, noise 0%"
    assert [line.split(":")[0] for line in lines[2:5]] == ["repeats", "paraphrases", "pixels"]
    assert lines[3] == ("paraphrases: 6 times; most frequent answer 100.0% [100.0%, 100.0%] of an image's answers, Fleiss' kappa 1.00; "
                        "0.0% [0.0%, 0.0%] differ from the plain answer")  # fmt: skip
    assert lines[2].startswith("repeats: 3 times") and "plain answer" not in lines[2]
    assert lines[5].startswith("the image itself: balanced 100.0%") and len(lines) == 5 + 8 + 1
    assert "mid-grey image: balanced 33.3% [33.3%, 33.3%], same answer 33%" in lines
    assert lines[-1] == f"Tables, summary.json and 4 figures in {tmp_path / 'run'}"
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "answers", "answers.csv", "consistency.csv", "blind_controls.csv", "summary.json", "figures"
    }  # fmt: skip
    assert {path.stem for path in (tmp_path / "run" / "figures").iterdir()} == {"types", "controls", "agreement", "reliability"}
    assert [line["answer"] for line in rows_of(tmp_path / "run" / "answers.csv")] == ["clean", "compression", "blur"] * 2
    assert (
        len(rows_of(tmp_path / "run" / "consistency.csv")) == 6 * (3 + 6 + 5)
        and len(rows_of(tmp_path / "run" / "blind_controls.csv")) == 8
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["base"]["accuracy"] == 1 and set(summary["consistency"]) == {"repeats", "paraphrases", "pixels"}
    assert summary["provenance"]["seed"] == 0 and summary["provenance"]["model"] and len(summary["controls"]["table"]) == 8
    assert told(llava, out=tmp_path / "run", rule=silent, **wanted) == lines


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (
            "multiple-choice",
            "orders: 2 times; most frequent answer 100.0% [100.0%, 100.0%] of an image's answers, Fleiss' kappa 1.00",
        ),
        ("yes-no", "yes or no, blur: AUC 1.00 [1.00, 1.00]"),
        ("json", "severity right where the class is: 100.0% of 4"),
        ("short-answer", "exact match, the reply being a class's words and nothing else: 100.0%"),
    ],
)
def test_every_protocol_tells_what_only_it_knows(llava: Mllm, protocol: str, words: str) -> None:
    lines = told(llava, protocol)
    assert words in lines and lines[0].startswith(f"{protocol}: 6 images, accuracy 100.0%")
    assert not any("summary.json" in line for line in lines), "nothing is written where nothing was named"


def test_a_free_protocol_is_drawn_again_as_itself(llava: Mllm) -> None:
    prompts = set()

    def rule(prompt: str, pixels: Any, before: int) -> Any:
        prompts.add(prompt)
        return expert(prompt, pixels, before)

    lines = told(llava, "short-answer", rule=rule, repeats=2)
    assert lines[-1].startswith("repeats: 2 times") and all("single word or phrase" in prompt for prompt in prompts)


def test_a_model_that_always_says_the_same_has_no_kappa(llava: Mllm) -> None:
    (line,) = [line for line in told(llava, rule=lambda *given: "blur", pixels=True) if line.startswith("pixels")]
    assert "Fleiss' kappa not defined" in line


@pytest.mark.parametrize("name", ["answers.csv", "answers.json", "ANSWERS.CSV"])
def test_a_named_file_gets_the_answers_alone(llava: Mllm, tmp_path: Path, name: str) -> None:
    lines = told(llava, out=tmp_path / name, pixels=True)
    assert lines[-1] == f"Answers: {tmp_path / name}" and [path.name for path in tmp_path.iterdir()] == [name]
    if name == "answers.json":
        assert [line["label"] for line in json.loads((tmp_path / name).read_text())] == ["clean", "compression", "blur"] * 2
    else:
        assert [line["label"] for line in rows_of(tmp_path / name)] == ["clean", "compression", "blur"] * 2


def test_questions_of_the_users_own_are_told_by_group(llava: Mllm, tmp_path: Path) -> None:
    asked(tmp_path, [row(0, type=0), row(1, "Blur", type=2), row(2, type=2)])
    questions = questions_of(tmp_path / "questions.json", "embedded")
    lines = ask_questions(answering(llava, lambda *given: "B"), questions, tmp_path / "out", max_new_tokens=4, **HOW)
    assert lines[0].startswith("3 questions about 3 images: 66.7% right")
    assert [line.split() for line in lines[1:4]] == [
        ["overall", "3", "questions", "66.7%", "[33.3%,", "100.0%]"], ["yes-or-no", "1", "questions", "100.0%"],
        ["how", "2", "questions", "50.0%", "[0.0%,", "100.0%]"],
    ]  # fmt: skip
    assert lines[4] == f"Tables, summary.json in {tmp_path / 'out'}"
    assert [line["said"] for line in rows_of(tmp_path / "out" / "answers.csv")] == ["Noise"] * 3
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["mcq"]["n"] == 3
    assert ask_questions(answering(llava, silent), questions, tmp_path / "out", max_new_tokens=4, **HOW) == lines
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "0.png").rename(elsewhere / "0.png")
    assert questions_of(tmp_path / "questions.json", str(elsewhere)).questions[0].image == elsewhere / "0.png"
    with pytest.raises(InputError, match="Protocol mcq needs --questions FILE"):
        questions_of(None, "embedded")


def rated(llava: Mllm, *methods: str, out: Path | None = None, rule: Rule = expert, **wanted: Any) -> list[str]:
    stimuli = StimulusSet(painted(2, ("jpeg",), (1, 2, 3)), "few")
    return rate_images(
        answering(llava, rule), stimuli, [method(name, max_new_tokens=9) for name in methods], out, **wanted, **HOW
    )


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_scores_repeats_paraphrases_and_pairs_are_told_and_written(llava: Mllm, tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"repeats": 2, "paraphrases": True, "pairs": True, "max_new_tokens": 9}
    lines = rated(llava, "q-align", "number", out=tmp_path, **wanted)
    assert lines[0].startswith("q-align: SRCC 1.000 [1.000, 1.000], PLCC ") and lines[0].endswith("with ssim; unparsed 0.0%")
    assert lines[1].startswith("number: SRCC 1.000")
    assert lines[2].startswith("repeats (number, 2 times): standard deviation within an image 0, 0 of that between images")
    assert lines[3].startswith("paraphrases (q-align, 10 times): ") and lines[3].endswith(
        "levels differ for 0.0% of the images"
    )
    assert lines[4] == "pairs: 100.0% [100.0%, 100.0%] right, the first image preferred 50.0% [50.0%, 50.0%]"
    assert lines[5] == f"Tables, summary.json and 4 figures in {tmp_path}"
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"quality", "monotonicity", "flips", "preference"}
    assert [line["method"] for line in rows_of(tmp_path / "quality_scores.csv")] == ["q-align"] * 8 + ["number"] * 8
    assert len(rows_of(tmp_path / "preferences.csv")) == 24
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary) == {"provenance", "quality", "score_consistency", "preference"} and set(summary["quality"]) == {
        "q-align",
        "number",
    }
    assert rated(llava, "q-align", "number", out=tmp_path, rule=silent, **wanted) == lines


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_numbers_alone_are_paraphrased_by_words_and_words_alone_are_drawn_as_numbers(llava: Mllm) -> None:
    assert [line.split(":")[0] for line in rated(llava, "number", paraphrases=True)] == [
        "number",
        "paraphrases (levels, 10 times)",
    ]
    found = rated(llava, "deqa", repeats=2, max_new_tokens=9)
    assert [line.split(":")[0] for line in found] == ["deqa", "repeats (number, 2 times)"]


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_what_cannot_be_told_is_said_with_its_reason(llava: Mllm, tmp_path: Path) -> None:
    lines = rated(llava, "number-100", rule=lambda *given: "no idea", repeats=2, out=tmp_path / "scores.csv")
    assert lines[0] == "number-100: no correlation with ssim (no image has a score)"
    note = "fewer than two references have an image with two scores"
    assert lines[1] == f"repeats (number-100): {note}; 0% of the answers hold a score"
    assert lines[2] == f"Answers: {tmp_path / 'scores.csv'}" and len(rows_of(tmp_path / "scores.csv")) == 8
    alone = rate_images(one_at_a_time(llava), few(), [method("levels")], tmp_path / "run", pairs=True, **HOW)
    assert alone[1].startswith("pairs could not be compared: None of the first") and "one image per question" in alone[1]
    assert alone[2].startswith("Tables, summary.json and ") and not (tmp_path / "run" / "preferences.csv").exists()
