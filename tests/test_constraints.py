"""Which constraints there are, how they are named, and which lessons each is about."""

import math
from typing import Any

import pytest
import torch

from stimuli.errors import InputError
from stimuli.types import Stimulus
from tuning.constraints import LOSSES, WEIGHTS, Seen, constrained, needs_before, needs_content, parse_constraint, rows_of, unit
from tuning.lessons import Lesson


def lesson(type: str | None, level: int | None, target: int = 0, kind: Any = "answer", reference: str = "r") -> Lesson:
    return Lesson(Stimulus(f"{reference}-{type}-{level}", reference, type, level), "?", "!", target, kind)


LESSONS = [
    lesson("jpeg", 5), lesson("jpeg", 1),
    lesson("jpeg", 5), lesson("jpeg", 1, reference="q"),
    lesson(None, None, 1), lesson(None, None, 1),
    lesson("white_noise", 1, 2), lesson("white_noise", 3, 2),
    lesson("jpeg", 5, -1, "quality"), lesson("jpeg", 1, -1, "quality"),
    lesson(None, None, -1, "replay"),
]  # fmt: skip


def seen(**changed: Any) -> Seen:
    torch.manual_seed(0)
    tokens = [torch.randn(3 + i % 2, 6) for i in range(len(LESSONS))]
    before = dict(enumerate(torch.randn_like(own) for own in tokens))
    content = dict(enumerate(torch.randn(len(LESSONS), 6)))
    return Seen(
        **{
            "lessons": LESSONS,
            "tokens": tokens,
            "before": before,
            "content": content,
            "words": torch.eye(6)[:3],
            "scale": 2.0,
            **changed,
        }
    )


def test_names_give_the_default_weights_and_a_mapping_its_own() -> None:
    assert parse_constraint(None) == {}
    assert parse_constraint("align+keep", 2.0) == {"align": 2 * WEIGHTS["align"], "keep": 2 * WEIGHTS["keep"]}
    assert parse_constraint({"order": 0.5, "distill": 0}, 3.0) == {"order": 1.5, "distill": 0.0}
    assert set(WEIGHTS) == set(LOSSES) and all(weight > 0 for weight in WEIGHTS.values())


def test_what_is_not_a_constraint_is_refused_in_words() -> None:
    known = "align, align-cosine, keep, distill, order, decorrelate"
    with pytest.raises(InputError, match=f"Unknown constraint 'tight'. Expected one of {known}"):
        parse_constraint("align+tight")
    with pytest.raises(InputError, match="Unknown constraint ''"):
        parse_constraint("")
    for wrong in (-1.0, math.nan, math.inf, "much"):
        with pytest.raises(InputError, match=r"for the weight of constraint 'align'. Expected a finite number of at least 0"):
            parse_constraint({"align": wrong})  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"Got -2 for constraint_weight"):
        parse_constraint("align", -2)


def test_each_part_is_about_its_own_lessons() -> None:
    asked = list(range(8))
    expected = {
        "answer": asked, "quality": [8, 9], "replay": [10], "align": asked, "align-cosine": asked, "decorrelate": asked,
        "keep": list(range(11)), "distill": [4, 5, 10], "order": [0, 6],
    }  # fmt: skip
    assert {name: rows_of(name, LESSONS) for name in expected} == expected
    assert needs_before({"align"}, LESSONS) == [] and needs_before({"align", "distill"}, LESSONS) == [4, 5, 10]
    assert needs_before({"keep", "distill"}, LESSONS) == list(range(11))
    assert needs_content({"decorrelate"}, LESSONS) == asked and needs_content({"keep"}, LESSONS) == []
    assert unit({"align": 1.0}) == 1 and unit({"align": 1.0, "order": 0.0}) == 2


def test_an_identity_is_kept_as_a_clean_image_and_is_no_severity() -> None:
    same = Lesson(Stimulus("s", "r", "mean_shift", 3, is_identity=True), "?", "!", 0)
    assert rows_of("distill", [same]) == [0] and rows_of("order", [same, lesson("mean_shift", 5)]) == []


@pytest.mark.parametrize("name", list(WEIGHTS))
def test_a_constraint_depends_on_its_own_lessons_alone(name: str) -> None:
    given = seen()
    value, rows = constrained(name, given)
    assert rows == len(rows_of(name, LESSONS)) and value.ndim == 0 and value > 0
    own = set(rows_of(name, LESSONS)) | ({1, 7} if name == "order" else set())
    for i in range(len(LESSONS)):
        tokens = [row + 5 * torch.randn(6) * (i == j) for j, row in enumerate(given.tokens)]
        assert (constrained(name, seen(tokens=tokens))[0].item() != pytest.approx(value.item(), rel=1e-6)) == (i in own), i


@pytest.mark.parametrize("name", ["align", "align-cosine", "keep", "distill", "order"])
def test_the_mean_counts_each_image_once_however_many_tokens_it_has(name: str) -> None:
    given = seen()
    doubled = [row.repeat(2, 1) if i % 3 else row for i, row in enumerate(given.tokens)]
    before = {i: row.repeat(2, 1) if i % 3 else row for i, row in given.before.items()}
    assert constrained(name, seen(tokens=doubled, before=before))[0].item() == pytest.approx(
        constrained(name, given)[0].item(), rel=1e-5
    )


def test_order_goes_by_level_not_by_place() -> None:
    given = seen()
    swapped = [1, 0, *range(2, 6), 7, 6, *range(8, 11)]
    value = constrained("order", given)[0]
    turned = seen(lessons=[LESSONS[i] for i in swapped], tokens=[given.tokens[i] for i in swapped])
    assert constrained("order", turned)[0].item() == pytest.approx(value.item(), rel=1e-6)
    backwards = seen(tokens=[given.tokens[i] for i in swapped])
    assert constrained("order", backwards)[0].item() != pytest.approx(value.item(), rel=1e-2)
