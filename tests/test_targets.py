"""Labels are joined by id, numbers told from classes, and what is missing is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hooks.activations import Activations
from probes.targets import rows_of, target_of
from stimuli.errors import InputError


class Kept:
    """A store of metadata: 12 references, clean, blurred and noisy at levels 1 and 5."""

    def __init__(self, **columns: Any) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        for reference in range(12):
            for type, level in ((None, None), ("gaussian_blur", 1), ("gaussian_blur", 5), ("white_noise", 5)):
                id = f"{reference}-{type}-{level}"
                severity = {"psnr": 100.0 if type is None else 30.0 - (level or 0) - reference / 100, "ssim": None}
                known = {"reference": f"r{reference}", "type": type, "level": level, "is_identity": False, **severity}
                self.rows[id] = {
                    **known,
                    "attributes": {"colour": "red" if reference % 2 else "blue"},
                    "measured": {},
                    **columns,
                }

    @property
    def sites(self) -> tuple[str, ...]:
        return ()

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.rows)

    def read(self, site: str) -> Activations:
        raise AssertionError(site)

    def metadata(self, id: str) -> dict[str, Any]:
        return self.rows[id]


def test_classes_types_and_levels() -> None:
    assert sorted(set(target_of(Kept()).values)) == ["blur", "clean", "noise"]
    assert sorted(set(target_of(Kept(), "type").values)) == ["clean", "gaussian_blur", "white_noise"]
    assert sorted(set(target_of(Kept(), "level").values)) == ["clean", "level 1", "level 5"]
    assert target_of(Kept()).kind == "classes" and target_of(Kept()).dropped == 0


def test_measured_severity_is_a_number_and_clean_images_have_no_finite_psnr() -> None:
    found = target_of(Kept(), "severity")
    assert (found.name, found.kind, found.dropped) == ("severity", "numbers", 12)
    assert found.values.max() < 30
    assert set(found.strata) == set("01234")


def test_ssim_is_taken_where_every_stimulus_has_it() -> None:
    store = Kept()
    for at, row in enumerate(store.rows.values()):
        row["ssim"] = 1 - at / 100
    assert target_of(store, "severity").values.max() == 1 and target_of(store, "severity").dropped == 0


def test_the_reference_is_held_out_by_type() -> None:
    found = target_of(Kept(), "reference")
    assert len(set(found.values)) == 12
    assert set(found.held) == {"clean", "gaussian_blur", "white_noise"}
    assert list(target_of(Kept()).held) == list(target_of(Kept()).groups)


def test_attributes_and_own_columns(tmp_path: Path) -> None:
    assert set(target_of(Kept(), "colour").values) == {"red", "blue"}
    ids = Kept().ids
    own = {id: at for at, id in enumerate(ids[:-3])}
    found = target_of(Kept(), "grain", labels=own)
    assert (found.kind, found.dropped, len(found.ids)) == ("numbers", 3, len(ids) - 3)
    assert target_of(Kept(), "grain", labels=own, kind="classes").kind == "classes"
    assert target_of(Kept(), "few", labels={id: at % 3 for at, id in enumerate(ids)}).kind == "classes"
    file = tmp_path / "own.csv"
    file.write_text("id,grain\n" + "\n".join(f"{id},{'' if at % 2 else 'abc'[at % 3]}" for at, id in enumerate(ids)))
    read = target_of(Kept(), "grain", labels=file)
    assert (read.kind, read.dropped) == ("classes", len(ids) // 2)


def test_what_cannot_be_used_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"Unknown target 'colours', or no stimulus has it\. Expected one of colour, distortion, level"
    ):
        target_of(Kept(), "colours")
    with pytest.raises(
        InputError, match=r"Unknown target 'mos', or no stimulus has it\. Expected one of colour, distortion, level, psnr"
    ):
        target_of(Kept(), "mos")
    with pytest.raises(InputError, match=r"The target 'mine' needs at least two classes among the stimuli, got \['x'\]"):
        target_of(Kept(), "mine", labels=dict.fromkeys(Kept().ids, "x"))
    with pytest.raises(InputError, match=r"The target 'colour' has the value 'blue'; expected numbers"):
        target_of(Kept(), "colour", kind="numbers")
    file = tmp_path / "own.csv"
    file.write_text("name,grain\na,1\n")
    with pytest.raises(InputError, match=r"own.csv has the columns name, grain; expected 'id' and 'grain'\. Name them so\."):
        target_of(Kept(), "grain", labels=file)
    with pytest.raises(
        InputError, match=r"The labels .*none.csv cannot be read .*Expected a CSV file with the columns 'id' and 'grain'"
    ):
        target_of(Kept(), "grain", labels=tmp_path / "none.csv")


def test_rows_are_joined_by_id_and_keep_their_precision() -> None:
    given = Activations(("a", "b", "c"), np.arange(6, dtype=np.float16).reshape(3, 2))
    found = rows_of(given, ("c", "a"), "vision.0")
    assert found.dtype == np.float32 and found.tolist() == [[4, 5], [0, 1]]
    assert rows_of(Activations(("a",), np.zeros((1, 2))), ("a",), "s").dtype == np.float64
