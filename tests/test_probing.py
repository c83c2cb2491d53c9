"""What ``snellen probe`` does with a store: kinds of targets, steps that are kept, and what it refuses."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes.severity import severity_sweep
from probes.sweep import sweep
from snellen.probing import Probing, Wanted, probe
from stimuli.errors import InputError
from tests import test_sweep
from tests.test_sweep import FakeStore

SITES = {"vision.0": 2.0, "projector": 0.5, "llm.0": 0.0}


def store(references: int = 10, strength: dict[str, float] | None = None) -> Any:
    """A store in memory with what a folder has beside: a recipe, and columns of the user's own."""
    made: Any = test_sweep.store(strength or SITES, references)
    made.config = {"model": {"name": "fake"}, "sites": list(SITES)}
    for number, row in enumerate(made.rows.values()):
        row["mos"] = float(number % 9) + 0.01 * number
        row["attributes"] = {"lot": str(number % 12), "shape": "square" if int(row["reference"][1:]) % 2 else "disc"}
    return made


def probing(made: FakeStore | None = None, **options: Any) -> Probing:
    made = store() if made is None else made
    return Probing(made, folds=3, progress=False, **options)  # type: ignore[arg-type]


def test_classes_are_swept_and_numbers_are_predicted() -> None:
    own = store()
    tables, notes = probe(probing(own), Wanted())
    assert tables["probe"] == sweep(own, folds=3, progress=False).table
    assert notes["probe"]["dropped"] == 10 and notes["probe"]["best"] == "vision.0"
    tables, _ = probe(probing(own, target="mos"), Wanted())
    assert tables["probe"] == severity_sweep(own, "mos", folds=3, progress=False).table
    assert {row["type"] for row in tables["within_types"]} >= {"gaussian_blur", "jpeg"}


def test_levels_are_classes_unless_numbers_are_asked_for() -> None:
    assert "majority" in probe(probing(target="level"), Wanted())[0]["probe"][0]
    assert "within_type" in probe(probing(target="level", kind="numbers"), Wanted())[0]["probe"][0]


def test_a_column_of_numbers_can_be_taken_for_classes() -> None:
    assert "within_type" in probe(probing(target="lot"), Wanted())[0]["probe"][0]
    tables, _ = probe(probing(target="lot", kind="classes"), Wanted())
    assert tables["probe"][0]["chance"] == pytest.approx(1 / 12)


def test_labels_of_the_users_own_are_joined_by_id(tmp_path: Path) -> None:
    own, file = store(), tmp_path / "mine.csv"
    with open(file, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "artist"])
        writer.writerows((id, "ann" if row["type"] == "jpeg" else "ben") for id, row in own.rows.items())
    tables, _ = probe(probing(own, target="artist", labels=file), Wanted())
    assert tables["probe"][0]["chance"] == 0.5 and tables["probe"][0]["score"] > 0.8
    with pytest.raises(InputError, match="mine.csv has the columns id, artist; expected 'id' and 'mood'"):
        probe(probing(own, target="mood", labels=file), Wanted())
    with pytest.raises(InputError, match="none.csv cannot be read"):
        probe(probing(own, target="mood", labels=tmp_path / "none.csv"), Wanted())


