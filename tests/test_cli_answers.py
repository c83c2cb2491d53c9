"""The commands ask and rate: help with examples, options that reach the model, files, and refusals before a model is loaded."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hooks.load import Mllm
from stimuli.disk import save
from stimuli.types import StimulusSet
from tests.speakers import Rule
from tests.test_asking import quickly
from tests.test_cli import here, refused
from tests.test_interview import expert
from tests.test_mcq_answers import asked, row
from tests.test_quality import answering, painted, seen

__all__ = ["quickly"]
Speak = Callable[[Rule], None]
QUIETLY = ("--no-progress", "--workers", "0")


@pytest.fixture
def speak(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> Speak:
    """Whatever model is named, one that answers by this rule is loaded."""
    return lambda rule: monkeypatch.setattr("snellen.models.loaded", lambda name, how: answering(llava, rule))


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    """Six painted images and their table on disk."""
    return save(StimulusSet(painted(2, ("jpeg", "gaussian_blur"), (3,)), "few"), tmp_path / "set")


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def silent(prompt: str, pixels: Any, before: int) -> str:
    raise AssertionError("asked again")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "ask",
            "protocol prompt sum calibrated orders repeats temperature paraphrases pixels controls questions max-new-tokens out",
        ),
        ("rate", "method truth repeats temperature paraphrases pairs max-new-tokens out"),
    ],
)
def test_help_has_every_option_and_its_examples_line_by_line(command: str, options: str) -> None:
    text = here(command, "--help")
    assert all(f"--{option}" in text for option in options.split())
    lines = [line.strip().removeprefix("Examples:").strip() for line in text.splitlines()]
    examples = [line for line in lines if line.startswith(f"snellen {command} ")]
    assert len(examples) >= 3 and all("--out" in line for line in examples)


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_answers_are_told_and_written_and_a_second_run_asks_nothing(speak: Speak, listing: Path, tmp_path: Path) -> None:
    speak(expert)
    arguments = ("ask", "--images", listing, "--out", tmp_path / "run", "--protocol", "open", "--pixels", *QUIETLY)
    text = here(*arguments)
    assert "open: 6 images, accuracy 100.0%" in text and "pixels: 5 times" in text
    assert [line["answer"] for line in rows_of(tmp_path / "run" / "answers.csv")] == ["clean", "compression", "blur"] * 2
    assert (tmp_path / "run" / "figures" / "agreement.png").stat().st_size > 1000
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["protocols"]["open"]["accuracy"] == 1
    speak(silent)
    assert here(*arguments) == text


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_the_options_of_ask_reach_the_model(speak: Speak, listing: Path, tmp_path: Path) -> None:
    prompts: set[str] = set()

    def rule(prompt: str, pixels: Any, before: int) -> Any:
        prompts.add(prompt)
        return expert(prompt, pixels, before)

    speak(rule)
    (tmp_path / "mine.yaml").write_text("texts:\n- Which distortion is it?\n- Name the distortion!\n")
    text = here("ask", "--images", listing, "--prompt", "What distortion, please?", "--sum", "--paraphrases", tmp_path / "mine.yaml",
                "--repeats", "3", "--temperature", "0.01", *QUIETLY)  # fmt: skip
    assert "forced-choice, sum: 6 images" in text and "repeats: 3 times; most frequent answer 100.0%" in text
    assert "paraphrases: 2 times" in text and "figures in" not in text
    assert {"What distortion, please?", "Which distortion is it?", "Name the distortion!"} <= {
        prompt.split("\n")[1].removesuffix(" ASSISTANT:") for prompt in prompts
    }
    calibrated = here("ask", "--images", listing, "--calibrated", "--controls", "--out", tmp_path / "a.csv", *QUIETLY)
    assert "forced-choice, calibrated: 6 images" in calibrated and "mid-grey image: balanced" in calibrated
    lettered = here("ask", "--images", listing, "--protocol", "multiple-choice", "--orders", "3", *QUIETLY)
    assert "orders: 3 times" in lettered
    assert "orders" not in here("ask", "--images", listing, "--protocol", "multiple-choice", "--orders", "1", *QUIETLY)


def test_the_length_of_answers_is_bounded_by_its_option(speak: Speak, listing: Path, tmp_path: Path) -> None:
    speak(lambda *given: "blur blur blur blur")
    cut = ("--max-new-tokens", "1", "--out", tmp_path / "a.csv", *QUIETLY)
    here("ask", "--images", listing, "--protocol", "open", *cut)
    assert {line["raw"] for line in rows_of(tmp_path / "a.csv")} == {"blur"}
    (tmp_path / "a.csv").unlink()
    here("rate", "--images", listing, "--method", "number-100", *cut)
    assert {line["raw"] for line in rows_of(tmp_path / "a.csv")} == {"blur"}
    asked(tmp_path, [row(0), row(1)])
    here("ask", "--protocol", "mcq", "--questions", tmp_path / "questions.json", *cut)
    assert [line["raw"] for line in rows_of(tmp_path / "a.csv")] == ["blur"] * 2


def test_questions_of_the_users_own_are_answered(speak: Speak, tmp_path: Path) -> None:
    asked(tmp_path, [row(0, concern=0), row(1, "Blur", concern=0), row(2, concern=3)])
    (tmp_path / "files").mkdir()
    questions = (tmp_path / "questions.json").rename(tmp_path / "files" / "questions.json")
    speak(lambda *given: "B")
    text = here("ask", "--protocol", "mcq", "--questions", questions, "--images", tmp_path, "--out", tmp_path / "run", *QUIETLY)
    assert "3 questions about 3 images: 66.7% right" in text and "in-context others" in text
    assert [line["right"] for line in rows_of(tmp_path / "run" / "answers.csv")] == ["True", "False", "True"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["mcq"]["by_group"][0]["n"] == 3


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_scores_are_told_and_written(speak: Speak, tmp_path: Path) -> None:
    shown = save(StimulusSet(painted(2, ("jpeg",), (1, 2, 3)), "few"), tmp_path / "set")
    speak(expert)
    out = tmp_path / "scores.csv"
    text = here("rate", "--images", shown, "--method", " q-align , number", "--truth", "psnr", "--out", out, *QUIETLY)
    assert "q-align: SRCC 1.000" in text and "number: SRCC 1.000" in text and "with psnr" in text
    assert {line["method"] for line in rows_of(out)} == {"q-align", "number"} and len(rows_of(out)) == 16


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.usefixtures("quickly")
def test_scores_are_asked_again_and_pairs_compared(speak: Speak, tmp_path: Path) -> None:
    shown = save(StimulusSet(painted(2, ("jpeg",), (1, 2, 3)), "few"), tmp_path / "set")
    speak(expert)
    arguments = ("rate", "--images", shown, "--method", "levels", "--repeats", "2", "--paraphrases", "--pairs", "--max-new-tokens", "9",
                 "--out", tmp_path / "run", *QUIETLY)  # fmt: skip
    text = here(*arguments)
    assert "repeats (number, 2 times)" in text and "paraphrases (levels, 10 times)" in text and "pairs: 100.0%" in text
    assert {"quality_scores.csv", "preferences.csv", "summary.json", "answers", "figures"} == {
        p.name for p in (tmp_path / "run").iterdir()
    }
    speak(silent)
    assert here(*arguments) == text


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_the_shipped_model_is_asked_about_built_in_images(tmp_path: Path) -> None:
    small = ("--references", "2", "--levels", "3,5", "--no-progress", "--out")
    assert (
        "forced-choice: " in here("ask", "embedded", *small, tmp_path / "a")
        and (tmp_path / "a" / "figures" / "types.png").exists()
    )
    assert "levels: " in here("rate", "embedded", "--method", "levels", *small, tmp_path / "q.csv")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ask", "--protocol", "shout"), "Unknown protocol 'shout'. Expected one of forced-choice, multiple-choice, open"),
        (("ask", "--taxonomy", "paper9"), "Unknown taxonomy 'paper9'"),
        (("ask", "--protocol", "mcq"), "Protocol mcq needs --questions FILE: a JSON or CSV of questions as Q-Bench's."),
        (("ask", "--protocol", "mcq", "--questions", "no.json"), "There is no file no.json"),
        (("rate", "--method", "levels,stars"), "Unknown quality method 'stars'. Expected one of levels, q-bench"),
        (("ask", "--rank", "1"), "expected both or neither"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_model_is_loaded(
    arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snellen.models.loaded", lambda *given: pytest.fail("a model was loaded"))
    assert words in refused(*arguments)


def test_a_process_says_which_device_it_has(speak: Speak, listing: Path, monkeypatch: pytest.MonkeyPatch, llava: Mllm) -> None:
    loads: list[list[str]] = []

    def loaded(name: str, how: list[str]) -> Mllm:
        loads.append(how)
        return answering(llava, lambda prompt, pixels, before: "blur" if seen(pixels)[1] == 2 else "clean")

    monkeypatch.setattr("snellen.models.loaded", loaded)
    text = here("ask", "--images", listing, "--load", "dtype=float32", *QUIETLY)
    assert loads == [["dtype=float32"]] and "accuracy 66.7%" in text
