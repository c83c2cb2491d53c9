"""Protocols: every way of asking reads what a model says, and the probabilities are the model's own."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from analysis.parsing import UNPARSED
from analysis.perception import readings
from analysis.protocols import FREE, PROTOCOLS, Protocol, Reading, orders_of, protocol
from hooks.load import Mllm
from snellen.embedded.architecture import MEAN, STD
from stimuli.errors import InputError
from stimuli.prompts import prompt as published
from stimuli.types import Stimulus, StimulusSet
from stimuli.views import view
from tests.speakers import Rule, speaking

TYPES = {"noise": "white_noise", "compression": "jpeg", "blur": "gaussian_blur", "darken": "darken", "clean": None}
"""The classes of ``qinsight5``, in order, and a type of each."""
CLASSES = tuple(TYPES)
WORDINGS = {**{label: label for label in CLASSES}, "clean": "null"}
SEVERITIES = ("slight", "moderate", "obvious", "serious", "catastrophic")


def five(references: int = 2) -> StimulusSet:
    """An image of every class per reference, of one grey value that tells both (see ``shown``)."""
    return StimulusSet([stimulus(label, r) for r in range(references) for label in CLASSES], "five")


def stimulus(label: str, reference: int) -> Stimulus:
    pixels = np.full((24, 32, 3), 10 + 20 * CLASSES.index(label) + 3 * reference, np.uint8)
    level = None if label == "clean" else 1 + reference % 5
    return Stimulus(f"{label}{reference}", f"r{reference}", TYPES[label], level, psnr=20.0 + reference, pixels=pixels)


def shown(pixels: torch.Tensor | None) -> tuple[str, int, int] | None:
    """Class, reference and change by -1 to 1 grey levels; None of what is no image of ``five``."""
    value = 255 if pixels is None else round(float(pixels.mean() * STD + MEAN) * 255)
    label, rest = divmod(value - 9, 20)
    reference = rest // 3
    return (CLASSES[label], reference, rest - 3 * reference - 1) if value < 110 else None


def saying(prompt: str, label: str | None, severity: int = 1) -> str:
    """How a model that means a class says so, whatever it is asked; without one it says what it always would."""
    wording = WORDINGS[label or "noise"]
    if "option's letter" in prompt:
        return next(line[0] for line in prompt.splitlines() if line[1:] == f". {wording}")
    if "yes or no" in prompt:
        return "yes" if f'"{wording}"' in prompt else "no"
    if "JSON" in prompt:
        return json.dumps({"distortion_class": wording, "severity": SEVERITIES[severity - 1]})
    return wording


def looks(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
    """A rule: what is seen is said; where there is nothing to see, noise."""
    seen = shown(pixels)
    return saying(prompt, seen and seen[0], 1 if seen is None else 1 + seen[1] % 5)


def mouth(mllm: Mllm, rule: Rule) -> Mllm:
    """A model that answers by rule, with one block left of its language model: it says the same sooner."""
    made = speaking(mllm, rule)
    del made.model.model.language_model.layers[1:]
    return made


def read(mllm: Mllm, rule: Rule, *asked: Protocol, stimuli: StimulusSet | None = None) -> list[Reading]:
    found = readings(mouth(mllm, rule), stimuli or five(1), asked, workers=0, progress=False)
    return [found.by_name[own.name] for own in asked]


def close(found: np.ndarray | None, expected: Any) -> bool:
    return found is not None and np.allclose(found, expected, atol=1e-5)


def qinsight5(kind: str, **options: Any) -> Protocol:
    return protocol(kind, "qinsight5", **options)


def test_every_protocol_reads_what_is_said(llava: Mllm) -> None:
    asked = [qinsight5(kind) for kind in PROTOCOLS]
    for by, found in zip(asked, read(llava, looks, *asked), strict=True):
        assert by.name == by.kind and by.classes == CLASSES
        assert found.answers == CLASSES, by.kind
        assert close(found.confidence, 1)
        if by.kind not in FREE:
            assert close(found.probabilities, np.eye(5))
            assert found.raw == tuple(WORDINGS[label] for label in CLASSES)
        else:
            assert found.probabilities is None
            assert found.raw[1] == saying("JSON" if by.kind == "json" else "", "compression")


# ---- forced choice ---------------------------------------------------------------------------------------------------

MEANT = {"noise": 0.05, "compression": 0.1, "blur": 0.4, "darken": 0.2, "null": 0.15}
TOKENS = {"noise": 1, "compression": 1, "blur": 1, "darken": 4, "null": 5}


def normalised(values: Mapping[str, float]) -> list[float]:
    return [value / sum(values.values()) for value in values.values()]


def test_probabilities_of_options_are_the_models_summed_or_per_token(llava: Mllm) -> None:
    sums, mean = read(llava, lambda *_: MEANT, qinsight5("forced-choice", length_normalised=False), qinsight5("forced-choice"))
    assert close(sums.probabilities, normalised(MEANT)) and set(sums.answers) == {"blur"}
    per_token = {word: p ** (1 / TOKENS[word]) for word, p in MEANT.items()}
    assert close(mean.probabilities, normalised(per_token))
    assert set(mean.answers) == {"clean"} and set(mean.raw) == {"null"}, "of 5 tokens, each is likelier than blur's one"
    assert close(mean.confidence, per_token["null"] / sum(per_token.values()))


PRIOR = {"noise": 0.6, "compression": 0.1, "blur": 0.1, "darken": 0.1, "null": 0.1}


def biased(prompt: str, pixels: torch.Tensor | None, drawn: int) -> Mapping[str, float]:
    """A rule: what is seen is three times as likely as by habit, which says noise."""
    seen = shown(pixels)
    meant = {word: p * (3 if seen and word == WORDINGS[seen[0]] else 1) for word, p in PRIOR.items()}
    return dict(zip(meant, normalised(meant), strict=True)) if seen else PRIOR


def test_calibration_by_the_grey_image_turns_a_biased_model_right(llava: Mllm) -> None:
    asked = [qinsight5("forced-choice", length_normalised=n, calibrated=c) for n in (False, True) for c in (False, True)]
    assert [own.name.removeprefix("forced-choice") for own in asked] == [", sum", ", sum, calibrated", "", ", calibrated"]
    habit, right, _, per_token = read(llava, biased, *asked)
    assert set(habit.answers) == {"noise"}
    assert right.answers == per_token.answers == CLASSES
    assert close(right.probabilities, 1 / 7 + np.eye(5) * 2 / 7), "three times the others"
    ratios = dict.fromkeys(PRIOR, 1 / 1.2) | {"blur": 3 / 1.2}  # of blur's probabilities to the prior, 1.2 before they sum to 1
    own = normalised({word: ratio ** (1 / TOKENS[word]) for word, ratio in ratios.items()})
    assert per_token.probabilities is not None and close(per_token.probabilities[2], own)


# ---- lettered options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", range(1, 10))
def test_orders_spread_every_option_evenly_over_the_places(k: int) -> None:
    for orders in range(1, k + 3):
        dealt = orders_of(k, orders, seed=k)
        assert len(dealt) == min(orders, k) == len(set(map(tuple, dealt)))
        assert all(sorted(order) == list(range(k)) for order in dealt) and dealt == orders_of(k, orders, seed=k)
        for option in range(k):
            places = sorted(order.index(option) for order in dealt)
            gaps = np.diff([*places, places[0] + k])
            assert gaps.max() - gaps.min() <= 1, f"{option} at {places} of {k}"
    assert len({tuple(orders_of(6, 1, seed)[0]) for seed in range(5)}) > 1


def test_averaging_over_orders_undoes_a_liking_for_a_letter(llava: Mllm) -> None:
    def likes_a(prompt: str, pixels: torch.Tensor | None, drawn: int) -> Mapping[str, float]:
        letter = looks(prompt, pixels, drawn)
        return {"A": 1.0} if letter == "A" else {"A": 0.6, letter: 0.4}

    asked = qinsight5("multiple-choice", orders=5)
    (found,) = read(llava, likes_a, asked)
    assert found.answers == CLASSES
    assert close(found.probabilities, 0.12 + np.eye(5) * 0.4)
    assert close(found.confidence, 0.52)
    first = {next(line[3:] for line in str(ask.prompt).splitlines() if line.startswith("A. ")) for ask in asked.asks}
    assert {WORDINGS[found.columns[f"order_{i}"][0]] for i in range(5)} == first == set(WORDINGS.values())
    assert all(set(found.columns[f"letter_{i}"]) == {"A"} for i in range(5))
    assert all(len(set(found.columns[f"order_{i}"])) == 1 for i in range(5)), "in one order it always says the same"


def test_letters_tell_where_the_chosen_option_stood(llava: Mllm) -> None:
    asked = qinsight5("multiple-choice", orders=3, seed=1)
    (found,) = read(llava, looks, asked)
    for i, ask in enumerate(asked.asks):
        assert found.columns[f"order_{i}"] == list(CLASSES)
        assert found.columns[f"letter_{i}"] == [saying(str(ask.prompt), label) for label in CLASSES]
    assert set(found.columns) == {f"{what}_{i}" for what in ("order", "letter") for i in range(3)}


# ---- yes or no -------------------------------------------------------------------------------------------------------


def test_odds_of_yes_are_the_models_and_below_even_for_all_it_is_clean(llava: Mllm) -> None:
    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> Mapping[str, float]:
        yes = 0.9 if looks(prompt, pixels, drawn) == "yes" else 0.2
        return {"yes": yes, "no": 1 - yes}

    asked = qinsight5("yes-no")
    assert [ask.name for ask in asked.asks] == [f"yes-no ({label})" for label in CLASSES[:-1]], "clean is no distortion"
    (found,) = read(llava, rule, asked)
    assert found.answers == CLASSES and found.probabilities is not None
    assert found.columns["odds_blur"] == pytest.approx([np.log(9) if label == "blur" else -np.log(4) for label in CLASSES])
    assert "odds_clean" not in found.columns
    assert close(found.probabilities[2], [0.2, 0.2, 0.9, 0.2, 0.1]), "clean is as likely as that the likeliest is not"
    assert close(found.probabilities[4], [0.2, 0.2, 0.2, 0.2, 0.8])
    assert close(found.confidence[:5], [0.9, 0.9, 0.9, 0.9, 0.8])


def test_even_odds_are_clean_and_without_that_class_the_likeliest_is_the_answer(llava: Mllm) -> None:
    (even,) = read(llava, lambda *_: {"yes": 0.5, "no": 0.5}, qinsight5("yes-no"), stimuli=five(1)[:1])
    assert even.answers == ("clean",) and even.confidence == pytest.approx([0.5])

    def doubts(prompt: str, pixels: torch.Tensor | None, drawn: int) -> Mapping[str, float]:
        return {"yes": 0.4, "no": 0.6} if '"blur"' in prompt else {"yes": 0.3, "no": 0.7}

    asked = protocol("yes-no", "liqe11")
    (found,) = read(llava, doubts, asked, stimuli=five(1)[:1])
    assert "clean" not in asked.classes and len(asked.asks) == 11
    assert found.answers == ("blur",) and found.confidence == pytest.approx([0.4])


# ---- free answers ----------------------------------------------------------------------------------------------------


def test_what_names_no_class_or_two_is_unparsed_and_exact_is_exact(llava: Mllm) -> None:
    said = {"noise": "Noise", "compression": "it is jpeg", "blur": "blur or noise", "darken": "a picture", "clean": ""}

    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        return said[(shown(pixels) or ("noise",))[0]]

    for found in read(llava, rule, *(qinsight5(kind) for kind in ("open", "short-answer"))):
        assert found.raw == tuple(said.values())
        assert found.answers == ("noise", "compression", UNPARSED, UNPARSED, UNPARSED)
        assert found.columns == {"exact": ["noise", *[UNPARSED] * 4]}
        assert np.isfinite(found.confidence).tolist() == [True] * 4 + [False], "of no words nothing is known"


def test_json_has_severities_and_what_is_no_json_is_unparsed(llava: Mllm) -> None:
    said = {
        "noise": '{"distortion_class": "noise", "severity": "catastrophic"}',
        "compression": '{"severity": "obvious", "distortion_class": "compression"}',
        "blur": '{"distortion_class": "blur"}',
        "darken": "darken, slight",
        "clean": '{"distortion_class": null, "severity": null}',
    }

    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        return said[(shown(pixels) or ("noise",))[0]]

    asked = qinsight5("json")
    assert '"noise", "compression", "blur", or "darken"' in str(asked.asks[0].prompt) and "slight" in str(asked.asks[0].prompt)
    assert asked.asks[0].system == published("json").system != "" and asked.asks[0].max_new_tokens == 256
    (found,) = read(llava, rule, asked)
    assert found.answers == ("noise", "compression", "blur", UNPARSED, "clean")
    assert found.columns == {"severity": [5, 3, None, None, None]} and found.raw == tuple(said.values())


@pytest.mark.parametrize("kind", ["open", "short-answer", pytest.param("json", marks=pytest.mark.slow)])
def test_the_first_of_repeated_answers_counts_and_all_are_kept(llava: Mllm, kind: str) -> None:
    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        return saying(prompt, ("blur", "noise")[drawn], 1 + drawn) if drawn < 2 else "nothing"

    asked = qinsight5(kind, repeats=3, temperature=1.0, max_new_tokens=60)
    (found,) = read(llava, rule, asked, stimuli=five(1)[:2])
    assert found.answers == ("blur", "blur")
    repeats = {name: values for name, values in found.columns.items() if name.startswith("repeat")}
    assert repeats == {"repeat_0": ["blur"] * 2, "repeat_1": ["noise"] * 2, "repeat_2": [UNPARSED] * 2}
    others = {name: values for name, values in found.columns.items() if name not in repeats}
    assert others == ({"severity": [1, 1]} if kind == "json" else {"exact": [UNPARSED] * 2})
    assert found.raw == (saying(kind.upper(), "blur"),) * 2


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["forced-choice", "multiple-choice", "open", "short-answer"])
def test_another_question_and_another_view_are_asked(kind: str) -> None:
    asked = protocol(kind, prompt="What ails it?", view=view("blank"))
    assert all(str(ask.prompt).startswith("What ails it?") and ask.view.name == "blank" for ask in asked.asks)
    assert asked.name == f"{kind}, blank" and protocol(kind, name="mine").name == "mine"


def test_the_paraphrase_of_a_short_answer_keeps_its_form() -> None:
    assert str(protocol("short-answer").asks[0].prompt).startswith("What ONE distortion")
    for text in (None, "What ails it?"):
        assert str(protocol("short-answer", prompt=text).asks[0].prompt).endswith("using a single word or phrase.")
    assert (
        protocol("short-answer").asks[0].max_new_tokens == 16 and protocol("json", max_new_tokens=9).asks[0].max_new_tokens == 9
    )


def test_what_is_drawn_depends_on_the_settings_given() -> None:
    (ask,) = protocol("open", repeats=3, temperature=0.7, seed=5).asks
    assert (ask.repeats, ask.temperature, ask.seed) == (3, 0.7, 5)
    one, same, other = ([ask.prompt for ask in protocol("multiple-choice", seed=seed).asks] for seed in (0, 0, 1))
    assert one == same != other and len(one) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "shout"}, "Unknown protocol 'shout'. Expected one of forced-choice, multiple-choice, open"),
        ({"kind": "json", "prompt": "What?"}, "protocol 'json' has no prompt, but one was given. Expected it of forced-choice, mult"),
        ({"kind": "yes-no", "prompt": "What?"}, "protocol 'yes-no' has no prompt"),
        ({"kind": "open", "calibrated": True}, "protocol 'open' has no calibrated.*Expected it of forced-choice. Leave it out"),
        ({"kind": "multiple-choice", "length_normalised": False}, "protocol 'multiple-choice' has no length_normalised"),
        ({"kind": "forced-choice", "repeats": 2}, "has no repeats.*Expected it of open, short-answer, json"),
        ({"kind": "yes-no", "temperature": 1.0}, "protocol 'yes-no' has no temperature"),
        ({"kind": "open", "repeats": 2}, "is greedy .temperature 0., so 2 repeats would all be the same"),
        ({"kind": "multiple-choice", "orders": 0}, "Got 0 orders of the options; expected at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(options: Mapping[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        protocol(**options)
