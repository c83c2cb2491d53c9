"""Thresholds of simulated observers, in every unit, and why there is none."""

import json
from typing import Any

import numpy as np
import pytest

from analysis.psychometric import COLUMNS, psychometric
from stimuli.errors import InputError

Rows = list[dict[str, Any]]


def observer(
    threshold: float = 28.0, beta: float = 0.6, guess: float = 0.1, lapse: float = 0.02, references: int = 40, per: int = 6,
    type: str = "jpeg", label: str = "compression", seed: int = 0, clean: bool = True,
) -> Rows:  # fmt: skip
    """Answers of an observer who tells PSNRs below the threshold (dB); SSIM is PSNR / 50, level falls with PSNR."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(references):
        if clean:
            said = label if rng.random() < guess else "clean"
            rows.append(row(f"r{i}", None, None, "clean", said))
        for _ in range(per):
            psnr = float(rng.uniform(18, 38))
            p = guess + (1 - guess - lapse) / (1 + np.exp(beta * (psnr - threshold)))
            rows.append(row(f"r{i}", type, psnr, label, label if rng.random() < p else "clean"))
    return rows


def row(reference: str, type: str | None, psnr: float | None, label: str, answer: str) -> dict[str, Any]:
    level = None if psnr is None else int(np.ceil((40 - psnr) / 4.5))
    ssim = None if psnr is None else psnr / 50
    return {"reference": reference, "type": type, "level": level, "psnr": psnr, "ssim": ssim, "label": label, "answer": answer,
            "correct": label == answer}  # fmt: skip


def only(rows: Rows, **options: Any) -> dict[str, Any]:
    """The row of the only type."""
    (found,) = psychometric(rows, **{"n_boot": 25, **options}).table
    assert tuple(found) == COLUMNS
    return found


@pytest.mark.parametrize("outcome", ["named", "detected"])
@pytest.mark.parametrize("threshold", [23.0, 28.0, 33.0])
def test_the_threshold_and_slope_of_a_simulated_observer_are_recovered(threshold: float, outcome: str) -> None:
    rows = observer(threshold)
    found = only(rows, outcome=outcome)
    assert found["low"] < threshold < found["high"] and found["low"] < found["threshold"] < found["high"]
    assert found["slope_low"] < 0.6 / 4 < found["slope_high"] and found["high"] - found["low"] < 5
    assert found["guess"] == np.mean([r["answer"] != "clean" for r in rows if r["type"] is None])
    assert found["guess_low"] < found["guess"] < found["guess_high"] and found["fit_p"] > 0.05 and found["note"] == ""
    assert found["p"] == pytest.approx(found["guess"] + (1 - found["guess"] - found["lapse"]) / 2)
    assert (found["n"], found["references"]) == (240, 40)


def test_units_differ_and_thresholds_agree() -> None:
    rows = observer()
    psnr, ssim = only(rows), only(rows, measure="ssim")
    assert ssim["threshold"] == pytest.approx(psnr["threshold"] / 50) and ssim["low"] == pytest.approx(
        psnr["low"] / 50, abs=1e-4
    )
    assert ssim["slope"] == pytest.approx(50 * psnr["slope"], rel=1e-3), "by which F rises per unit of SSIM"
    level = only(rows, measure="level")
    assert level["low"] < (40 - 28) / 4.5 + 0.5 < level["high"], "a level holds the PSNRs up to half a level away"
    assert level["slope"] > 0


def test_curves_and_points_go_from_mild_to_severe() -> None:
    for measure, falls in (("psnr", True), ("ssim", True), ("level", False)):
        found = psychometric(observer(), measure, n_boot=10)
        curve, points = found.curves["jpeg"], found.points["jpeg"]
        x, p = np.array(curve["x"]), np.array(curve["p"])
        assert (np.diff(x) < 0).all() == falls and (np.diff(p) > 0).all()
        assert (np.diff([point["x"] for point in points]) < 0).all() == falls
        assert sum(point["n"] for point in points) == 240
        threshold = found.table[0]["threshold"]
        assert np.interp(threshold, *((x[::-1], p[::-1]) if falls else (x, p))) == pytest.approx(found.table[0]["p"], abs=0.01)
        mean = np.mean([r[measure] for r in observer() if r["type"]])
        assert np.average([point["x"] for point in points], weights=[point["n"] for point in points]) == pytest.approx(mean)


def test_points_are_levels_where_there_are_few_and_else_equally_many() -> None:
    rows = observer()
    by_level = psychometric(rows, "level", n_boot=10).points["jpeg"]
    for point in by_level:
        own = [r for r in rows if r["level"] == point["x"]]
        assert point["n"] == len(own) and point["share"] == pytest.approx(np.mean([r["correct"] for r in own]))
    assert [point["n"] for point in psychometric(rows, n_boot=10).points["jpeg"]] == [30] * 8


def test_there_is_no_threshold_where_none_was_shown() -> None:
    never, always, flat = (
        only(observer(beta=0, lapse=0.89)),
        only(observer(beta=0, lapse=-0.85)),
        only(observer(beta=0, seed=2)),
    )
    assert [found["note"] for found in (never, always, flat)] == ["never reaches", "always", "flat"]
    steep = [only(observer(threshold, guess=0.0)) for threshold in (16.5, 39.5)]
    assert [found["note"] for found in steep] == ["never reaches", "always"] and max(found["flat_p"] for found in steep) < 0.01
    for found in (never, always, flat, *steep):
        assert {found[name] for name in ("threshold", "low", "high", "p", "slope")} == {None}
    constant = psychometric(observer(beta=0, seed=2), n_boot=10)
    share = np.mean([r["correct"] for r in observer(beta=0, seed=2) if r["type"]])
    assert set(constant.curves["jpeg"]["p"]) == {share}, "a flat curve is drawn as the constant"


def test_an_interval_that_leaves_what_was_shown_is_open() -> None:
    severe, mild = (only(observer(t, beta=0.3, per=4, seed=seed), n_boot=40) for t, seed in ((20.5, 1), (36.7, 0)))
    assert severe["low"] is None and 18 < severe["threshold"] < severe["high"]
    assert mild["high"] is None and mild["low"] < mild["threshold"] < 38


def test_guesses_of_a_named_class_are_of_that_class_and_of_detection_are_all_false_alarms() -> None:
    rows = observer(guess=0.0)
    clean = [r for r in rows if r["type"] is None]
    for r, said in zip(clean, ["compression"] * 4 + ["noise"] * 8 + ["unparsed"] * 8, strict=False):
        r["answer"] = said
    assert only(rows)["guess"] == pytest.approx(4 / 40)
    assert only(rows, outcome="detected")["guess"] == pytest.approx(12 / 40), "an unparsed answer is no false alarm"


def test_a_type_whose_class_depends_on_the_level_has_the_mean_guess_of_its_images() -> None:
    rows = observer(guess=0.0)
    distorted = [r for r in rows if r["type"]]
    for r in distorted[:60]:
        r |= {"label": "noise", "answer": "noise" if r["correct"] else "clean"}
    for r, said in zip([r for r in rows if not r["type"]], ["noise"] * 20 + ["compression"] * 4, strict=False):
        r["answer"] = said
    assert only(rows)["guess"] == pytest.approx((60 * 20 + 180 * 4) / 240 / 40)


def test_the_wrong_class_is_detected_but_not_named_and_an_unparsed_answer_neither() -> None:
    rows = observer()
    for r in rows:
        if r["correct"] and r["type"]:
            r |= {"answer": "noise", "correct": False}
    assert only(rows)["note"] == "never reaches"
    assert only(rows, outcome="detected")["threshold"] == pytest.approx(28, abs=1.5)
    silent = [{**r, "answer": "unparsed" if r["type"] else r["answer"], "correct": False} for r in rows]
    assert only(silent, outcome="detected")["note"] == "never reaches"


def test_identical_unmeasured_and_clean_called_images_are_left_out_and_counted() -> None:
    rows = observer()
    more = [
        row("r0", "jpeg", psnr, label, "clean")
        for psnr, label in ((100.0, "compression"), (None, "compression"), (30.0, "clean"))
    ]
    plain = psychometric(rows, n_boot=10)
    found = psychometric([*rows, *more], n_boot=10)
    assert found.table == plain.table and found.left_out == {"identical": 1, "unmeasured": 1, "called_clean": 1}
    assert psychometric([*rows, *more], outcome="detected", n_boot=10).table[0]["n"] == 241
    (nothing,) = psychometric([row("r0", "jpeg", None, "a", "a")], n_boot=10).table
    assert nothing["note"] == "nothing measured" and nothing["n"] == 0


def test_levels_of_signed_types_have_no_threshold_and_their_psnr_has() -> None:
    for type in ("mean_shift", "jpeg+contrast_change"):
        rows = observer(type=type)
        found = psychometric(rows, "level", n_boot=10)
        assert (
            found.table[0]["note"] == "levels not ordered" and found.table[0]["threshold"] is None and found.curves[type] == {}
        )
        assert only(rows)["threshold"] == pytest.approx(28, abs=1.5)


def test_without_clean_images_there_are_points_and_no_threshold() -> None:
    found = psychometric(observer(clean=False), n_boot=10)
    assert found.table[0]["note"] == "no clean images" and found.table[0]["threshold"] is None
    assert len(found.points["jpeg"]) == 8 and found.curves["jpeg"] == {}


def test_one_reference_has_a_threshold_and_no_interval() -> None:
    rows = [{**r, "reference": "r"} for r in observer()]
    found = only(rows)
    assert found["threshold"] == pytest.approx(28, abs=1.5) and found["low"] is found["high"] is found["slope_low"] is None
    equal = [row("r", "jpeg", 30.0, "compression", said) for said in ("compression", "clean")] + rows[:1]
    assert only(equal)["note"] == "flat", "one severity gives no curve, one reference no interval"


def test_types_stand_beside_each_other_and_results_are_plain() -> None:
    rows = observer() + observer(24, type="blur", label="blur", clean=False, seed=1)
    found = psychometric(rows, n_boot=20)
    assert [r["type"] for r in found.table] == ["jpeg", "blur"]
    assert found.table[1]["guess"] == 0, "blur is never said of a clean image"
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["table"] == found.table
    assert found == psychometric(rows, n_boot=20) and found != psychometric(rows, n_boot=20, seed=1)
    assert psychometric([], n_boot=10).table == []


def test_refusals_are_in_words() -> None:
    with pytest.raises(InputError, match="Unknown measure 'mos'. Expected one of psnr, ssim, level"):
        psychometric([], "mos")
    with pytest.raises(InputError, match="Unknown outcome 'seen'. Expected one of named, detected"):
        psychometric([], outcome="seen")
