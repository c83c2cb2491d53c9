"""Controls: what is left of the accuracy without the image is computed right, and told apart from what follows the image."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import recall_score

from analysis.blind import WHAT, Blind, blind_controls, compared, control_protocols, possible_controls
from analysis.parsing import UNPARSED
from hooks.load import Mllm
from probes.intervals import resampled_rows
from stimuli.errors import InputError
from stimuli.types import Stimulus
from stimuli.views import CONTROLS
from tests.speakers import Rule
from tests.test_protocols import five, looks, mouth

PLAIN: dict[str, Any] = {"taxonomy": "qinsight5", "workers": 0, "progress": False, "n_boot": 100}


def asked(mllm: Mllm, rule: Rule, stimuli: Sequence[Stimulus] | None = None, kind: str = "open", **options: Any) -> Blind:
    return blind_controls(mouth(mllm, rule), stimuli or five(), kind, **{**PLAIN, **options})


def test_a_model_that_looks_loses_all_without_the_image_and_follows_another(llava: Mllm) -> None:
    found = asked(llava, looks, kind="forced-choice")
    assert [row["view"] for row in found.table] == ["image", *CONTROLS] and found.chance == 0.2
    image = found.row("image")
    assert (image["balanced_accuracy"], image["change"], image["kept"], image["same_answer"], image["n"]) == (1, 0, 1, 1, 10)
    for name in ("blank", "grey", "noise", "none"):
        row = found.row(name)
        assert (row["balanced_accuracy"], row["image_accuracy"], row["same_answer"]) == (0.2, 1, 0.2), name
        assert row["kept"] == row["kept_low"] == row["kept_high"] == 0 and row["change"] == pytest.approx(-0.8), name
        assert (row["top_answer"], row["top_share"]) == ("noise", 1), name
    for name in ("shuffled", "other-same"):
        row = found.row(name)
        assert (row["balanced_accuracy"], row["kept"], row["same_answer"], row["top_share"]) == (1, 1, 1, 0.2), name
    other = found.row("other-class")
    assert other["balanced_accuracy"] == other["same_answer"] == 0 and other["kept"] == pytest.approx(-0.25), "below chance"
    assert found.protocol == "forced-choice" and all(row["what"] == WHAT[row["view"]] for row in found.table[1:])
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize(("said", "controls"), [("blur", ("grey", "other-class", "none")), ("nothing", ("grey",))])
def test_a_blind_model_says_the_same_of_everything_and_nothing_is_kept_of_nothing(
    llava: Mllm, said: str, controls: tuple[str, ...]
) -> None:
    found = asked(llava, lambda *_: said, controls=controls)
    assert [row["view"] for row in found.table] == ["image", *controls]
    for row in found.table:
        assert row["same_answer"] == row["same_low"] == row["top_share"] == 1 and row["change"] == 0
        assert row["kept"] is row["kept_low"] is row["kept_high"] is None
        assert row["top_answer"] == (said if said == "blur" else UNPARSED)
        assert row["balanced_accuracy"] == (0.2 if said == "blur" else 0), "unparsed is wrong"


def test_only_images_with_a_partner_are_compared_with_another(llava: Mllm) -> None:
    lonely = [s for s in five() if s.id != "darken1"]
    found = asked(llava, looks, lonely, controls=("grey", "other-same", "other-class"))
    assert {row["view"]: row["n"] for row in found.table} == {"image": 9, "grey": 9, "other-same": 8, "other-class": 9}
    same = found.row("other-same")
    assert (same["balanced_accuracy"], same["image_accuracy"], same["references"]) == (1, 1, 2)


def test_an_image_whose_partner_cannot_be_read_is_left_out_everywhere(llava: Mllm, tmp_path: Path) -> None:
    broken = [replace(s, pixels=tmp_path / "none.png") if s.id == "blur1" else s for s in five(3)]
    partners = (
        control_protocols(broken, [s.id[:-1] for s in broken], "open", ("other-same",), taxonomy="qinsight5")[1]
        .asks[0]
        .view.partners
    )
    lost = {"blur1", *(id for id, other in partners.items() if other.id == "blur1")}
    found = asked(llava, looks, broken, controls=("other-same",))
    assert 1 < len(lost) < 4 and [row["n"] for row in found.table] == [15 - len(lost)] * 2
    assert [row["balanced_accuracy"] for row in found.table] == [1, 1]


def test_settings_of_the_protocol_and_chosen_controls_are_heeded(llava: Mllm) -> None:
    asks: list[str] = []

    def rule(prompt: str, pixels: Any, drawn: int) -> str:
        asks.append(prompt)
        return looks(prompt, pixels, drawn)

    found = asked(llava, rule, controls=("none",), options={"prompt": "What ails it?"})
    assert [row["view"] for row in found.table] == ["image", "none"] and all("What ails it?" in prompt for prompt in asks)
    assert {prompt.count("<image>") for prompt in asks} == {0, 1}
    with pytest.raises(InputError, match="Unknown control 'dark'. Expected some of blank, grey, noise"):
        asked(llava, looks, controls=("grey", "dark"))


# ---- numbers from arrays ---------------------------------------------------------------------------------------------


def test_shares_are_those_computed_by_hand() -> None:
    labels, groups = np.array(list("aabb") * 2), np.array(list("xxxxyyyy"))
    image, control = np.array(list("aabbaabb")), np.array(list("aaaaaaab"))
    row = compared(image, control, labels, groups, 0.5)
    assert (row["image_accuracy"], row["balanced_accuracy"], row["change"]) == (1, 0.625, -0.375)
    assert row["kept"] == pytest.approx(0.25) and row["same_answer"] == 0.625
    assert (row["top_answer"], row["top_share"], row["n"], row["references"]) == ("a", 0.875, 8, 2)
    assert (row["low"], row["high"], row["kept_low"], row["kept_high"]) == pytest.approx((0.5, 0.75, 0, 0.5))


def test_intervals_are_paired_over_references() -> None:
    rng = np.random.default_rng(0)
    labels, groups = rng.choice(list("abc"), 150), rng.permutation(np.repeat(np.arange(15), 10))
    image = np.where(rng.random(150) < 0.8, labels, rng.choice(list("abc"), 150))
    control = np.where(rng.random(150) < 0.5, labels, rng.choice(["a", "b", "c", UNPARSED], 150))
    row = compared(image, control, labels, groups, 1 / 3, 60, seed=2)

    def recall(said: np.ndarray, rows: np.ndarray) -> float:
        return float(recall_score(labels[rows], said[rows], labels=list("abc"), average="macro"))

    draws = np.array([[recall(image, rows), recall(control, rows)] for rows in resampled_rows(groups, 60, 2)])
    seen, left = draws.T
    for name, own in {"": left, "change_": left - seen, "kept_": (left - 1 / 3) / (seen - 1 / 3)}.items():
        assert (row[f"{name}low"], row[f"{name}high"]) == pytest.approx(tuple(np.quantile(own, [0.025, 0.975]))), name
    everything = np.arange(150)
    assert row["balanced_accuracy"] == pytest.approx(recall(control, everything))
    assert row["image_accuracy"] == pytest.approx(recall(image, everything))


def test_nothing_is_kept_where_the_image_may_add_nothing() -> None:
    labels, groups = np.array(list("ab") * 4), np.repeat(list("wxyz"), 2)
    image = np.array(list("ababbaab"))  # of one reference in four both are wrong
    row = compared(image, labels, labels, groups, 0.5)
    assert row["image_accuracy"] == 0.75 and row["kept"] is None, "its interval reaches chance"


def test_a_model_that_needs_an_image_is_spared_the_question_without_one(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert possible_controls(llava) == (CONTROLS, "")

    def needs_an_image(model: Any, tensors: Any) -> Any:
        raise ValueError("You have to specify pixel_values\nor image_embeds")

    monkeypatch.setattr("analysis.blind.run", needs_an_image)
    left, note = possible_controls(llava)
    assert set(CONTROLS) - set(left) == {"none"} and "ValueError: You have to specify pixel_values" in note
