"""The sweep on a store in memory whose sites hold what we planted in them."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hooks.activations import Activations
from probes.sweep import SweepResult, compare_runs, lost, sweep
from stimuli.errors import InputError
from tests.stores import InMemory

TYPES = (None, "gaussian_blur", "white_noise", "jpeg")
STRENGTH = {"pixels": 0.3, "vision.0": 2.0, "vision.1": 2.0, "projector": 0.0, "llm.0": 0.0, "llm.1": 0.0}


class FakeStore(InMemory):
    """What a sweep needs of a store, in memory."""

    def __init__(self, rows: list[dict[str, Any]], values: Mapping[str, np.ndarray]) -> None:
        self.rows, self.values = {row["id"]: row for row in rows}, dict(values)


def rows(references: int = 20) -> list[dict[str, Any]]:
    """Every type twice per reference, at levels 1 and 5, and one stimulus per reference that no class fits."""
    found = []
    for reference in range(references):
        for type in TYPES:
            for level in (1, 5):
                id = f"r{reference}-{type}-{level}"
                row = {"id": id, "reference": f"r{reference}", "type": type, "level": level if type else None}
                found.append({**row, "is_identity": False})
        row = {"id": f"r{reference}-odd", "reference": f"r{reference}", "type": "color_block", "level": 3}
        found.append({**row, "is_identity": False})
    return found


def store(strength: Mapping[str, float] = STRENGTH, references: int = 20, seed: int = 0) -> FakeStore:
    rng, shown = np.random.default_rng(seed), rows(references)
    kind = np.array([TYPES.index(r["type"]) if r["type"] in TYPES else 0 for r in shown])
    content = np.repeat(rng.normal(size=(references, 12)), 9, axis=0)
    values = {}
    for site, s in strength.items():
        noise = rng.normal(size=(len(shown), 12))
        values[site] = (content + noise + s * rng.normal(size=(4, 12))[kind]).astype(np.float32)
    return FakeStore(shown, values)


@pytest.fixture(scope="module")
def result() -> SweepResult:
    return sweep(store(), n_boot=300, progress=False)


def test_each_site_scores_what_was_planted(result: SweepResult) -> None:
    for site, strength in STRENGTH.items():
        row = result.row(site)
        assert row["low"] <= row["score"] <= row["high"]
        assert (row["score"] > 0.8) == (strength > 1)
        if strength == 0:
            assert row["low"] - 0.05 <= 0.25 <= row["high"] + 0.05
        assert row["selectivity"] == row["score"] - row["control"]


def test_it_shows_draws_and_saves_itself(result: SweepResult, tmp_path: Path) -> None:
    figure = result.plot()
    assert figure.axes[0].get_title("left") == "Where distortion can be read" and "<img" in result._repr_html_()
    assert repr(result).startswith(f"SweepResult: {len(result.table)} rows, target distortion")
    again = SweepResult.load(result.save(tmp_path / "sweep.json"))
    assert again.table == result.table and again.compare("vision.0", "llm.0") == result.compare("vision.0", "llm.0")
    assert again.hits("vision.0").tolist() == result.hits("vision.0").tolist()


def test_the_shuffled_control_is_chance_even_where_the_signal_is_strong(result: SweepResult) -> None:
    assert abs(np.mean([row["control"] for row in result.table]) - 0.25) < 0.06
    assert result.row("vision.0")["control_low"] - 0.05 <= 0.25 <= result.row("vision.0")["control_high"] + 0.05
    assert result.row("vision.0")["selectivity"] > 0.5


def test_rows_say_what_they_are_of(result: SweepResult) -> None:
    row = result.row("vision.0")
    expected = {"component": "vision", "dim": 12, "n": 160, "references": 20, "chance": 0.25, "majority": 0.25}
    assert expected.items() <= row.items()
    assert row["content_chance"] == pytest.approx(1 / 20)
    assert result.row("llm.0")["content"] > 0.5
    assert [r["component"] for r in result.table] == ["input", "vision", "vision", "projector", "llm", "llm"]
    assert [r["order"] for r in result.table] == list(range(6))


def test_stimuli_without_a_class_are_dropped_and_counted(result: SweepResult) -> None:
    assert result.dropped == 20
    assert len(result.ids) == len(result.labels) == 160
    assert not any(id.endswith("odd") for id in result.ids)
    assert sorted(set(result.labels)) == ["blur", "clean", "compression", "noise"]


def test_the_other_targets() -> None:
    types = sweep(store(), "type", sites=["vision.0"], n_boot=50, progress=False)
    assert sorted(set(types.labels)) == ["clean", "gaussian_blur", "jpeg", "white_noise"]
    assert types.row("vision.0")["score"] > 0.8
    levels = sweep(store(), "level", sites=["vision.0"], n_boot=50, progress=False)
    assert sorted(set(levels.labels)) == ["clean", "level 1", "level 5"]


def test_a_distorted_stimulus_of_unknown_level_is_not_called_clean() -> None:
    given = store()
    for id in given.ids:
        if given.rows[id]["type"] == "jpeg":
            given.rows[id]["level"] = None
    levels = sweep(given, "level", sites=["vision.0"], n_boot=50, progress=False)
    assert not any("jpeg" in id for id in levels.ids)
    assert all(("None" in id) == (label == "clean") for id, label in zip(levels.ids, levels.labels, strict=True))


def test_baselines_stand_beside_the_sites_and_are_joined_by_id(result: SweepResult) -> None:
    given = store()
    turned = Activations(given.ids[::-1], given.values["vision.0"][::-1])
    beside = sweep(given, sites=["vision.0"], baselines={"pixel-statistics": turned}, n_boot=50, progress=False)
    row = beside.row("baseline:pixel-statistics")
    assert row["component"] == "baseline"
    assert row["score"] == pytest.approx(beside.row("vision.0")["score"])
    assert beside.best() == "vision.0"


def test_best_site_of_a_component_and_of_all(result: SweepResult) -> None:
    assert result.best("vision") in ("vision.0", "vision.1")
    assert result.best() in ("vision.0", "vision.1")
    assert result.best("projector") == "projector"
    assert result.best("nonesuch") is None


def test_comparison_of_sites_is_paired_and_symmetric(result: SweepResult) -> None:
    there, back = result.compare("vision.1", "projector"), result.compare("projector", "vision.1")
    assert there.value == pytest.approx(result.row("projector")["score"] - result.row("vision.1")["score"])
    assert there.high < -0.3 and there.p < 0.02
    assert (there.low, there.high, there.p) == pytest.approx((-back.high, -back.low, back.p))


def test_the_loss_is_put_where_it_was_planted(result: SweepResult) -> None:
    found = {row["component"]: row for row in lost(result, "vision.1")}
    assert list(found) == ["vision", "projector", "llm"]
    assert found["projector"]["change"] < -0.3 and found["projector"]["p_holm"] < 0.05
    assert found["projector"]["from"] == "vision.1" and found["projector"]["to"] == "projector"
    assert found["vision"]["p_holm"] > 0.05
    assert all(row["p_holm"] >= row["p"] for row in found.values())


def test_a_loss_inside_the_language_model_is_not_blamed_on_the_projector() -> None:
    late = sweep(store({**STRENGTH, "projector": 2.0}), n_boot=300, progress=False)
    found = {row["component"]: row for row in lost(late, "vision.1")}
    assert found["projector"]["change"] > -0.1
    assert found["llm"]["change"] < -0.3 and found["llm"]["p_holm"] < 0.05


def test_two_runs_are_compared_site_by_site(result: SweepResult) -> None:
    after = sweep(store({**STRENGTH, "projector": 2.0}), n_boot=300, progress=False)
    table = {row["site"]: row for row in compare_runs(result, after)}
    assert table["projector"]["change"] > 0.3 and table["projector"]["p_holm"] < 0.05
    assert table["projector"]["change"] == pytest.approx(table["projector"]["after"] - table["projector"]["before"])
    assert table["vision.0"]["change"] == 0 and table["vision.0"]["p_holm"] == 1


def test_runs_that_cannot_be_paired_are_refused(result: SweepResult) -> None:
    fewer = sweep(store(references=10), sites=["vision.0"], n_boot=50, progress=False)
    with pytest.raises(InputError, match="over different stimuli, so they cannot be paired"):
        compare_runs(result, fewer)
    levels = sweep(store(), "level", sites=["vision.0"], n_boot=50, progress=False)
    with pytest.raises(InputError, match="target 'distortion' and target 'level'.*cannot be paired"):
        compare_runs(result, levels)


def test_same_seed_same_table() -> None:
    tables = [sweep(store(), seed=s, sites=["pixels"], n_boot=50, progress=False).table for s in (5, 5, 6)]
    assert tables[0] == tables[1] != tables[2]


def test_the_result_is_frozen(result: SweepResult) -> None:
    with pytest.raises(FrozenInstanceError):
        result.dropped = 0  # type: ignore[misc]


def test_wrong_input_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="Unknown target 'colour'. or no stimulus has it. Expected one of distortion, level"):
        sweep(store(), "colour", progress=False)
    with pytest.raises(InputError, match="Unknown taxonomy 'paper9'"):
        sweep(store(), taxonomy="paper9", progress=False)
    with pytest.raises(InputError, match="5 folds by reference need at least 5 references, got 3"):
        sweep(store(references=3), progress=False)
    with pytest.raises(InputError, match="at least two classes among the stimuli, got none"):
        sweep(FakeStore([], {"pixels": np.zeros((0, 3))}), progress=False)
    clean = [row for row in rows() if row["type"] is None]
    with pytest.raises(InputError, match=r"at least two classes among the stimuli, got \['clean'\]"):
        sweep(FakeStore(clean, {"pixels": np.zeros((len(clean), 3))}), progress=False)


def test_activations_that_are_not_finite_are_refused_by_site_and_stimulus() -> None:
    given = store()
    given.values["vision.1"][10] = np.nan
    with pytest.raises(InputError, match=rf"At site 'vision.1': 1 of 160 .* NaN or infinity.*{given.ids[10]}"):
        sweep(given, sites=["vision.0", "vision.1"], n_boot=50, progress=False)


def test_a_baseline_over_other_stimuli_is_refused() -> None:
    given = store()
    part = Activations(given.ids[1:], given.values["vision.0"][1:])
    with pytest.raises(InputError, match="'baseline:part' lacks 1 of 160 stimuli .*Extract it on the same set"):
        sweep(given, sites=["vision.0"], baselines={"part": part}, progress=False)


def test_without_a_projector_the_way_has_two_steps() -> None:
    plain = {site: strength for site, strength in STRENGTH.items() if site != "projector"}
    steps = lost(sweep(store(plain), n_boot=50, progress=False), "vision.1")
    assert [(row["component"], row["from"]) for row in steps][1] == ("llm", "vision.1") and len(steps) == 2


def test_a_dead_end_is_marked_and_never_the_best(result: SweepResult) -> None:
    given = store()
    given.dead_ends = ("vision.0",)  # type: ignore[attr-defined]
    found = sweep(given, n_boot=50, progress=False)
    assert [row["site"] for row in found.table if row["dead_end"]] == ["vision.0"]
    assert found.best("vision") == "vision.1" and not any(row["dead_end"] for row in result.table)


def test_tokens_are_refused_with_the_poolings_that_give_one_row() -> None:
    tokens = store()

    def read(site: str) -> Activations:
        return Activations(tokens.ids, tokens.values[site], np.arange(len(tokens.ids) + 1))

    tokens.read = read  # type: ignore[method-assign]
    with pytest.raises(InputError, match="several rows .*Extract with pool='mean'"):
        sweep(tokens, progress=False)


def test_inputs_stand_in_for_the_sites_of_their_name(result: SweepResult) -> None:
    given = store()
    strong = Activations(given.ids[::-1], given.values["vision.0"][::-1])
    found = sweep(given, inputs={"pixels": strong, "processed": strong}, n_boot=50, progress=False)
    assert [row["site"] for row in found.table] == ["processed", *given.sites]
    assert found.row("pixels")["score"] == found.row("processed")["score"] == pytest.approx(result.row("vision.0")["score"])
    assert found.row("pixels")["component"] == "input" and found.row("vision.1")["score"] == result.row("vision.1")["score"]
    chosen = sweep(given, sites=["vision.0"], inputs={"pixels": strong}, n_boot=50, progress=False)
    assert [row["site"] for row in chosen.table] == ["vision.0"]
    part = Activations(given.ids[1:], given.values["vision.0"][1:])
    with pytest.raises(InputError, match="'pixels' lacks 1 of 160 stimuli"):
        sweep(given, sites=["pixels"], inputs={"pixels": part}, progress=False)


def test_repeats_share_out_the_folds_anew_and_average() -> None:
    one, three = (sweep(store(), sites=["vision.0"], repeats=repeats, n_boot=100, progress=False) for repeats in (1, 3))
    assert set(np.unique(three.hits("vision.0") * 3).round(6)) <= {0, 1, 2, 3}
    assert not np.array_equal(one.hits("vision.0"), three.hits("vision.0"))
    assert three.row("vision.0")["score"] == pytest.approx(np.mean(three.hits("vision.0")), abs=1e-9)
    assert three.predictions["vision.0"].predicted.tolist() == one.predictions["vision.0"].predicted.tolist()


def test_the_reference_is_read_from_types_that_the_probe_has_not_seen() -> None:
    found = sweep(store(references=6), "reference", sites=["llm.0"], folds=3, n_boot=100, progress=False)
    assert found.row("llm.0")["score"] > 0.5
    assert found.row("llm.0")["chance"] == pytest.approx(1 / 6)


def test_another_estimator_can_be_the_probe() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    found = sweep(store(), sites=["vision.0"], estimator=KNeighborsClassifier(3), n_boot=100, progress=False)
    assert found.row("vision.0")["score"] > 0.5
    assert np.isnan(found.row("vision.0")["penalty"])
    assert found.row("vision.0")["control"] < 0.4


def test_numbers_are_another_sweeps() -> None:
    numbers = {id: at for at, id in enumerate(store().ids)}
    with pytest.raises(
        InputError, match=r"The target 'grain' has 180 different numbers; expected classes\. Use sn\.severity_sweep"
    ):
        sweep(store(), "grain", labels=numbers, progress=False)


def test_own_labels_by_id() -> None:
    own = {id: "late" if "jpeg" in id or "noise" in id else "early" for id in store().ids}
    found = sweep(store(), "half", labels=own, sites=["vision.0"], n_boot=100, progress=False)
    assert found.row("vision.0")["score"] > 0.8 and found.dropped == 0


def test_sites_are_compared_in_pairs_and_with_the_best(result: SweepResult) -> None:
    rows = {row["site"]: row for row in result.differences()}
    assert rows["projector"]["change"] < -0.3 and rows["projector"]["p_holm"] < 0.05
    among = {row["site"] for row in result.best_sites() if row["among_best"]}
    assert among <= {"vision.0", "vision.1"} and among
