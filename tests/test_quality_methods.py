"""Ways of asking for a score: what is asked, and which number comes of what was answered."""

from collections.abc import Sequence

import numpy as np
import pytest

from analysis.quality_methods import METHODS, NUMBERS, WORDS, Scored, fifth, method, paraphrased
from hooks.asks import Responses
from hooks.load import Mllm
from hooks.respond import respond
from stimuli.errors import InputError
from stimuli.prompts import paraphrases, prompt
from stimuli.types import StimulusSet
from stimuli.views import view
from tests.test_quality import answering

SAID = {
    "excellent": 0.30, "good": 0.20, "fair": 0.10, "poor": 0.05, "bad": 0.02, "high": 0.04, "fine": 0.05, "average": 0.08,
    "medium": 0.02, "acceptable": 0.01, "low": 0.03,
}  # fmt: skip
"""What the model of these tests says of every image: ten words and their probabilities."""
SCALES = {
    "levels": (0, 1), "q-bench": (0, 1), "q-boost": (0, 1), "q-align": (0, 1), "deqa": (1, 5), "number": (1, 5),
    "number-100": (0, 100), "visualquality-r1": (1, 5), "visualquality-r1-non-thinking": (1, 5),
}  # fmt: skip


def weighed(kind: str, *rows: Sequence[float]) -> Scored:
    """What a method reads out of probabilities of its words, one row per image."""
    own = method(kind)
    count = len(own.ask.options)
    ids = tuple(f"s{i}" for i in range(len(rows)))
    return own.read(Responses(own.ask, ids, ((),) * len(rows), np.empty((len(rows), 0)), np.log(rows), np.ones(count, int)))


def told(kind: str, *answers: Sequence[str]) -> Scored:
    """What a method reads out of free answers, one row of repeats per image."""
    own = method(kind)
    ids = tuple(f"s{i}" for i in range(len(answers)))
    sure = np.full((len(answers), len(answers[0])), 0.5)
    return own.read(Responses(own.ask, ids, tuple(map(tuple, answers)), sure, np.empty((len(answers), 0)), np.empty(0, int)))


def test_scores_by_words_are_the_worth_of_the_words_under_the_models_probabilities(llava: Mllm, six: StimulusSet) -> None:
    heard = set()

    def rule(asked: str, pixels: object, before: int) -> dict[str, float]:
        heard.add(asked)
        return SAID

    made = [method(kind) for kind in WORDS]
    found = respond(answering(llava, rule), six[:2], [m.ask for m in made], progress=False, workers=0)
    read = {m.name: m.read(found[m.name]) for m in made}
    five = np.array([0.30, 0.20, 0.10, 0.05, 0.02]) / 0.67
    p_good = 0.20**0.01 / (0.20**0.01 + 0.05**0.01)  # logits divided by 100
    three = np.cbrt([0.20 * 0.04 * 0.05, 0.08 * 0.02 * 0.01, 0.05 * 0.03 * 0.02])  # means of three log-likelihoods
    expected = {
        "levels": five @ [1, 0.75, 0.5, 0.25, 0], "q-align": five @ [1, 0.75, 0.5, 0.25, 0], "deqa": five @ [5, 4, 3, 2, 1],
        "q-bench": p_good, "q-boost": three @ [1, 0.5, 0] / three.sum(),
    }  # fmt: skip
    for name, value in expected.items():
        assert read[name].scores == pytest.approx(np.full((2, 1), value), abs=1e-5), name
        assert read[name].raw == (("good" if name in ("q-bench", "q-boost") else "excellent"),) * 2
        assert read[name].levels.tolist() == [[5.0]] * 2
    spread = np.sqrt(five @ (np.array([5, 4, 3, 2, 1]) - expected["deqa"]) ** 2)
    assert read["deqa"].undecided == pytest.approx([spread] * 2, abs=1e-5)
    begun = {asked.split("ASSISTANT:")[1].strip() for asked in heard}
    assert begun == {"", "The quality of the image is"}, "levels and q-boost have no beginning of an answer"
    assert sum("How is the quality of this image?" in asked for asked in heard) == 1


@pytest.mark.parametrize(
    ("kind", "levels"),
    [("levels", [5, 4, 3, 2, 1]), ("q-align", [5, 4, 3, 2, 1]), ("deqa", [5, 4, 3, 2, 1]), ("q-bench", [5, 1])],
)
def test_the_likeliest_word_is_the_level_and_a_sure_model_is_decided(kind: str, levels: list[float]) -> None:
    count, own = len(levels), method(kind)
    found = weighed(kind, *(1e-60 + np.eye(count) * (1 - count * 1e-60)))
    assert found.levels.tolist() == [[level] for level in levels] and found.raw == own.ask.options
    if kind != "q-bench":  # whose temperature of 100 leaves no model sure
        weights = np.linspace(own.high, own.low, count)
        assert found.scores[:, 0] == pytest.approx(weights) and found.undecided == pytest.approx(np.zeros(count), abs=1e-9)