def test_a_finished_step_is_kept_another_is_added_and_other_settings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = store()
    first, _ = probe(probing(own), Wanted(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"probe.csv", "probe.json"}
    monkeypatch.setattr("snellen.probing.sweep", lambda *_, **__: pytest.fail("the main table was there"))
    again, notes = probe(probing(own), Wanted(transfer=("level",)), tmp_path)
    assert list(notes) == ["probe", "transfer_level"]
    assert [row["score"] for row in again["probe"]] == [row["score"] for row in first["probe"]]
    kept = json.loads((tmp_path / "probe.json").read_text())
    assert list(kept["tables"]) == ["probe", "transfer_level"] and kept["provenance"]["model"] == {"name": "fake"}
    assert kept["settings"]["folds"] == 3 and (tmp_path / "transfer_level.csv").exists()
    with pytest.raises(InputError, match=r"other settings \(target: distortion there, type now; labels: .*--out .*type"):
        probe(probing(own, target="type"), Wanted(), tmp_path)
    with pytest.raises(InputError, match="activations: "):
        probe(probing(store(11)), Wanted(), tmp_path)


def test_a_step_that_fails_loses_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Unknown target 'brand'"):
        probe(probing(), Wanted(transfer=("brand",)), tmp_path)
    assert (tmp_path / "probe.csv").exists()


@pytest.mark.slow
def test_every_analysis_has_its_tables() -> None:
    tables, notes = probe(
        probing(store(6), sites=("vision.0", "llm.0")),
        Wanted(True, True, ("cell",), True, True, True, ("level",)),
    )
    expected = {"probe", "differences", "best_sites", "online_code", "usable_information", "pvi", "control_task_cell", "equal_dimension",
                "sample_size", "sample_size_gain", "types", "type_levels", "transfer_level"}  # fmt: skip
    assert set(tables) == expected and all(tables.values())
    assert all(
        {row["site"] for row in rows} == {"vision.0", "llm.0"}
        for name, rows in tables.items()
        if name not in ("pvi", "differences")
    )
    assert notes["information"]["pvi"] == "vision.0" and notes["equal_dimension"]["d"] == 12
    assert [row["among_best"] for row in tables["best_sites"]] == [True, False]


def test_differences_of_numbers_are_those_of_the_result() -> None:
    own = store()
    rng = np.random.default_rng(1)
    truth = np.array([row["mos"] for row in own.rows.values()])
    own.values["vision.0"] = (truth[:, None] * rng.normal(size=12) + rng.normal(size=(len(truth), 12))).astype(np.float32)
    tables, _ = probe(probing(own, target="mos"), Wanted(differences=True))
    row = next(row for row in tables["differences"] if row["site"] == "llm.0")
    result = severity_sweep(own, "mos", folds=3, progress=False)
    assert row["against"] == "vision.0" and row["component"] == "llm"
    change = result.compare("vision.0", "llm.0")
    assert [row[key] for key in ("change", "low", "high", "p")] == [change.value, change.low, change.high, change.p]
    assert row["p"] <= row["p_holm"] < 0.05


@pytest.mark.parametrize(
    ("options", "wanted", "words"),
    [
        ({"target": "mos"}, Wanted(information=True), "'mos' is a number, and --information compare classes"),
        ({"target": "mos"}, Wanted(transfer=("type",), sample_size=True), "--sample-size, --transfer compare"),
        ({"target": "mos", "repeats": 2}, Wanted(), "Got --repeats 2 for a number; expected 1"),
        ({"target": "beauty"}, Wanted(), "Unknown target 'beauty'.*level, .*lot, .*mos.*shape"),
        ({"kind": "numbers"}, Wanted(), "'distortion' has the value 'clean'; expected numbers"),
        (
            {"sites": ("vision.0", "vision.9")},
            Wanted(),
            "no site vision.9 in these activations; expected some of vision.0, projector",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_computed(
    options: dict[str, Any], wanted: Wanted, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        probe(probing(**options), wanted)


def test_a_file_in_the_place_of_the_folder_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="taken is a file; expected a folder, or a name that ends in .csv or .json"):
        probe(probing(), Wanted(), tmp_path / "taken")
    (tmp_path / "probe.json").write_text("[]")
    with pytest.raises(InputError, match="probe.json is not what `snellen probe` wrote"):
        probe(probing(), Wanted(), tmp_path)


def test_too_few_references_are_refused() -> None:
    with pytest.raises(InputError, match="5 folds by reference need at least 5 references, got 2"):
        probe(Probing(store(2), progress=False), Wanted())


def test_each_step_is_told_when_it_is_done_also_if_a_later_one_fails() -> None:
    told: list[str] = []
    with pytest.raises(InputError, match="Unknown target 'brand'"):
        probe(probing(), Wanted(transfer=("level", "brand")), told=lambda tables, _: told.extend(tables))
    assert told == ["probe", "transfer_level"]
