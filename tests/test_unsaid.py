"""Known but not said: cells by hand, margins that are the scores elsewhere, and what a reader could mistake."""

import json
from typing import Any

import numpy as np
import pytest

from analysis.parsing import UNPARSED
from analysis.perception import Answers, score_answers
from analysis.unsaid import BEST, CELLS, EVERY, LAST, MOST, Unsaid, unsaid
from probes.intervals import balanced_interval, holm
from probes.linear import Prediction
from probes.sweep import SweepResult
from stimuli.errors import InputError
from stimuli.types import Stimulus

CLASSES = ("blur", "clean", "noise")


def swept(probes: dict[str, str], labels: str, references: str, dead: tuple[str, ...] = ()) -> SweepResult:
    """A sweep whose probes name classes by their first letters, one letter per stimulus."""
    names = {name[0]: name for name in CLASSES}
    true = np.array([names[letter] for letter in labels])
    table, predictions = [], {}
    for site, said in probes.items():
        predicted = np.array([names[letter] for letter in said])
        predictions[site] = Prediction(0.7 * (predicted[:, None] == np.array(CLASSES)) + 0.1, CLASSES, (1.0,))
        component = "baseline" if ":" in site else site.split(".")[0]
        component = "input" if component == "pixels" else component
        score = float(np.mean(predicted == true))
        table.append({"site": site, "component": component, "score": score, "dead_end": site in dead})
    ids = tuple(f"s{i}" for i in range(len(labels)))
    return SweepResult("distortion", table, predictions, true, np.array(list(references)), ids, 0, 0, 200)


def answered(answers: str, labels: str, references: str, kinds: str = "", **more: Any) -> Answers:
    """Answers by first letters ("?" is unparsed); ``kinds`` gives each stimulus's level, "-" for a clean one."""
    names = {**{name[0]: name for name in CLASSES}, "?": UNPARSED}
    levels = [None if kind == "-" else int(kind) for kind in kinds or "1" * len(labels)]
    types = [None if level is None else names[label] for level, label in zip(levels, labels, strict=True)]
    stimuli = [Stimulus(f"s{i}", references[i], types[i], levels[i]) for i in range(len(labels))]
    said = [names[letter] for letter in answers]
    return score_answers(stimuli, [names[x] for x in labels], said, CLASSES, "open", said, n_boot=200, **more)


LABELS, REFERENCES, LEVELS = "bbbbccnn", "abcdabcd", "1122--15"
PROBES = {"pixels": "ccccccbb", "vision.0": "bbbbcccc", "projector": "bbcccnnn", "llm.0": "bbnnccnn", "llm.1": "bbnncncn",
          "baseline:x": "bbbbbbbb"}  # fmt: skip
SAID = "bcccbc?c"


def found(**options: Any) -> Unsaid:
    return unsaid(swept(PROBES, LABELS, REFERENCES), answered(SAID, LABELS, REFERENCES, LEVELS), n_boot=200, **options)


def test_cells_are_those_of_a_hand_count() -> None:
    own = {row["cell"]: row for row in found().table if row["site"] == "llm.0"}
    assert [own[cell]["n"] for cell in CELLS] == [2, 4, 0, 2]
    assert own["encoded and said"]["share"] == pytest.approx((1 / 4 + 1 / 2 + 0) / 3)
    assert own["encoded, not said"]["share"] == pytest.approx((1 / 4 + 1 / 2 + 1) / 3)
    assert own["encoded, not said"]["expected"] == pytest.approx((2 / 4 * 3 / 4 + 1 * 1 / 2 + 1) / 3)
    assert own["encoded, not said"]["plain"] == 4 / 8 and own["encoded, not said"]["plain_expected"] == pytest.approx(
        6 / 8 * 6 / 8
    )
    assert list(dict.fromkeys(row["site"] for row in found().table)) == list(PROBES)[:-1], "in order, no baselines"


def test_margins_are_the_balanced_accuracies_with_their_intervals() -> None:
    survival, answers = swept(PROBES, LABELS, REFERENCES), answered(SAID, LABELS, REFERENCES, LEVELS)
    row = unsaid(survival, answers, n_boot=200).row("llm.0")
    probe = balanced_interval(survival.hits("llm.0"), survival.labels, survival.groups, 200, 0)
    assert [row[f"encoded{end}"] for end in ("", "_low", "_high")] == pytest.approx([probe.value, probe.low, probe.high])
    said = [answers.balanced_accuracy, answers.balanced_low, answers.balanced_high]
    assert [row[f"said{end}"] for end in ("", "_low", "_high")] == pytest.approx(said)
    assert row["by_chance"] == pytest.approx((1 - answers.balanced_accuracy) / 3)
    assert row["not_said_of_encoded"] == pytest.approx((1 / 4 + 1 / 2 + 1) / (2 / 4 + 1 + 1))


