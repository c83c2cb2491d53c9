"""Figures of probing show the rows they are given, of few sites and of many, and every one is written with its data."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures import probing
from analysis.figures.files import written
from analysis.figures.kinds import draw_transfers, draw_types
from analysis.figures.survival import shown_ticks

Rows = list[dict[str, Any]]


def sites(blocks: int) -> Rows:
    """Sites of a model of so many blocks in the tower, and as many in the language model."""
    names = ["processed", *(f"vision.{i}" for i in range(blocks)), "projector", *(f"llm.{i}" for i in range(blocks))]
    parts = ["input", *["vision"] * blocks, "projector", *["llm"] * blocks]
    return [
        {"order": i, "site": s, "component": c, "dead_end": False} for i, (s, c) in enumerate(zip(names, parts, strict=True))
    ]


def ends(name: str, value: float, half: float = 0.05) -> dict[str, float]:
    low, high = ("low", "high") if name in ("score", "information", "gain") else (f"{name}_low", f"{name}_high")
    return {name: value, low: value - half, high: value + half}


def tables(blocks: int = 3, kinds: int = 4, numbers: bool = False) -> dict[str, Rows]:
    """Every table that ``snellen probe`` keeps, with scores that rise in the tower and fall at its end."""
    own, rng = sites(blocks), np.random.default_rng(0)
    score = {r["site"]: 0.2 + 0.7 * np.exp(-(((i - 0.8 * blocks) / blocks) ** 2) * 3) for i, r in enumerate(own)}
    every = [*own, {"order": len(own), "site": "baseline:pixel-statistics", "component": "baseline", "dead_end": False}]
    score["baseline:pixel-statistics"] = 0.6
    found: dict[str, Rows] = {name: [] for name in ("probe", "differences", "best_sites", "online_code", "usable_information",
                              "control_task_cell", "equal_dimension", "types", "sample_size", "sample_size_gain", "transfer_type",
                              "transfer_level")}  # fmt: skip
    for row in every:
        s = float(score[row["site"]])
        plain = {**row, **ends("score", s), **ends("control", 0.125), "chance": 0.125}
        more = {**ends("within_type", s - 0.1), "type_only": 0.3} if numbers else {"content": 0.8, "majority": 0.2}
        found["probe"].append({**plain, **more})
        change = {
            "against": "vision.2",
            "change": s - 0.9,
            "low": s - 0.95,
            "high": s - 0.85,
            "p_holm": 1.0 if s > 0.85 else 0.01,
        }
        found["differences"].append({**row, "score": s, **change})
        found["best_sites"].append({**row, "among_best": s > 0.85})
        found["online_code"].append({**row, **ends("compression", 1 / (1.05 - s)), **ends("control_compression", 0.98)})
        found["usable_information"].append({**row, "h_null": 3.0, **ends("information", 3 * s - 0.5), "control": 0.0,
                                            "control_low": -0.1, "control_high": 0.1})  # fmt: skip
        selective = {"score_low": s - 0.05, "score_high": s + 0.05, "score": s, "control_chance": 0.125}
        found["control_task_cell"].append({**row, **selective, **ends("control", 0.5 * s)})
        found["equal_dimension"].append({**row, **selective, **ends("pca", s - 0.02), **ends("random", s - 0.06), "d": 48})
        found["sample_size_gain"].append({**row, **ends("gain", 0.1 - 0.1 * s), "limited": s < 0.3})
        for fraction in (0.25, 0.5, 1.0):
            found["sample_size"].append(
                {**row, "fraction": fraction, "references": 64 * fraction, **ends("score", s - 0.1 * (1 - fraction))}
            )
        for kind in range(kinds):
            auc = float(np.clip(0.5 + 0.6 * s - 0.02 * kind + 0.03 * rng.normal(), 0.5, 1))
            about = {"type": f"type_{kind}", "signed": kind == kinds - 1, "threshold": None if auc < 0.75 else 1 + kind % 4}
            found["types"].append({**row, **about, **ends("auc", auc)})
            drop: dict[str, Any] = {
                "held_out": f"type_{kind}",
                "change": -0.3 * s * (kind % 3 == 0),
                "p_holm": 0.01 if kind % 3 == 0 else 1.0,
            }
            found["transfer_type"].append(
                {**row, **drop, **ends("score", s + drop["change"]), **ends("inside", s), "chance": 0.125}
            )
        shift = {"held_out": "high from low", "change": -0.2, "p_holm": 0.01, "chance": 0.125}
        found["transfer_level"].append({**row, **shift, **ends("score", max(0, s - 0.2)), **ends("inside", s)})
    return found


def labelled(ax: Any) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in ax.lines}


@pytest.mark.parametrize("numbers", [False, True], ids=["classes", "numbers"])
def test_a_survival_curve_shows_scores_controls_and_baselines_of_either_kind(numbers: bool) -> None:
    rows, ax = tables(numbers=numbers)["probe"], Figure().subplots()
    probing.draw_probe(ax, rows, "mos")
    lines = labelled(ax)
    kind = "rank correlation (SRCC)" if numbers else "probe"
    assert np.allclose(lines[f"{kind} (95 % interval over references)"], [row["score"] for row in rows[:-1]])
    assert ("the same within a type" in lines) == numbers and ("what the type alone tells" in lines) == numbers
    assert ("chance 12.5 %" in lines) == (not numbers)
    assert any(name.startswith("pixel statistics 0.60" if numbers else "pixel statistics 60 %") for name in lines)
    assert "mos" in ax.get_ylabel() and "mos" in ax.get_title()


def test_sites_are_drawn_from_the_input_to_the_language_model_in_whatever_order_they_come() -> None:
    ax = Figure().subplots()
    probing.draw_probe(ax, tables()["probe"][::-1], "distortion")
    named = [tick.get_text() for tick in ax.get_xticklabels()]
    assert [name.split(".")[0] for name in named] == ["processed", *["vision"] * 3, "projector", *["llm"] * 3]


@pytest.mark.parametrize("count", [1, 12, 32, 60, 200])
def test_so_many_sites_are_named_as_can_be_read(count: int) -> None:
    parts = ["input", *["vision"] * count, "projector", *["llm"] * count]
    ticks = shown_ticks(parts)
    apart = max(1, 2 / 3 * len(parts) / 32)
    assert len(ticks) <= 48 and all(b - a >= apart for a, b in zip(ticks, ticks[1:], strict=False))
    assert 0 in ticks and count + 1 in ticks, "the projector, one site among hundreds, has its name"
    assert count > 14 or ticks == list(range(len(parts)))


def test_sites_that_cannot_be_told_from_the_best_are_filled() -> None:
    found, ax = tables(), Figure().subplots()
    probing.draw_differences(ax, found["differences"], found["best_sites"])
    points = [line for line in ax.lines if np.size(line.get_xdata()) == 1]
    filled = [line.get_markerfacecolor() != "white" for line in points]
    assert filled == [row["among_best"] for row in found["best_sites"][:-1]] and 0 < sum(filled) < len(filled)
    assert np.allclose(
        [np.asarray(line.get_ydata())[0] for line in points], [row["change"] for row in found["differences"][:-1]]
    )


def test_the_heat_map_of_types_holds_the_areas_and_tells_the_levels() -> None:
    rows, ax = tables()["types"], Figure().subplots()
    shown = draw_types(ax, rows)
    order = [label.get_text().replace(" ", "_") for label in ax.get_yticklabels()]
    names = [label.get_text() for label in ax.get_xticklabels()]
    at = {(row["site"], row["type"]): row for row in rows}
    assert np.allclose(shown.get_array(), [[at[site, kind]["auc"] for site in names] for kind in order])
    assert not any(name.startswith("baseline") for name in names)
    texts = {
        (round(t.get_position()[0]), round(t.get_position()[1])): t.get_text() for t in ax.texts[: len(names) * len(order)]
    }
    for y, kind in enumerate(order):
        for x, site in enumerate(names):
            row = at[site, kind]
            assert texts[x, y] == ("±" if row["signed"] else "–" if row["threshold"] is None else str(row["threshold"]))


def test_the_heat_maps_of_transfer_mark_the_drops_that_are_sure() -> None:
    rows, axes = tables()["transfer_type"], Figure().subplots(2, 1)
    score, change = draw_transfers(axes, rows)
    assert score.get_array().shape == change.get_array().shape == (4, 8)
    assert np.allclose(change.get_array()[1:3], 0) and (change.get_array()[0] < 0).all()
    (dots,) = [line for line in axes[1].lines if line.get_marker() == "o"]
    assert set(dots.get_ydata()) == {0, 3} and len(dots.get_ydata()) == 16


def test_the_best_site_of_each_component_stands_out_in_the_sample_size_curves() -> None:
    found, axes = tables(), Figure().subplots(1, 2)
    probing.draw_sample_sizes(axes, found["sample_size"], found["sample_size_gain"])
    told = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert told == ["processed", "vision.1", "projector", "llm.0", "pixel-statistics"]
    assert len(axes[0].lines) == 9, "every other site is there too"


@pytest.mark.parametrize("numbers", [False, True], ids=["classes", "numbers"])
def test_every_figure_is_written_with_its_data_and_what_is_missing_is_left_out(tmp_path: Path, numbers: bool) -> None:
    found = tables(blocks=2, kinds=2, numbers=numbers)
    if numbers:
        found = {"probe": found["probe"]}
    done = written(probing.probing_figures(found, "distortion"), tmp_path, ["svg"])
    expected = {"survival", "differences", "bits", "equal_dimension", "sample_size", "types", "control_task_cell",
                "transfer_type", "transfer_level"}  # fmt: skip
    assert set(done) == ({"survival"} if numbers else expected)
    assert all(paths["svg"].exists() and paths["svg"].with_suffix(".csv").exists() for paths in done.values())
    with open(tmp_path / "survival.csv") as handle:
        assert [row["site"] for row in csv.DictReader(handle)] == [row["site"] for row in found["probe"]]
