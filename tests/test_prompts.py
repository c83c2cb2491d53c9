"""Prompts are the published ones to the letter, are filled as they say, and a wrong file is refused by file and key."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from stimuli import prompts
from stimuli.errors import InputError
from stimuli.prompts import FILE, PLACES, Prompt, fill, known, letters, paraphrase_set, paraphrases, prompt
from stimuli.questions import question

DOCS = (Path(__file__).parent.parent / "docs" / "prompts.md").read_text()
GOOD = (
    'name: mine\ntext: "{question} Say one of {classes}; how bad: {severities}."\nquestion: What is it?\noptions: [good, poor]\n'
    "weights: [1, 0]\nseverities: [little, much]\nscale: [0, 10]\nimages: 2\nours: false\nsource: me\n"
)


def digest(*texts: str) -> str:
    return sha256("\n".join(texts).encode()).hexdigest()[:16]


def distortions(taxonomy: str) -> list[str]:
    return [wording for label, wording in question("distortion", taxonomy).options.items() if label != "clean"]


def test_every_shipped_prompt_passes_the_check_and_has_a_source() -> None:
    assert known() == (
        "multiple-choice", "short-answer", "json", "yes-no", "mcq", "q-bench", "q-boost", "q-align", "deqa", "number", "number-100",
        "visualquality-r1", "visualquality-r1-non-thinking", "pairwise", "describe-quality",
    )  # fmt: skip
    for name in known():
        found = prompt(name)
        assert found.name == name and set(found.places) <= set(PLACES)
        assert found.ours == found.source.startswith(("ours", "the question is ours"))
        assert found.ours or ("arXiv" in found.source and "/" in found.source.partition("; ")[2])
        assert json.loads(json.dumps(found.as_dict()))["text"] == found.text


def test_json_with_qinsight5_is_the_text_of_q_insight() -> None:
    assert fill(prompt("json"), classes=distortions("qinsight5")) == (
        'Analyze the given image and determine if it contains any of the following distortions: "noise", "compression", "blur", or '
        '"darken". If a distortion is present, classify its severity as "slight", "moderate", "obvious", "serious", or "catastrophic". '
        'Return the result in JSON format with the following keys: "distortion_class": The detected distortion (or "null" if none). '
        'and "severity": The severity level (or "null" if none).'
    )


def test_json_takes_the_classes_of_another_taxonomy_and_other_severities() -> None:
    asked = fill(prompt("json"), classes=distortions("paper8"), severities=["mild", "severe"])
    assert '"blur", "noise", "brightness", "compression", "contrast", "colorfulness", or "jitter".' in asked
    assert 'as "mild" or "severe".' in asked and "clean" not in asked
    assert 'distortions: "rain". If' in fill(prompt("json"), classes=["rain"])
    assert 'distortions: "rain", "fog", or "haze". If' in fill(prompt("json"), classes=["rain", "fog", "haze"])


@pytest.mark.parametrize("name", ["multiple-choice", "mcq"])
def test_the_lettered_form_is_that_of_q_bench(name: str) -> None:
    assert fill(prompt(name), question="How is the clarity of this picture?", options=["Good", "Medium", "Low"]) == (
        "How is the clarity of this picture?\nA. Good\nB. Medium\nC. Low\nAnswer with the option's letter from the given choices "
        "directly.\n"
    )


def test_distortions_are_asked_for_in_the_words_of_the_shipped_models_by_letter() -> None:
    asked = fill(prompt("multiple-choice"), options=list(question("distortion").options.values()))
    assert asked.startswith(question("distortion").prompt + "\nA. blur\nB. noise\n") and "\nH. clean\nAnswer" in asked


def test_kadid25_takes_all_letters_and_more_options_are_refused() -> None:
    options = list(question("distortion", "kadid25").options.values())
    assert f"\nZ. {options[25]}\nAnswer" in fill(prompt("multiple-choice"), options=options)
    assert letters(3) == ("A", "B", "C")
    with pytest.raises(InputError, match="27 options cannot be lettered. Expected at most 26"):
        fill(prompt("multiple-choice"), options=[*options, "rain"])


def test_short_answer_is_the_first_form_of_depictqa_and_takes_all_its_questions() -> None:
    tail = " Answer the question using a single word or phrase."
    assert fill(prompt("short-answer")) == "What ONE distortion is most apparent in the evaluated image?" + tail
    assert prompt("short-answer").question in paraphrases("distortion")
    last = "What ONE distortion most notably affects the clarity of the evaluated image?"
    assert fill(prompt("short-answer"), question=paraphrases("distortion")[-1]) == last + tail


def test_yes_no_asks_for_one_class() -> None:
    assert fill(prompt("yes-no"), wording="blur") == 'Does this image have the distortion "blur"? Answer with yes or no.'
    assert prompt("yes-no").options == ("yes", "no")


@pytest.mark.parametrize(
    ("name", "asked", "prefix", "scores"),
    [
        ("q-bench", "Rate the quality of the image.", "The quality of the image is", {"good": 1, "poor": 0}),
        ("q-boost", "Rate the quality of the image.", "", {"good": 1, "average": 0.5, "poor": 0}),
        (
            "q-align",
            "How would you rate the quality of this image?",
            "The quality of the image is",
            {"excellent": 1, "good": 0.75, "fair": 0.5, "poor": 0.25, "bad": 0},
        ),
        (
            "deqa",
            "How would you rate the quality of this image?",
            "The quality of the image is",
            {"excellent": 5, "good": 4, "fair": 3, "poor": 2, "bad": 1},
        ),
    ],
)
def test_quality_by_words_has_the_published_words_and_weights(
    name: str, asked: str, prefix: str, scores: dict[str, float]
) -> None:
    found = prompt(name)
    assert (fill(found), found.prefix) == (asked, prefix)
    assert dict(zip(found.options, found.weights, strict=True)) == scores


@pytest.mark.parametrize(
    ("name", "begins", "ends", "whole"),
    [
        ("number", "What is your overall rating on", 'the following keys: "rating": The score.', "989feae90619746e"),
        ("number-100", "For the given image, please assign", "responses you send to the end user.", "6544b2faa9cc4a97"),
        (
            "visualquality-r1",
            "You are doing the image quality",
            "only one score in <answer> </answer> tags.",
            "f0f7669e0707fee7",
        ),
        (
            "visualquality-r1-non-thinking",
            "You are doing the image quality",
            "one score in <answer> </answer> tags.",
            "da191c2b21c6fe1c",
        ),
        ("pairwise", "Which image do you believe has", "using a single word or phrase.", "6eb1dcfc078b71e2"),
        ("describe-quality", "Describe the quality, aesthetics", "appearance of the image in details.", "a1da43e028095b09"),
    ],
)
def test_long_prompts_are_as_published_by_their_digest(name: str, begins: str, ends: str, whole: str) -> None:
    asked = fill(prompt(name))
    assert asked.startswith(begins) and asked.endswith(ends)
    assert digest(asked) == whole


def test_q_insight_keeps_its_system_message_and_nobody_else_has_one() -> None:
    assert {name for name in known() if prompt(name).system} == {"json", "number"}
    assert prompt("json").system == prompt("number").system and digest(prompt("json").system) == "89e8be09d8ba0f37"


def test_numbers_have_a_scale_and_only_pairs_have_two_images() -> None:
    scales = {name: prompt(name).scale for name in known() if prompt(name).scale}
    one_to_five = dict.fromkeys(("number", "visualquality-r1", "visualquality-r1-non-thinking"), (1.0, 5.0))
    assert scales == {**one_to_five, "number-100": (0.0, 100.0)}
    assert [name for name in known() if prompt(name).images == 2] == ["pairwise"]
    assert prompt("json").severities == ("slight", "moderate", "obvious", "serious", "catastrophic")


@pytest.mark.parametrize(
    ("name", "count", "whole"), [("quality", 10, "657d6380271deb92"), ("distortion", 24, "56241e77cffaed37")]
)
def test_paraphrases_are_as_published_by_count_and_digest(name: str, count: int, whole: str) -> None:
    found = paraphrases(name)
    assert len(found) == len(set(found)) == count and digest(*found) == whole
    assert not paraphrase_set(name).ours and "arXiv" in paraphrase_set(name).source


def test_no_published_paraphrase_keeps_a_place_of_its_template() -> None:
    for name in known("paraphrases"):
        assert not any(mark in text for text in paraphrases(name) for mark in ("(s)", "TWO", "{", "}"))


def test_our_paraphrases_begin_with_the_question_of_the_shipped_models() -> None:
    assert paraphrase_set("ours").ours and paraphrases("ours")[0] == question("distortion").prompt


@pytest.mark.parametrize("text", [*paraphrases("quality"), *paraphrases("ours")])
def test_a_paraphrase_takes_the_place_of_the_question(text: str) -> None:
    assert fill(prompt("q-align"), question=text) == text
    assert fill(prompt("multiple-choice"), question=text, options=["a", "b"]).startswith(f"{text}\nA. a\nB. b\n")


def test_what_fills_a_place_is_not_filled_again() -> None:
    assert fill(prompt("mcq"), question="Is {options} a word?", options=["yes", "no"]).startswith(
        "Is {options} a word?\nA. yes"
    )


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("mcq", {"options": ["a"]}, r"'mcq' cannot be filled: nothing was given for its place {question}.*Give question="),
        ("multiple-choice", {}, r"nothing was given for its place {options}. Expected words for its places: question, options"),
        ("json", {}, "nothing was given for its place {classes}"),
        ("yes-no", {}, "nothing was given for its place {wording}"),
        (
            "number",
            {"question": "Why?"},
            "question was given, but its text has no place {question}.*places: none. Leave question out",
        ),
        ("json", {"classes": ["blur"], "options": ["a"]}, "options was given, but its text has no place {options}"),
        ("json", {"classes": "blur"}, r"classes is the text 'blur' rather than a list.*Give classes=\[…\]"),
        ("multiple-choice", {"options": ["a", "a"]}, "Some of the options a, a are the same. Expected every option once"),
    ],
)
def test_what_cannot_be_filled_is_refused_in_words(name: str, given: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        fill(prompt(name), **given)


def test_an_own_prompt_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(GOOD)
    own = prompt(tmp_path / "own.yaml")
    assert (own.name, own.source, own.images, own.scale, own.weights) == ("mine", "me", 2, (0.0, 10.0), (1.0, 0.0))
    assert fill(own, classes=["fog"]) == 'What is it? Say one of "fog"; how bad: "little" or "much".'


def test_an_own_text_is_enough_and_keeps_its_blanks_and_its_braces(tmp_path: Path) -> None:
    file = tmp_path / "short.yaml"
    file.write_text('text: "Answer as {\\"class\\": 1}.\\n"\n')
    own = prompt(str(file))
    assert own == Prompt("short", 'Answer as {"class": 1}.\n', source="the user's own file")
    assert fill(own) == own.text


def test_own_paraphrases_are_read(tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text("texts:\n- One?\n- Two?\nours: true\n")
    assert paraphrases(tmp_path / "many.yaml") == ("One?", "Two?")
    assert paraphrase_set(tmp_path / "many.yaml").name == "many" and paraphrase_set(tmp_path / "many.yaml").ours


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("text:", "txt:"), "txt: this key is not known; did you mean text\\? Expected only name, text, prefix"),
        (('text: "{question} Say one of {classes}; how bad: {severities}."\n', ""), "text: this key is missing"),
        ((GOOD, "just text"), "The entry: got 'just text'. Expected keys and their values"),
        ((GOOD, "{"), "cannot be used: while parsing"),
        (("source: me", "source: me\nsource: you"), "the key 'source' is given twice .*line 11"),
        (
            ("{classes}", "{clases}"),
            "text: there is no place {clases}; did you mean classes\\? Expected only question, options",
        ),
        (("{question} ", ""), "question: the text has no place {question}"),
        (("{severities}", "how"), "severities: the text has no place {severities}"),
        (("[1, 0]", "[1, 0.5, 0]"), "weights: 3 for 2 options. Expected one for each option, or none"),
        (("[1, 0]", "[1, zero]"), r"weights: got \[1, 'zero'\]. Expected a list of numbers"),
        (("[1, 0]", "[1, true]"), "weights: got"),
        (("[1, 0]", "[1, .nan]"), "weights: got"),
        (("[good, poor]", "[good, no]"), "options: False is not text. Expected text; quote what YAML reads as something else"),
        (("[good, poor]", "[good, good]"), "options: 'good' is listed twice. Expected each once"),
        (("[good, poor]", "good"), "options: got 'good'. Expected a list"),
        (("What is it?", "''"), "question: '' is not text"),
        (("[0, 10]", "[10, 0]"), r"scale: got \[10, 0\]. Expected the lowest and the highest number"),
        (("[0, 10]", "[0, 5, 10]"), "scale: got"),
        (("images: 2", "images: 3"), "images: got 3. Expected 1 or 2"),
        (("images: 2", "images: true"), "images: got True. Expected 1 or 2"),
        (("ours: false", "ours: 'no'"), "ours: got 'no'. Expected true or false"),
        (("ours: false", "ours: 0"), "ours: got 0. Expected true or false"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused_by_file_and_key(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(GOOD.replace(*change))
    with pytest.raises(InputError, match=words) as refused:
        prompt(file)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("texts: []\n", "texts: there are none. Expected at least one"),
        ("text: One?\n", "text: this key is not known; did you mean texts\\?"),
        ("name: many\n", "texts: this key is missing"),
        ("texts: [One, 2]\n", "texts: 2 is not text"),
    ],
)
def test_paraphrases_that_cannot_be_used_are_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "many.yaml").write_text(content)
    with pytest.raises(InputError, match=words):
        paraphrases(tmp_path / "many.yaml")


def test_a_fault_in_the_shipped_file_is_named_by_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "_shipped", lambda: {"prompts": {"deqa": {"text": "Why?", "weights": [1]}}})
    with pytest.raises(InputError, match=r"prompts\.yaml cannot be used. prompts, deqa, weights: 1 for 0 options"):
        prompt("deqa")


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InputError, match="Unknown prompt 'q-aline'; did you mean q-align.*\\? Known: multiple-choice, .*key text"
    ):
        prompt("q-aline")
    with pytest.raises(InputError, match="Unknown set of paraphrases 'mine'. Known: quality, distortion, ours.*key texts"):
        paraphrases("mine")


def test_the_page_has_every_prompt_with_its_words_and_every_set() -> None:
    for found in map(prompt, known()):
        assert f"`{found.name}`" in DOCS
        repository, _, path = found.source.rpartition("; ")[2].split()[0].rstrip(",").partition(":")
        assert found.source == "ours" or (repository in DOCS and path and path in DOCS), found.name
    assert all(f"`{name}`" in DOCS for name in known("paraphrases")) and all(f"`{{{place}}}`" in DOCS for place in PLACES)


def test_the_file_holds_nothing_else() -> None:
    import yaml

    assert list(yaml.safe_load(FILE.read_text(encoding="utf-8"))) == ["prompts", "paraphrases"]