def test_three_levels_with_synonyms_are_the_ends_and_the_middle() -> None:
    sure = np.full((3, 9), 1e-9)
    for i in range(3):
        sure[i, 3 * i : 3 * i + 3] = 0.3
    found = weighed("q-boost", *sure)
    assert found.levels.tolist() == [[5], [3], [1]] and found.raw == ("good", "average", "poor")
    assert found.scores[:, 0] == pytest.approx([1, 0.5, 0], abs=1e-6)


def test_numbers_are_read_and_what_holds_none_is_not_guessed() -> None:
    found = told("number", ["4.5", "2"], ["I cannot say", '{"rating": 1.25}'], ["7", "from 1 to 5"], ["<think>It is 3", "5"])
    nan = float("nan")
    assert np.array_equal(found.scores, np.array([[4.5, 2], [nan, 1.25], [nan, nan], [nan, 5]]), equal_nan=True)
    assert np.array_equal(found.levels, np.array([[5, 2], [nan, 1], [nan, nan], [nan, 5]]), equal_nan=True)
    assert np.isnan(found.undecided).all() and found.raw == ("4.5", "I cannot say", "7", "<think>It is 3")
    hundred = told("number-100", ["Score: 75"], ["Score: 101"], ["0"])
    assert np.array_equal(hundred.scores[:, 0], [75, nan, 0], equal_nan=True)
    assert np.array_equal(hundred.levels[:, 0], [4, nan, 1], equal_nan=True)


def test_a_score_on_the_border_of_two_fifths_is_of_the_lower_one() -> None:
    five = np.array([1, 1.79, 1.8, 1.81, 2.6, 2.61, 3.4, 3.41, 4.2, 4.21, 5])
    assert fifth(five, 1, 5).tolist() == [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert fifth(np.array([0, 20, 20.5, 40, 60, 80, 81, 100]), 0, 100).tolist() == [1, 1, 2, 2, 3, 4, 5, 5]
    assert np.isnan(fifth(np.array([np.nan]), 1, 5)).all()


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_asks_its_published_question_on_its_own_scale(kind: str) -> None:
    made = method(kind)
    assert (made.low, made.high) == SCALES[kind] and made.name == made.kind == made.ask.name == kind
    assert bool(made.ask.options) == (kind in WORDS)
    if kind != "levels":
        published = prompt(kind)
        assert made.ask.text(0).startswith(published.question or published.text)
        assert (made.ask.prefix, made.ask.system) == (published.prefix, published.system)


def test_reasoning_gets_room_and_what_was_wanted_is_passed_on() -> None:
    tokens = {kind: method(kind).ask.max_new_tokens for kind in NUMBERS}
    assert tokens == {"number": 512, "number-100": 24, "visualquality-r1": 512, "visualquality-r1-non-thinking": 24}
    drawn = method("number", repeats=3, temperature=0.7, max_new_tokens=9, seed=5, view=view("grey")).ask
    assert (drawn.repeats, drawn.temperature, drawn.max_new_tokens, drawn.seed) == (3, 0.7, 9, 5)
    assert drawn.name == "number, grey" and drawn.view.name == "grey"
    assert method("deqa", view=view("grey"), name="hidden").ask.name == "hidden"


def test_paraphrases_are_asked_the_way_the_method_asks() -> None:
    texts = paraphrases("quality")
    made = paraphrased("q-align", texts)
    assert [m.ask.prompt for m in made] == list(texts) and len({m.name for m in made}) == 10
    assert {(m.kind, m.ask.prefix, m.ask.options) for m in made} == {
        ("q-align", "The quality of the image is", method("q-align").ask.options)
    }
    assert [m.ask.prompt for m in paraphrased("levels", ["Good?"], view=view("grey"))] == ["Good?"]
    assert paraphrased("levels", ["Good?"], view=view("grey"))[0].ask.view.name == "grey"


def test_refusals_are_in_words() -> None:
    with pytest.raises(
        InputError, match="Unknown quality method 'stars'. Expected one of levels, q-bench, .* Use one of these"
    ):
        method("stars")
    with pytest.raises(
        InputError, match="'deqa' weighs words by their likelihood and draws nothing, so 3 repeats would be the same"
    ):
        method("deqa", repeats=3)
    with pytest.raises(InputError, match="'number' states its scale in its question, so it cannot be asked in other words"):
        method("number", prompt="How good?")
