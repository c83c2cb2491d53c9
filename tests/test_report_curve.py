"""The curve's geometry: places, gaps and what is told where the pointer is."""

from typing import Any

from analysis.report.curve import HEIGHT, LEFT, RIGHT, TOP, WIDTH, Series, curve
from tests.exams import SITES, probe

SAID = {"balanced_accuracy": 0.5, "balanced_low": 0.4, "balanced_high": 0.6}


def rows(*scores: float | None) -> list[dict[str, Any]]:
    made = [probe(site, component, 0.5) for site, component in SITES]
    for row, score in zip(made, scores, strict=False):
        row["score"] = score
    return made


def test_every_site_and_the_answer_have_a_place_in_the_box() -> None:
    made = curve([Series("a", rows(0.0, 1.0), SAID)], 0.5, 0.5, [probe("baseline:pixel-statistics", "baseline", 0.25)])
    at = [column["at"] for column in made["columns"]]
    assert len(at) == 6 and at == sorted(at) and LEFT < at[0] and at[-1] < WIDTH - RIGHT
    assert (
        made["columns"][0]["x"] == LEFT and abs(sum(column["width"] for column in made["columns"]) - (WIDTH - LEFT - RIGHT)) < 1
    )
    first, second, *_, last = made["points"]
    assert (
        (first["y"], second["y"]) == (made["box"]["bottom"], TOP) and last["kind"].startswith("answer") and last["x"] == at[-1]
    )
    assert [band["name"] for band in made["bands"]] == ["input", "vision", "projector", "llm"]
    assert [rule["label"] for rule in made["rules"]] == ["chance 50.0 %", "pixel statistics 25.0 %"], (
        "the majority is no line where it is chance"
    )
    assert [tick["label"] for tick in made["ticks_x"]] == [*(site for site, _ in SITES), "answer"]
    assert max(band["x"] + band["width"] for band in made["bands"]) < at[-1] and made["height"] == HEIGHT


def test_what_is_missing_is_a_gap_and_no_zero() -> None:
    made = curve([Series("a", rows(0.2, None, 0.4), None)], 0.5, 0.7)
    (line,) = (line["d"] for line in made["lines"] if line["kind"].startswith("probe"))
    assert line.count("M") == 2 and line.count("L") == 2 and len(made["points"]) == 4 and len(made["columns"]) == 5
    assert made["columns"][1]["tip"].startswith("vision.0\nprobe –")
    assert [rule["kind"] for rule in made["rules"]] == ["chance", "majority"]


def test_models_of_other_depth_share_components_and_not_places() -> None:
    deep = [probe(site, component, 0.5) for site, component in [*SITES, ("llm.1", "llm"), ("llm.2", "llm")]]
    made = curve([Series("a", rows(), SAID), Series("b", deep, SAID)], 0.5, 0.5)
    ends = {band["name"]: (band["x"], band["x"] + band["width"]) for band in made["bands"]}
    for point, row in zip([p for p in made["points"] if p["kind"] == "s1"], deep, strict=True):
        low, high = ends[row["component"]]
        assert low < point["x"] < high, row["site"]
    assert not made["same"] and made["ticks_x"] == []
    told = [column["tip"] for column in made["columns"] if column["tip"].startswith("projector")]
    assert told == ["projector\na: probe 50.0 % [40.0, 60.0]\nb: probe 50.0 % [40.0, 60.0]"]
    assert not any("shuffled" in column["tip"] for column in made["columns"]) and not any(
        area["kind"] == "control" for area in made["areas"]
    )
