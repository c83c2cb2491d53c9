"""Questions: what is refused, and that an answer is found again if and only if the same was asked."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hooks.asks import Ask, Responses, check
from stimuli.errors import InputError
from stimuli.types import Stimulus
from stimuli.views import beside, view

ONE = Stimulus("s0", "r0", "jpeg", 3, mos=4.5, attributes={"colour": "red"}, pixels=np.zeros((2, 2, 3), np.uint8))
OTHER = replace(ONE, id="s1")


def key(**settings: Any) -> str:
    return Ask(**{"name": "a", "prompt": "What?", **settings}).keys(ONE, 0)[0]


@pytest.mark.parametrize(
    "settings", [{"repeats": 0}, {"temperature": -0.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1}, {"max_new_tokens": 0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="The question 'a' has repeats .* expected at least 1, at least 0, .* Change them"):
        Ask("a", "What?", **settings)


def test_repeats_that_would_all_be_the_same_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"'a' is greedy \(temperature 0\), so 3 repeats would all be the same. Give a temperature"
    ):
        Ask("a", "What?", repeats=3)
    with pytest.raises(InputError, match="'a' scores given options, so 3 repeats would all be the same"):
        Ask("a", "What?", options=("blur",), temperature=1.0, repeats=3)
    with pytest.raises(InputError, match="option of the question 'a' is empty"):
        Ask("a", "What?", options=("blur", " "))


def test_answers_are_drawn_at_a_temperature_and_without_options() -> None:
    assert [Ask("a", "?", temperature=t, options=o).drawn for t in (0, 0.5) for o in ((), ("blur",))] == [
        False,
        False,
        True,
        False,
    ]


def test_every_prompt_is_its_stimulus_s_own() -> None:
    assert [Ask("a", ("first", "second")).text(i) for i in range(2)] == ["first", "second"] and Ask("a", "all").text(7) == "all"
    assert Ask("a", ("first", "second")).keys(ONE, 1) == Ask("b", "second").keys(ONE, 0)


DRAWN: dict[str, Any] = {"temperature": 0.7}
DIFFERENT: list[dict[str, Any]] = [
    {},
    {"prompt": "Which?"},
    {"prefix": "It is"},
    {"system": "You are an expert."},
    {"view": view("blank")},
    {"view": view("noise")},
    {"view": view("noise", seed=1)},
    {"view": beside([ONE], [OTHER])},
    {"view": beside([ONE], [OTHER], turned=True)},
    {"max_new_tokens": 31},
    {"options": ("blur", "noise")},
    {"options": ("noise", "blur")},
    {"options": ("blur", "noise"), "prefix": "It is"},
    DRAWN,
    {**DRAWN, "temperature": 0.8},
    {**DRAWN, "top_k": 5},
    {**DRAWN, "top_p": 0.9},
    {**DRAWN, "seed": 1},
    {**DRAWN, "max_new_tokens": 31},
]


def test_whatever_bears_on_the_answer_changes_its_key() -> None:
    keys = [key(**settings) for settings in DIFFERENT]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"name": "b"}),
        ({}, {"seed": 9}),
        ({}, {"top_k": 5, "top_p": 0.5}),
        ({"options": ("blur",)}, {"options": ("blur",), "temperature": 1.0, "seed": 3, "max_new_tokens": 5}),
        (DRAWN, {**DRAWN, "repeats": 4}),
        ({}, {"view": view("image")}),
    ],
)
def test_whatever_does_not_leaves_it(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(**one) == key(**other)


def test_keys_are_the_stimulus_s_own_by_all_that_is_known_of_it() -> None:
    ask = Ask("a", "What?")
    others = [OTHER, replace(ONE, level=4), replace(ONE, type="blur"), replace(ONE, mos=4.0), replace(ONE, attributes={})]
    assert len({ask.keys(one, 0) for one in (ONE, *others)}) == 6
    assert ask.keys(replace(ONE, pixels=np.ones((3, 3, 3), np.uint8)), 0) == ask.keys(ONE, 0)


def test_every_repeat_has_a_key_and_more_repeats_begin_with_those_of_fewer() -> None:
    few, many = (Ask("a", "What?", repeats=n, **DRAWN).keys(ONE, 0) for n in (3, 10))
    assert len(set(many)) == 10 and many[:3] == few


def test_keys_are_what_they_were_when_answers_were_stored() -> None:
    assert Ask("a", "What?", max_new_tokens=16).keys(ONE, 0) == ("47cfd660c188908af8669e05",)
    assert Ask("a", "What?", options=("blur", "noise")).keys(ONE, 0) == ("3a424be5b5d880b2979d6eae",)
    assert Ask("a", "What?", repeats=2, **DRAWN).keys(ONE, 0) == ("61e664519b049db282b17660", "a35c37ebc030adbcae3ec3d7")


def test_questions_that_cannot_be_told_apart_or_do_not_fit_are_refused() -> None:
    check([Ask("a", "What?"), Ask("b", ("What?", "Which?")), Ask("c", "Which one ?", options=("blur",))], 2)
    with pytest.raises(InputError, match="there are none. Expected at least one"):
        check([], 2)
    with pytest.raises(InputError, match="two are called 'b'. Expected at least one, each with a name of its own"):
        check([Ask("a", "What?"), Ask("b", "What?"), Ask("b", "Which?")], 2)
    with pytest.raises(InputError, match="'a' has 3 prompts for 2 stimuli. Expected one, or one per stimulus"):
        check([Ask("a", ("What?",) * 3)], 2)
    with pytest.raises(InputError, match="Some prompts of the question 'a' end in a space.*that end alike. Strip them"):
        check([Ask("a", ("What?", "Which? "), options=("blur",))], 2)
    check([Ask("a", ("What?", "Which? "))], 2)


def test_the_first_answer_of_each_stimulus() -> None:
    texts = (("blur", "noise"), ("jpeg", ""))
    found = Responses(Ask("a", "What?"), ("s0", "s1"), texts, np.ones((2, 2)), np.empty((2, 0)), np.empty(0, int))
    assert found.first == ["blur", "jpeg"]
