"""Every figure of what a model says shows its part of the results, and a part without data has none."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.bias import bias
from analysis.blind import WHAT, compared
from analysis.figures.agreement import PANELS
from analysis.figures.files import written
from analysis.figures.interview import FIGURES, interview_figures
from analysis.figures.style import style
from analysis.monotonicity import monotonicity
from analysis.pairwise import pairwise
from analysis.perception import score_answers
from analysis.psychometric import psychometric
from analysis.quality import Quality, severity_of
from analysis.quality_scores import correlations
from analysis.spread import flips
from analysis.unsaid import CELLS
from stimuli.tables import write_json
from tests.test_bias import CLASSES, again, labels, scored
from tests.test_quality import painted
from tests.test_unsaid import found as unsaid_entry

STIMULI = painted(4, ("jpeg", "gaussian_blur", "white_noise"), (1, 3, 5))
GROUPS = np.array([s.reference for s in STIMULI])
TRUE = np.array(labels(STIMULI))
RNG = np.random.default_rng(0)
SAID = np.where(RNG.random(len(STIMULI)) < 0.6, TRUE, RNG.choice(CLASSES, len(STIMULI)))
SCORES = np.array([4.5 - 0.6 * (s.level or 0) for s in STIMULI]) + RNG.normal(0, 0.5, len(STIMULI))


def answers(name: str, said: np.ndarray) -> Any:
    return score_answers(STIMULI, TRUE.tolist(), said.tolist(), CLASSES, name, said.tolist(), n_boot=20,
                         confidence=np.linspace(0.2, 1, len(said)))  # fmt: skip


def rated(name: str, scores: np.ndarray) -> dict[str, Any]:
    truth = np.array([s.ssim for s in STIMULI], float)
    falls = monotonicity(scores, [s.type for s in STIMULI], severity_of(STIMULI)[0], GROUPS, 20)
    return Quality(name, "ssim", (), scores, scores, [], correlations(scores, truth, GROUPS, 10), falls).as_dict()


def turned(levels: np.ndarray) -> dict[str, Any]:
    return {
        "method": "levels",
        "times": levels.shape[1],
        "parsed": 1.0,
        "spread": {},
        "flips": flips(levels, GROUPS, n_boot=20).as_dict(),
    }


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The ``perception`` part of the results, as it comes back from disk."""
    main, opened = answers("forced-choice", SAID), answers("open", np.where(SAID == "noise", "unparsed", SAID))
    worse = np.roll(SAID, 1)
    controls = [{"view": view, "what": what, **compared(SAID, own, TRUE, GROUPS, 0.25, 20)}
                for view, what, own in (("image", "the image itself", SAID), ("grey", WHAT["grey"], worse))]  # fmt: skip
    twice = {kind: again(kind, STIMULI, np.stack([SAID, worse], 1)) for kind in ("paraphrases", "orders")}
    texts = {s.id: "A sharp image." if (s.level or 0) < 3 else "A blurry image." for s in STIMULI}
    evidence = bias(main, twice, scored(STIMULI, SCORES.tolist(), np.clip(np.round(SCORES), 1, 5).tolist()),
                    {"content": texts, "quality": texts}, STIMULI, n_boot=20)  # fmt: skip
    pairs = pairwise([0, 1, 2, 1, 2, 0, 10, 11], [1, 0, 1, 2, 0, 2, 11, 10], np.array([0, 1.0, 1, 0, 1, 0, 0, 0]),
                     np.arange(20, 0, -1.0), ["r0"] * 6 + ["r1"] * 2, 20)  # fmt: skip
    levels = RNG.integers(1, 6, (len(STIMULI), 3)).astype(float)
    found = {
        "base": main.as_dict(), "protocols": {"forced-choice": main.as_dict(), "open": opened.as_dict()},
        "controls": {"protocol": "forced-choice", "chance": 0.25, "table": controls},
        "consistency": {kind: {"what": f"what of {kind}", **own.agreement.as_dict()} for kind, own in twice.items()},
        "thresholds": psychometric(main.table, n_boot=5).as_dict(), "bias": evidence.as_dict(),
        "quality": {"levels": rated("levels", SCORES), "q-bench": rated("q-bench", -SCORES),
                    "number": rated("number", np.full(len(SAID), np.nan))},
        "score_consistency": {"paraphrases": turned(levels), "pixels": turned(np.sort(levels, 1)),
                              "repeats": {"method": "number", "flips": None}},
        "preference": {"truth": "ssim", **pairs.as_dict()}, "unsaid": unsaid_entry().as_dict(),
        "gallery": [{"cell": cell, "type": "jpeg", "level": 3, "confidence": 0.5, "label": "blur", "probe": "blur", "answer": "noise",
                     "png": PIXEL, "id": cell} for cell in CELLS[:2]],
    }  # fmt: skip
    return dict(json.loads(write_json(found, tmp_path_factory.mktemp("part") / "part.json").read_text()))


PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
"""A white picture of one pixel."""


def made(name: str, part: Mapping[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    """A figure's axes and its rows."""
    with style():
        found = FIGURES[name](part)
    assert found is not None, name
    return found[0].axes, found[1]


def title(ax: Any) -> str:
    return str(ax.get_title(loc="left"))


def ticks(ax: Any, axis: str = "y") -> list[str]:
    return [tick.get_text() for tick in getattr(ax, f"get_{axis}ticklabels")()]


def dots(ax: Any, marker: str = "o") -> list[float]:
    return [float(line.get_xdata()[0]) for line in ax.lines if line.get_marker() == marker and len(line.get_xdata()) == 1]


@pytest.mark.slow
@pytest.mark.heavy
def test_all_figures_are_drawn_and_their_rows_stand_beside_them(part: dict[str, Any], tmp_path: Path) -> None:
    found = written(interview_figures(part), tmp_path, ("png",))
    assert set(found) == set(FIGURES), "in this part there is data for every figure"
    assert all(paths["png"].stat().st_size > 3000 for paths in found.values())
    for name in found:
        with open(tmp_path / f"{name}.csv", encoding="utf-8") as handle:
            assert list(csv.DictReader(handle)), name


@pytest.mark.parametrize("name", FIGURES)
def test_a_part_without_data_has_no_figure(name: str) -> None:
    nothing: dict[str, Any] = {"protocols": {}, "consistency": {}, "controls": None, "thresholds": None, "quality": {}, "score_consistency": {},
               "preference": None, "bias": None, "unsaid": None, "gallery": []}  # fmt: skip
    assert FIGURES[name]({}) is None and FIGURES[name](nothing) is None


def test_what_holds_no_number_has_no_figure(part: dict[str, Any]) -> None:
    only = {"number": part["quality"]["number"]}
    assert FIGURES["quality"]({"quality": only}) is None and FIGURES["monotonicity"]({"quality": only}) is None
    assert FIGURES["protocols"]({"protocols": {"open": part["protocols"]["open"]}}) is None, "one alone is no comparison"
    silent = {**part["bias"], "residuals": None, "contradictions": None, "templates": {}}
    assert all(FIGURES[name]({"bias": silent}) is None for name in ("residuals", "contradictions", "templates"))
    assert FIGURES["flips"]({"score_consistency": {"repeats": {"method": "number", "flips": None}}}) is None
    plain = {name: {**entry, "calibration": None} for name, entry in part["protocols"].items()}
    assert FIGURES["reliability"]({"protocols": plain}) is None
    assert FIGURES["thresholds"]({"thresholds": {**part["thresholds"], "table": []}}) is None
    assert FIGURES["preference"]({"preference": {**part["preference"], "accuracy": None}}) is None


def test_protocols_and_controls_are_those_of_the_part(part: dict[str, Any]) -> None:
    (ax,), rows = made("protocols", part)
    assert [row["protocol"] for row in rows] == ["forced-choice", "open"]
    assert dots(ax) == [entry["balanced_accuracy"] for entry in part["protocols"].values()]
    assert rows[1]["unparsed"] == part["protocols"]["open"]["unparsed"] > 0 and dots(ax, "x") == [rows[1]["unparsed"]]
    (left, right), rows = made("controls", part)
    assert rows == part["controls"]["table"] and [bar.get_width() for bar in left.patches] == [
        row["balanced_accuracy"] for row in rows
    ]
    assert [bar.get_width() for bar in right.patches] == [row["same_answer"] for row in rows] and ticks(left)[
        1
    ] == "mid-grey image"


def test_types_have_a_panel_and_severities_one_where_they_are_known(part: dict[str, Any]) -> None:
    (left, right), rows = made("types", part)
    assert dots(left) == [row["accuracy"] for row in part["base"]["by_type"]] and ticks(left)[0] == "clean"
    assert dots(right) == [row["accuracy"] for row in part["base"]["by_severity"]]
    assert [row["by"] for row in rows] == ["type"] * len(ticks(left)) + ["severity"] * len(ticks(right))
    (alone,), rows = made("types", {"base": {**part["base"], "by_severity": []}})
    assert ticks(alone) == ticks(left) and {row["by"] for row in rows} == {"type"}
    many = [{**part["base"]["by_type"][1], "type": f"type_{i}"} for i in range(25)]
    (tall, _), _ = made("types", {"base": {**part["base"], "by_type": many}})
    assert len(ticks(tall)) == 25 and tall.figure.get_figheight() > 5.5


def test_thresholds_and_reliability_have_a_panel_each(part: dict[str, Any]) -> None:
    axes, rows = made("thresholds", part)
    assert [title(ax) for ax in axes if ax.axison] == ["jpeg", "gaussian blur", "white noise"]
    assert rows == part["thresholds"]["table"]
    axes, rows = made("reliability", part)
    assert [title(ax) for ax in axes] == ["forced-choice", "open"]
    assert [row["protocol"] for row in rows] == ["forced-choice"] * 10 + ["open"] * 10
    own = [row["accuracy"] for row in part["protocols"]["open"]["calibration"]["table"] if row["n"]]
    assert [
        float(line.get_ydata()[0]) for line in axes[1].lines if line.get_marker() == "o" and len(line.get_xdata()) == 1
    ] == own


def test_agreement_and_flips_name_what_was_asked_again(part: dict[str, Any]) -> None:
    axes, rows = made("agreement", part)
    assert [tick.split("\n")[0] for tick in ticks(axes[0])] == ["what of paraphrases", "what of orders"]
    for ax, (key, *_) in zip(axes, PANELS, strict=True):
        assert dots(ax) == [entry[key]["value"] for entry in part["consistency"].values()] == [row[key] for row in rows]
    assert rows[0]["kappa_low"] == part["consistency"]["paraphrases"]["kappa"]["low"] and rows[0]["times"] == 2
    (ax,), rows = made("flips", part)
    assert [text.get_text().split("\n")[0] for text in ax.texts if "levels" in text.get_text()] == [
        "paraphrases (levels)",
        "pixels (levels)",
    ]
    own = part["score_consistency"]["pixels"]["flips"]["transitions"][0]
    shown = next(row for row in rows if row["asked again"] == "pixels (levels)" and row["first"] == "bad")
    assert [shown[level] for level in ("bad", "poor", "fair", "good", "excellent")] == own and len(rows) == 10


def test_bias_is_shown_as_spread_information_residuals_and_templates(part: dict[str, Any]) -> None:
    (spread, told), rows = made("bias", part)
    shares = [row["share"] for row in part["bias"]["divergence"]["distribution"]]
    assert [bar.get_width() for bar in spread.containers[1]] == shares and ticks(spread) == [*CLASSES, "unparsed"]
    assert [bar.get_height() for bar in told.containers[0]] == [
        row["plug_in"] for row in part["bias"]["information"]["paraphrases"]["table"]
    ]
    assert [row["kind"] for row in rows] == ["response distribution"] * 5 + ["paraphrases"] * 3 + ["orders"] * 3
    (alone,), _ = made("bias", {"bias": {**part["bias"], "information": {}}})
    assert ticks(alone) == ticks(spread), "without paraphrases the spread stands alone"
    (ax,), rows = made("residuals", part)
    assert rows == part["bias"]["residuals"] and set(ticks(ax)) == {"jpeg", "gaussian blur", "white noise"}
    (content, quality), rows = made("templates", part)
    assert title(content).startswith("Content: 40 descriptions") and title(quality).startswith("Quality: 40 descriptions")
    assert [bar.get_width() for bar in quality.patches] == [
        row["share"] for row in part["bias"]["templates"]["quality"]["templates"]
    ]
    assert [row["described"] for row in rows] == ["content"] * 2 + ["quality"] * 2


def test_contradictions_and_preferences_are_shares(part: dict[str, Any]) -> None:
    (ax,), rows = made("contradictions", part)
    assert [bar.get_width() for bar in ax.patches] == [row["share"] for row in part["bias"]["contradictions"]["outcomes"]]
    assert ticks(ax)[0] == "description and level agree" and rows[0]["outcome"] == "consistent" and "40 images" in title(ax)
    (ax,), rows = made("preference", part)
    own = part["preference"]
    assert [bar.get_width() for bar in ax.patches] == [own[key] for key in ("accuracy", "both_right", "turns", "says_first")]
    assert [row["chance"] for row in rows] == [0.5, 0.25, 0.5, 0.5], "what a coin would do"
    assert (rows[0]["low"], rows[0]["high"]) == (
        own["accuracy_low"],
        own["accuracy_high"],
    ) and "8 comparisons" in title(ax)


def test_quality_has_the_first_method_with_a_correlation_and_all_beside_it(part: dict[str, Any]) -> None:
    (left, right), rows = made("quality", {"quality": dict(reversed(part["quality"].items()))})
    points = next(line for line in left.lines if line.get_linestyle() == "None")
    own = part["quality"]["q-bench"]["correlations"]
    assert list(points.get_xdata()) == own["scores"] and list(points.get_ydata()) == own["truth"]
    assert left.get_ylabel() == "SSIM" and title(left).startswith("q-bench: ")
    assert ticks(right) == ["number", "q-bench", "levels"], "one without a correlation says why"
    assert "no image has a score" in [text.get_text() for text in right.texts] and "100 %" in [
        text.get_text() for text in right.texts
    ]
    assert (
        [row["method"] for row in rows] == ["number", "q-bench", "levels"]
        and rows[1]["srcc"] == own["srcc"]
        and "scores" not in rows[1]
    )
    axes, rows = made("monotonicity", part)
    assert rows == part["quality"]["levels"]["monotonicity"]["table"] and ticks(axes[0]) == [
        "all types",
        "jpeg",
        "gaussian blur",
        "white noise",
    ]


def test_what_is_not_said_is_drawn_from_its_own_part(part: dict[str, Any]) -> None:
    (ax,), rows = made("unsaid", part)
    assert rows == part["unsaid"]["table"] and ticks(ax, "x")
    (ax,), rows = made("unsaid_types", part)
    assert rows == part["unsaid"]["by_type"]
    assert len(ticks(ax)) == sum(row["site"] == part["unsaid"]["site"] for row in part["unsaid"]["by_type"])
    own = [row for row in part["unsaid"]["by_type"] if row["site"] == part["unsaid"]["site"]]
    (alone,), _ = made("unsaid_types", {"unsaid": {**part["unsaid"], "by_type": own}})
    assert len(own) < len(rows) and alone.figure.get_figheight() == ax.figure.get_figheight(), "room for what is drawn alone"
    axes, rows = made("gallery", part)
    assert len(axes) == 4 and [len(ax.images) for ax in axes] == [1, 1, 0, 0] and all("png" not in row for row in rows)
