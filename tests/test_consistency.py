"""Consistency: models that follow the wording, the order, the draw or the pixels are told apart, by known shares."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis.consistency import OVER, WHAT, Consistency, consistency, consistency_protocols
from analysis.parsing import UNPARSED
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.prompts import paraphrases
from stimuli.types import Stimulus
from stimuli.views import UNSEEN
from tests.speakers import Rule
from tests.test_protocols import CLASSES, five, looks, mouth, saying, shown

TEXTS = ("What ails it?", "What is wrong?", "Name the flaw.", "What ails this?")
PLAIN: dict[str, Any] = {
    "taxonomy": "qinsight5",
    "workers": 0,
    "progress": False,
    "n_boot": 50,
    "orders": 5,
    "paraphrases": TEXTS,
}


def asked(
    mllm: Mllm, rule: Rule, *over: str, stimuli: Sequence[Stimulus] | None = None, **options: Any
) -> dict[str, Consistency]:
    return consistency(mouth(mllm, rule), stimuli or five(), over or OVER, **{**PLAIN, **options})


def test_a_model_that_looks_says_the_same_every_time(llava: Mllm) -> None:
    found = asked(llava, looks, repeats=2)
    assert tuple(found) == OVER
    for kind, own in found.items():
        assert own.agreement.mode_share.value == own.agreement.unanimous.value == own.agreement.kappa.value == 1, kind
        assert own.labels == CLASSES * 2 and (own.answers == np.array(CLASSES * 2)[:, None]).all()
        assert own.agreement.vote is not None and own.agreement.vote.value == 1
        assert (own.changed is None) == (kind in ("repeats", "orders"))
        assert own.changed is None or own.changed.value == 0
        entry = json.loads(json.dumps(own.as_dict(), allow_nan=False))
        assert entry["what"] == WHAT[kind] and entry["mode_share"]["value"] == 1 and "table" not in entry
    assert {kind: own.agreement.times for kind, own in found.items()} == {
        "repeats": 2,
        "paraphrases": 4,
        "orders": 5,
        "pixels": 5,
    }


def test_a_model_that_follows_the_wording_is_caught_by_paraphrases(llava: Mllm) -> None:
    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        return "blur" if "flaw" in prompt else "noise"

    own = asked(llava, rule, "paraphrases")["paraphrases"]
    assert own.names == TEXTS and own.answers.tolist() == [["noise", "noise", "blur", "noise"]] * 10
    assert own.agreement.mode_share.value == 0.75 and own.agreement.unanimous.value == 0
    assert own.agreement.vote is not None and own.agreement.vote.value == 0.2, "only noise is right"
    assert own.changed is not None and own.changed.value == pytest.approx(1 / 3), "the first is the plain question"
    assert [(row["change"], row["changed"]) for row in own.changed.table] == [(TEXTS[1], 0), (TEXTS[2], 1), (TEXTS[3], 0)]
    rows = own.table
    assert len(rows) == 40
    assert rows[6] == {
        "id": "compression0",
        "reference": "r0",
        "label": "compression",
        "kind": "paraphrases",
        "what": TEXTS[2],
        "answer": "blur",
    }


def test_a_model_that_follows_the_letter_is_caught_by_orders(llava: Mllm) -> None:
    own = asked(llava, lambda *_: "A", "orders")["orders"]
    assert own.agreement.mode_share.value == 0.2 and own.agreement.distinct.value == 5 and own.agreement.tied.value == 1
    assert sorted(own.answers[0]) == sorted(CLASSES) and own.names == tuple(f"order {i}" for i in range(5))
    assert own.agreement.vote is not None and own.agreement.vote.value == 0 and own.changed is None


def test_a_model_that_draws_is_caught_by_repeats(llava: Mllm) -> None:
    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        seen = shown(pixels)
        if seen and seen[0] == "clean":
            return saying(prompt, "clean")
        return (saying(prompt, "blur"), saying(prompt, "noise"), saying(prompt, "blur"), "nothing")[drawn]

    own = asked(llava, rule, "repeats", repeats=4, repeated="short-answer")["repeats"]
    assert own.answers[0].tolist() == ["blur", "noise", "blur", UNPARSED] and own.answers[4].tolist() == ["clean"] * 4
    assert own.agreement.mode_share.value == pytest.approx(0.8 * 0.5 + 0.2) and own.agreement.unanimous.value == 0.2
    assert own.agreement.unparsed.value == pytest.approx(0.8 / 4) and own.names == tuple(f"repeat {i}" for i in range(4))
    assert own.agreement.vote is not None and own.agreement.vote.value == pytest.approx(0.4), "blur and clean"


def test_twelve_repeats_stand_in_order(llava: Mllm) -> None:
    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        return "blur" if drawn in (2, 10) else "noise"

    own = asked(llava, rule, "repeats", repeats=12, stimuli=[five()[0], five()[5]])["repeats"]
    assert np.flatnonzero(own.answers[0] == "blur").tolist() == [2, 10]


def test_a_model_that_follows_unseen_changes_of_the_pixels_is_caught(llava: Mllm) -> None:
    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        seen = shown(pixels)
        return "noise" if seen and seen[2] == 1 else looks(prompt, pixels, drawn)

    own = asked(llava, rule, "pixels")["pixels"]
    assert own.names == ("image", *UNSEEN) and own.changed is not None
    assert {row["change"]: row["changed"] for row in own.changed.table} == {
        "lighter": 0.8, "darker": 0, "crop-first": 0, "crop-last": 0,
    }, "noise stays noise"  # fmt: skip
    assert own.changed.value == pytest.approx(0.2) and own.agreement.mode_share.value == pytest.approx(0.2 + 0.8 * 0.8)


def test_what_was_answered_is_not_asked_again_and_skipped_images_have_no_row(llava: Mllm, tmp_path: Path) -> None:
    asks: list[str] = []

    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        asks.append(prompt)
        return looks(prompt, pixels, drawn)

    broken = [replace(s, pixels=tmp_path / "none.png") if s.id == "noise1" else s for s in five()]
    first, again = (
        asked(llava, rule, "paraphrases", "repeats", repeats=times, out=tmp_path / "answers", stimuli=broken)
        for times in (2, 3)
    )
    assert first["repeats"].ids == again["repeats"].ids == tuple(s.id for s in five() if s.id != "noise1")
    assert [str(group) for group in first["repeats"].groups] == ["r0"] * 5 + ["r1"] * 4
    assert first["paraphrases"].labels == (*CLASSES, *CLASSES[1:])
    assert (
        again["repeats"].agreement.times == 3 and again["repeats"].answers[:, :2].tolist() == first["repeats"].answers.tolist()
    )
    asks.clear()
    asked(llava, rule, "paraphrases", "repeats", repeats=3, out=tmp_path / "answers", stimuli=broken)
    assert asks == []


def test_sets_of_paraphrases_are_known_by_name() -> None:
    (own,) = consistency_protocols(("paraphrases",)).values()
    assert tuple(p.asks[0].prompt for p in own) == paraphrases("ours")
    (own,) = consistency_protocols(("paraphrases",), paraphrases="distortion").values()
    assert len(own) == 24 and len({p.name for p in own}) == 24
    (drawn,) = consistency_protocols(("repeats",), seed=4, temperature=0.7)["repeats"]
    assert (drawn.asks[0].repeats, drawn.asks[0].temperature, drawn.asks[0].seed) == (5, 0.7, 4)


@pytest.mark.parametrize(
    ("over", "options", "words"),
    [
        (("moods",), {}, "Got consistency over .'moods'.; expected some of repeats, paraphrases, orders, pixels"),
        ((), {}, "Got consistency over ..; expected some of"),
        (("repeats",), {"repeats": 1}, "Got 1 repeats; expected at least 2, or nothing can differ"),
        (("orders",), {"orders": 1}, "Got 1 orders; expected at least 2"),
        (("paraphrases",), {"paraphrases": ["What?"]}, "Got 1 paraphrases; expected at least 2"),
        (("paraphrases",), {"paraphrases": "theirs"}, "Unknown set of paraphrases 'theirs'"),
        (("repeats",), {"repeated": "forced-choice"}, "protocol 'forced-choice' has no repeats"),
        (("repeats",), {"temperature": 0.0}, "is greedy .temperature 0., so 5 repeats"),
    ],
)
def test_what_cannot_differ_is_refused(over: Sequence[str], options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        consistency_protocols(over, **options)