def test_template_answers_are_told_among_what_is_known() -> None:
    result = found()
    assert result.template["answer"] == "clean" and result.template["share"] == 5 / 8
    assert result.template["share_of_wrong"] == pytest.approx(4 / 6)
    row = result.row("llm.0")
    assert row["template_of_encoded_not_said"] == 2 / 4 and row["template_of_neither"] == 1
    assert row["unparsed_of_encoded_not_said"] == 1 / 4 and result.row("vision.0")["template_of_encoded_not_said"] == 3 / 4
    mute = unsaid(swept(PROBES, LABELS, REFERENCES), answered("????????", LABELS, REFERENCES), n_boot=50)
    assert mute.template == {"answer": None} and mute.row("llm.0")["unparsed_of_encoded_not_said"] == 1
    assert mute.row("llm.0")["template_of_neither"] == 0


def test_wrong_answers_follow_the_wrong_probe_or_do_not() -> None:
    rng = np.random.default_rng(1)
    labels = "".join(rng.choice(list("bcn"), 300))
    references = "".join(chr(200 + i // 10) for i in range(300))
    probe, other = ("".join(rng.choice(list("bcn"), 300)) for _ in "12")
    survival = swept({"llm.0": probe, "llm.1": other}, labels, references)
    result = unsaid(survival, answered(probe, labels, references), n_boot=200)
    own, apart = result.row("llm.0"), result.row("llm.1")
    assert own["same_class"] == 1 and own["same_class_p_holm"] < 0.05 and own["dependence"] == own["phi"] == pytest.approx(1)
    assert own["same_class_expected"] == pytest.approx(0.5, abs=0.05), "two wrong classes of three"
    assert abs(apart["same_class_excess"]) < 0.15 and apart["same_class_low"] < 0.5 < apart["same_class_high"]
    assert apart["dependence_low"] < 0 < apart["dependence_high"] and apart["p"] > 0.05
    assert [row["p_holm"] for row in result.sites] == holm([row["p"] for row in result.sites])


def test_a_common_cause_is_no_dependence_among_stimuli_that_are_alike() -> None:
    rng = np.random.default_rng(1)
    levels = "".join(rng.choice(list("15"), 1200))
    labels = "".join(rng.choice(list("bn"), 1200))
    references = "".join(chr(200 + i // 30) for i in range(1200))
    easy = np.array([level == "5" for level in levels])

    def right() -> str:
        hit = rng.random(1200) < np.where(easy, 0.9, 0.1)
        return "".join(label if yes else "c" for label, yes in zip(labels, hit, strict=True))

    row = unsaid(
        swept({"llm.0": right()}, labels, references), answered(right(), labels, references, levels), n_boot=200
    ).sites[0]
    assert row["dependence_low"] > 0.5, "levels that are easy for both"
    assert row["dependence_alike_low"] < 0 < row["dependence_alike_high"] < 0.2


def test_stricter_senses_of_known() -> None:
    known = {(row["component"], row["rule"]): row for row in found().known}
    assert set(known) == {("all", BEST), ("llm", LAST), ("llm", MOST), ("llm", EVERY)}, "one site alone has no stricter sense"
    llm = [known["llm", rule] for rule in (LAST, MOST, EVERY)]
    encoded = [row["encoded_and_said"] + row["encoded_not_said"] for row in llm]
    assert encoded == pytest.approx([(2 / 4 + 1 / 2 + 1 / 2) / 3] * 3), "right at llm.1 implies right at llm.0 here"
    assert known["all", BEST]["encoded_not_said"] == pytest.approx((1 / 4 + 1 / 2 + 0) / 3), "vision.0, projector and llm.0"
    three = swept({"llm.0": "bbbb", "llm.1": "bbcc", "llm.2": "bccc", "llm.3": "cccc"}, "bbbb", "abcd", dead=("llm.3",))
    shares = [row["encoded_not_said"] for row in unsaid(three, answered("cccc", "bbbb", "abcd"), n_boot=50).known[1:]]
    assert shares == [1 / 4, 2 / 4, 1 / 4], "last, most and all of the three that the answer depends on"


def test_types_levels_and_classes_have_rows_of_their_own() -> None:
    result = found(shown_sites=["vision.0"])
    assert result.site == "llm.0" and {row["site"] for row in result.by_type} == {"vision.0", "llm.0"}
    at = {row["type"]: row for row in result.by_type if row["site"] == "llm.0"}
    assert list(at) == ["blur", "clean", "noise"] and at["blur"]["n"] == at["blur"]["references"] == 4
    assert [at["blur"][key] for key in ("encoded_and_said", "encoded_not_said", "not_encoded_said", "neither")] == [
        0.25,
        0.25,
        0,
        0.5,
    ]
    assert at["blur"]["expected"] == 0.5 * 0.75 and at["blur"]["not_said_of_encoded"] == 0.5
    levels = {row["level"]: row for row in result.by_level if row["site"] == "llm.0"}
    assert list(levels) == ["clean", 1, 2, 5] and levels[1]["encoded_not_said"] == pytest.approx((1 / 2 + 1) / 2)
    assert levels[5]["references"] == 1 and levels[5]["encoded_not_said_low"] is None, "one reference has no interval"
    assert [row["class"] for row in result.by_class[:3]] == ["blur", "clean", "noise"]
    assert {row["site"] for row in found().by_class} == {"vision.0", "projector", "llm.0"}, "the best of each component"


def test_stimuli_carry_their_cell_and_how_often_the_probe_is_right() -> None:
    rows = {row["id"]: row for row in found(site="vision.0").stimuli}
    assert (
        rows["s1"]["cell"] == "encoded, not said"
        and rows["s5"]["cell"] == "encoded and said"
        and rows["s6"]["cell"] == "neither"
    )
    assert (rows["s1"]["sites_right"], rows["s1"]["sites"], rows["s1"]["llm_right"]) == (4, 4, 2), "pixels are not on the way"
    assert rows["s6"]["probe"] == "clean" and rows["s6"]["probe_confidence"] == pytest.approx(0.8)
    assert rows["s6"]["answer"] == UNPARSED and rows["s6"]["confidence"] is None
    probabilities = np.tile([0.1, 0.6, 0.3], (8, 1))
    told = answered("cccccccc", LABELS, REFERENCES, probabilities=probabilities)
    assert unsaid(swept(PROBES, LABELS, REFERENCES), told, n_boot=50).stimuli[0]["confidence"] == 0.6


def test_stimuli_of_one_side_are_counted_and_left_out() -> None:
    answers = answered(SAID + "bb", LABELS + "bb", REFERENCES + "ab")
    few = Answers(**{**vars(answers), "table": answers.table[3:][::-1]})
    result = unsaid(swept(PROBES, LABELS, REFERENCES), few, n_boot=50)
    assert result.left_out == {"not asked": 3, "not probed": 2} and result.n == 5
    whole = {row["id"]: row["cell"] for row in found().stimuli}
    assert all(whole[row["id"]] == row["cell"] for row in result.stimuli), "joined by id, whatever the order"


def test_intervals_are_over_references() -> None:
    labels, references = "bc" * 50, "".join(chr(200 + i // 10) for i in range(100))
    right = np.repeat(np.random.default_rng(0).random(10) < 0.5, 10)  # all ten images of a reference stand or fall together
    probe = "".join(label if yes else "n" for label, yes in zip(labels, right, strict=True))
    row = unsaid(swept({"llm.0": probe}, labels, references), answered("n" * 100, labels, references)).table[1]
    assert row["cell"] == "encoded, not said" and row["share_high"] - row["share_low"] > 0.45, "100 images would give about 0.2"


def test_the_entry_is_plain_json_without_the_single_stimuli() -> None:
    result = found()
    entry = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert entry["site"] == "llm.0" and "stimuli" not in entry and entry["n"] == 8 and entry["references"] == 4
    assert entry["table"] == result.table and found(seed=1).table != result.table


def test_refusals_are_in_words() -> None:
    survival, answers = swept(PROBES, LABELS, REFERENCES), answered(SAID, LABELS, REFERENCES)
    with pytest.raises(InputError, match=r"no site 'llm.9'. Expected one of pixels, vision.0, .* Choose one of these"):
        unsaid(survival, answers, site="llm.9")
    with pytest.raises(InputError, match="'s0' is 'blur' for the probe .target 'distortion'. and 'noise' for the answers"):
        unsaid(survival, answered(SAID, "n" + LABELS[1:], REFERENCES))
    with pytest.raises(InputError, match="16 answers are about 8 stimuli. Expected one answer each"):
        unsaid(survival, Answers(**{**vars(answers), "table": answers.table * 2}))
    with pytest.raises(InputError, match="8 probed and the 0 asked stimuli have none in common"):
        unsaid(survival, Answers(**{**vars(answers), "table": []}))
    with pytest.raises(InputError, match="baselines alone"):
        unsaid(swept({"baseline:x": LABELS}, LABELS, REFERENCES), answers)
    with pytest.raises(InputError, match="needs at least 2 of them, got 1"):
        unsaid(swept({"llm.0": "bc"}, "bc", "aa"), Answers(**{**vars(answered("bc", "bc", "ab"))}))
