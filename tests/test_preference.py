"""Two images in one question: who prefers the better one turns with the order, who prefers a place does not."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.preference import Preference, comparable, preference, preference_asks
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.types import Stimulus
from tests.speakers import Rule
from tests.test_quality import QUIET, answering, painted, seen, small


def versions(references: int = 2, levels: tuple[int, ...] = (1, 2, 3, 4)) -> list[Stimulus]:
    """A clean image and so many levels of one distortion per reference."""
    return painted(references, ("jpeg",), levels)


def places(pixels: torch.Tensor | None) -> tuple[int, int]:
    """The levels of the two images."""
    assert pixels is not None and len(pixels) == 2, "two images stand beside one question"
    first, second = (seen(one) for one in pixels)
    assert first[0] == second[0], "of one reference"
    return first[2], second[2]


def by_value(prompt: str, pixels: Any, before: int) -> str:
    first, second = places(pixels)
    return "Image A" if first < second else "Image B"


def preferred(llava: Mllm, rule: Rule, stimuli: list[Stimulus], **options: Any) -> Preference:
    return preference(answering(llava, rule), stimuli, **{**QUIET, **options})


def values(found: Preference, *names: str) -> list[float | None]:
    entry = found.as_dict()
    return [entry[name] for name in names]


def test_who_prefers_the_better_image_turns_with_the_order(llava: Mllm) -> None:
    found = preferred(llava, by_value, versions())
    assert found.truth == "ssim" and values(found, "n", "compared", "both_orders") == [40, 40, 20], (
        "ten pairs of five, both orders"
    )
    assert values(found, "accuracy", "turns", "stays", "both_right", "says_first", "srcc") == pytest.approx(
        [1, 1, 0, 1, 0.5, 1]
    )
    ids = {(row["first"], row["second"]) for row in found.table}
    assert len(ids) == 40 and all((second, first) in ids for first, second in ids) and all(row["right"] for row in found.table)
    row = next(row for row in found.table if (row["first"], row["second"]) == ("r0-jpeg-2", "r0-None-None"))
    assert row["said"] == "r0-None-None" and row["first_better"] == pytest.approx(0, abs=1e-6) and row["reference"] == "r0"
    json.dumps(found.as_dict())


def test_who_prefers_the_worse_image_turns_too_and_is_wrong(llava: Mllm) -> None:
    def rule(prompt: str, pixels: Any, before: int) -> str:
        first, second = places(pixels)
        return "Image A" if first > second else "Image B"

    found = preferred(llava, rule, versions())
    assert values(found, "accuracy", "turns", "both_right", "srcc") == pytest.approx([0, 1, 0, -1])


def test_who_always_names_one_place_never_turns(llava: Mllm) -> None:
    found = preferred(llava, lambda *given: "Image A", versions())
    assert values(found, "accuracy", "says_first", "turns", "stays", "both_right") == [0.5, 1, 0, 1, 0]
    assert found.result.srcc is None and found.result.note.endswith("all scores are equal")
    assert all(row["said"] == row["first"] for row in found.table)


def test_the_probability_is_that_of_the_two_answers(llava: Mllm) -> None:
    def rule(prompt: str, pixels: Any, before: int) -> Mapping[str, float]:
        first, second = places(pixels)
        return {"Image A": 0.6, "Image B": 0.2} if first < second else {"Image A": 0.09, "Image B": 0.01}

    found = preferred(llava, rule, versions(levels=(1, 2)))
    assert {round(row["first_better"], 3) for row in found.table} == {0.75, 0.9}
    assert {row["said"] == row["first"] for row in found.table} == {True}


def test_few_versions_are_compared_once_in_each_order_and_many_with_so_many_partners(llava: Mllm) -> None:
    three = preferred(llava, by_value, versions(levels=(1, 2)), partners=4)
    assert values(three, "n", "both_orders", "parts") == [12, 6, 2], "three pairs of each reference"
    beside = preference_asks(versions(levels=(1, 2)), 4)[1].values()
    assert len(set(map(tuple, beside))) == 1, "so that no pair is asked about twice"
    four = preferred(llava, by_value, versions(levels=(1, 2, 3)))
    assert values(four, "n", "both_orders") == [24, 12], "six pairs of each reference"
    many = painted(2, ("jpeg", "jpeg2000"), (1, 2, 3, 4))
    asks, partners = preference_asks(many, 3)
    assert [ask.name for ask in asks] == ["pair 0", "pair 0 turned", "pair 1", "pair 1 turned", "pair 2", "pair 2 turned"]
    pairs = [frozenset((s.id, partners[ask.name][i])) for ask in asks[::2] for i, s in enumerate(many)]
    assert len(set(pairs)) == len(pairs) == 54 and all(len({id[:2] for id in pair}) == 1 for pair in pairs)
    assert partners["pair 0"] == partners["pair 0 turned"] != partners["pair 1"]
    assert preference_asks(many, 3, seed=1)[1] != partners and preference_asks(many, 3)[1] == partners


def test_equally_good_images_have_no_right_answer(llava: Mllm) -> None:
    stimuli = [replace(s, mos=3.0 if s.level in (1, 2) else 5.0 - (s.level or 0)) for s in versions()]
    found = preferred(llava, by_value, stimuli)
    assert found.truth == "mos" and values(found, "compared", "accuracy") == [36, 1]
    equal = [row for row in found.table if row["right"] is None]
    assert {frozenset((row["first"], row["second"])) for row in equal} == {
        frozenset((f"r{r}-jpeg-1", f"r{r}-jpeg-2")) for r in range(2)
    }


def test_what_cannot_be_compared_or_shown_is_left_out(llava: Mllm, tmp_path: Path) -> None:
    stimuli, lonely = versions(levels=(1, 2, 3)), painted(4, ("jpeg",), (1,))[-2:]
    found = preferred(llava, by_value, [*stimuli, *lonely])
    assert found.result.n == 24 and all(row["reference"] != "r3" for row in found.table)
    identical = preferred(llava, by_value, stimuli, truth="psnr")
    assert identical.result.n == 12 and all("None" not in row["first"] + row["second"] for row in identical.table)
    broken = replace(stimuli[2], pixels=tmp_path / "missing.png")
    left = preferred(llava, by_value, [*stimuli[:2], broken, *stimuli[3:]])
    assert all(broken.id not in (row["first"], row["second"]) for row in left.table)
    assert values(left, "accuracy", "says_first", "turns") == [1, 0.5, 1] and 12 < left.result.n < 24


def test_nothing_to_compare_is_refused_in_words(llava: Mllm) -> None:
    with pytest.raises(InputError, match="Among 4 stimuli with a known truth, fewer than two references have three versions"):
        comparable(painted(2, ("jpeg",), (1,)))
    with pytest.raises(InputError, match="Among 0 stimuli with a known truth"):
        preference(llava, versions(), truth="mos", **QUIET)
    with pytest.raises(InputError, match="nothing to be compared with"):
        preference(llava, painted(2, ("jpeg",), ssim=None, psnr=None), **QUIET)


def one_at_a_time(llava: Mllm) -> Mllm:
    """A model whose processor takes a single image per question."""
    processor = copy.copy(llava.processor)
    plain: Callable[..., Any] = type(processor).__call__

    def call(self: Any, images: Any = None, text: Any = None, **options: Any) -> Any:
        if any(one.count(self.image_token) > 1 for one in text):
            raise ValueError("one image per question")
        return plain(self, images=images, text=text, **options)

    processor.__class__ = type("One", (type(processor),), {"__call__": call})
    return replace(llava, processor=processor)


def test_a_processor_that_takes_one_image_alone_is_told(llava: Mllm) -> None:
    with pytest.raises(InputError, match="one image per question"):
        preference(one_at_a_time(llava.with_model(small())), versions(), **QUIET)


def test_a_second_time_nothing_is_asked(llava: Mllm, tmp_path: Path) -> None:
    first = preferred(llava, by_value, versions(), out=tmp_path)

    def silent(prompt: str, pixels: Any, before: int) -> str:
        raise AssertionError("asked again")

    assert preferred(llava, silent, versions(), out=tmp_path).as_dict() == first.as_dict()
