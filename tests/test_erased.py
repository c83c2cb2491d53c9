"""Erasing inside a model changes what it answers, everywhere, and no memory of the model as it was stands in for that."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.erased import Erased, erased, erasing
from analysis.perception import ask
from hooks.edit import edit
from hooks.extract import extract
from hooks.load import Mllm
from hooks.reuse import images_once
from probes.eraser import Eraser, projection
from probes.erasure import erase
from probes.linear import PENALTIES, fit_predict
from probes.splits import grouped_folds
from stimuli.errors import InputError
from stimuli.types import StimulusSet

QUIET = {"progress": False, "n_boot": 50}


def everything(mllm: Mllm, site: str, name: str = "all") -> Eraser:
    """Leaves the same vector at every token."""
    d = mllm.stages.widths[site] or 0
    return projection(name, np.zeros(d), np.eye(d), np.eye(d))


def all_but_one(mllm: Mllm, site: str) -> Eraser:
    """Leaves the first feature alone, and zeros."""
    d = mllm.stages.widths[site] or 0
    return projection("all-but-one", np.zeros(d), np.eye(d)[:, 1:].copy(), np.eye(d))


def nothing(mllm: Mllm, site: str) -> Eraser:
    d = mllm.stages.widths[site] or 0
    return projection("nothing", np.zeros(d), np.empty((d, 0)), np.eye(d))


def scores(mllm: Mllm, six: StimulusSet, out: Path | None = None) -> list[float]:
    found = ask(mllm, six, out=out, progress=False, n_boot=50)
    return [row[f"p_{name}"] for row in found.table for name in found.classes]


@pytest.fixture(scope="module")
def found(llava: Mllm, six: StimulusSet) -> Erased:
    erasers = {"projector": all_but_one(llava, "projector")}
    control = {"still": {"projector": nothing(llava, "projector")}}
    return erased(llava, six, erasers, controls=control, sites=("vision.3", "projector"), folds=3, **QUIET)  # type: ignore[arg-type]


def test_answers_and_captions_are_given_under_the_edit(found: Erased) -> None:
    none, own = found.row("none"), found.row("erased")
    assert own["kl"] > 1e-9 and none["kl"] == 0
    rows = [[row[f"p_{name}"] for name in one.classes for row in one.table] for one in found.answers.values()]
    assert rows[1] != rows[0]
    said = {name: [row["describe"] for row in one.table] for name, one in found.captions.items()}
    assert said["erased"] != said["none"] and own["agreement"] < 1


def test_a_control_that_does_nothing_changes_nothing(found: Erased) -> None:
    still, none = found.row("still"), found.row("none")
    assert (still["change"], still["changed"], still["agreement"], still["rank"]) == (0, 0, 1, 0)
    assert still["kl"] == pytest.approx(0, abs=1e-12)
    assert still["beyond"] == pytest.approx(found.row("erased")["balanced_accuracy"] - none["balanced_accuracy"])
    assert none["change"] is None and none["p_holm"] is None
    assert {row["change"] for row in found.probes if row["condition"] == "still"} == {0}


def test_probes_read_the_erased_features_and_those_before_are_as_they_were(
    found: Erased, llava: Mllm, six: StimulusSet
) -> None:
    rows = {row["site"]: row for row in found.probes if row["condition"] == "erased"}
    assert list(rows) == ["vision.3", "projector"] and rows["vision.3"]["change"] == 0
    values = np.array(extract(llava, six, ["projector"], progress=False).read("projector").values)
    values[:, 1:] = 0
    labels, groups = np.array(["clean", "compression"] * 3), np.array([s.reference for s in six])
    one = fit_predict(values, labels, groups, grouped_folds(labels, groups, 3), penalties=PENALTIES)
    assert rows["projector"]["after"] == pytest.approx(np.mean(one.predicted == labels))
    assert rows["projector"]["chance"] == 0.5


def test_what_probes_lose_is_held_against_the_control(found: Erased) -> None:
    rows = {(row["condition"], row["site"]): row for row in found.probes}
    for site in ("vision.3", "projector"):
        own, still = rows["erased", site], rows["still", site]
        assert own["beyond"] is None and own["beyond_p_holm"] is None
        same = [still[f"beyond{end}"] for end in ("", "_low", "_high", "_p")]
        assert same == pytest.approx([own[name] for name in ("change", "low", "high", "p")]), "a control that does nothing"
        assert still["beyond_p_holm"] >= still["beyond_p"]


def test_rows_say_what_was_erased(found: Erased, llava: Mllm) -> None:
    row, width = found.row("erased"), llava.stages.widths["projector"] or 0
    assert (row["sites"], row["rank"], row["n"], row["references"]) == ("projector", width - 1, 6, 3)
    assert row["variance_removed"] == pytest.approx((width - 1) / width)
    assert row["low"] <= row["balanced_accuracy"] <= row["high"]
    tested = [own for own in found.table if own["p"] is not None]
    assert [own["condition"] for own in tested] == ["erased", "still"]
    assert all(own["p_holm"] >= own["p"] for own in tested)


def test_a_folder_of_the_model_as_it_is_does_not_answer_for_the_erased_one(
    llava: Mllm, six: StimulusSet, tmp_path: Path
) -> None:
    erasers = {"projector": everything(llava, "projector")}
    before = scores(llava, six, tmp_path / "a")
    with erasing(llava, erasers) as model:
        after = scores(model, six)
        assert np.ptp(np.reshape(before, (6, -1)), axis=0).max() > 1e-6
        assert np.ptp(np.reshape(after, (6, -1)), axis=0).max() < 1e-6  # no image, the same answer
        with pytest.raises(InputError, match="holds the answers of another model .*tuned"):
            ask(model, six, out=tmp_path / "a", progress=False)
        assert scores(model, six, tmp_path / "b") == after
        extract(model, six, ["projector"], out=tmp_path / "c", progress=False)
    with pytest.raises(InputError, match="tuned"):
        extract(llava, six, ["projector"], out=tmp_path / "c", progress=False)
    assert scores(llava, six) == before
    with erasing(llava, {}) as same:
        assert same is llava


def test_features_remembered_from_before_are_not_used_inside_nor_those_of_inside_after(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What?"])

    def logits() -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = llava.model(**batch.tensors).logits
        return found

    before, change = logits(), {"vision.3": everything(llava, "vision.3")}
    with edit(llava, change):
        after = logits()
    assert not torch.equal(before, after)
    with images_once(llava.model) as reuse:
        assert torch.equal(logits(), before) and torch.equal(logits(), before)
        with edit(llava, change):
            assert torch.equal(logits(), after) and torch.equal(logits(), after)
        assert torch.equal(logits(), before)
    assert (reuse.computed, reuse.reused) == (3, 2)


def test_runs_are_gone_on_with_and_each_condition_has_a_folder(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    erasers = {"projector": everything(llava, "projector")}
    options = {"controls": {}, "sites": (), "captions": False, "out": tmp_path, **QUIET}
    first = erased(llava, six, erasers, **options)  # type: ignore[arg-type]
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert folders == ["none", f"projector-all-{erasers['projector'].checksum[:12]}"]
    lines = {path: path.read_text() for path in tmp_path.rglob("answers-*.jsonl")}
    again = erased(llava, six, erasers, **options)  # type: ignore[arg-type]
    assert again.table == first.table and again.probes == [] and not first.captions
    assert {path: path.read_text() for path in tmp_path.rglob("answers-*.jsonl")} == lines


def test_controls_come_along_and_references_that_were_fitted_to_are_refused(llava: Mllm, six: StimulusSet) -> None:
    values = np.random.default_rng(0).normal(size=(12, llava.stages.widths["projector"] or 0))
    own = erase(values, list("ab") * 6, control_seeds=1)
    found = erased(llava, six, {"projector": own}, sites=(), captions=False, **QUIET)  # type: ignore[arg-type]
    assert [row["condition"] for row in found.table] == ["none", "erased", "random-0", "matched-0", "principal"]
    assert {row["rank"] for row in found.table[1:]} == {1}
    with pytest.raises(InputError, match="'projector' was fitted to 2 of the 3 references shown .first: r0"):
        erased(llava, six, {"projector": replace(own, references=("r0", "r2", "x"))})
    with pytest.raises(InputError, match="Got no eraser; expected at least one"):
        erased(llava, six, {})
    with pytest.raises(InputError, match="Unknown site 'projektor'"):
        erased(llava, six, {"projektor": own})
