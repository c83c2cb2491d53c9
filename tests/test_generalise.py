"""Transfer at every site: what was planted to carry over does, what was not does not, and what cannot be tested is told."""

from typing import Any

import numpy as np
import pytest

from probes.generalise import transfer_sweep
from probes.transfer import transfer
from stimuli.errors import InputError
from tests.test_sweep import FakeStore

CLASS = {None: 0, "gaussian_blur": 1, "lens_blur": 1, "white_noise": 2, "impulse_noise": 2}
QUICK: dict[str, Any] = {"folds": 4, "penalties": (10.0,), "n_boot": 200, "progress": False}


def store(references: int = 16, sources: int = 2) -> FakeStore:
    """``shared`` shows the class at any level, ``own`` a direction of each type, ``weak`` turns where the level is high."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(references):
        for type in CLASS:
            for level in (1, 3, 5) if type else (None,):
                about = {"id": f"r{number}-{type}-{level}", "reference": f"r{number}", "type": type, "level": level}
                loss = None if level is None else 1 - level / 10
                measured = {"psnr": None if level is None else 50 - 5 * level, "ssim": loss if level else 1.0}
                rows.append({**about, "is_identity": False, "source": f"s{number % sources}", **measured})
    kinds = list(CLASS)
    directions, own, turned = (4 * rng.normal(size=(5, 20)) for _ in range(3))
    label = np.array([CLASS[row["type"]] for row in rows])
    kind = np.array([kinds.index(row["type"]) for row in rows])
    strong = np.array([row["level"] == 5 for row in rows])
    noise = rng.normal(size=(3, len(rows), 20))
    sites = {
        "vision.0": directions[label] + noise[0],
        "vision.1": own[kind] + noise[1],
        "projector": np.where(strong[:, None], turned[label], directions[label]) + noise[2],
    }
    return FakeStore(rows, {site: values.astype(np.float32) for site, values in sites.items()})


def test_types_carry_over_where_they_show_their_class_and_not_where_they_show_themselves() -> None:
    found = transfer_sweep(store(), "type", sites=["vision.0", "vision.1"], **QUICK)
    assert found.kinds == ("gaussian_blur", "impulse_noise", "lens_blur", "white_noise") and found.dropped == 0
    for kind in found.kinds:
        carried, lost = found.row("vision.0", kind), found.row("vision.1", kind)
        assert carried["score"] > 0.9 and carried["inside"] > 0.9 and carried["component"] == "vision"
        assert lost["inside"] > 0.9 and lost["score"] < 0.6 and lost["change_high"] < 0
        assert carried["chance"] == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="4 rows of site 'vision.0' and kind None; expected one. The kinds are gaussian_blur"):
        found.row("vision.0")


def test_a_site_has_the_rows_that_transfer_gives_for_its_values_with_p_over_sites() -> None:
    given = store()
    found = transfer_sweep(given, "source", sites=["vision.0", "projector"], **QUICK)
    label = np.array([["clean", "blur", "noise"][CLASS[row["type"]]] for row in given.rows.values()])
    group, source = (np.array([row[key] for row in given.rows.values()]) for key in ("reference", "source"))
    for site in ("vision.0", "projector"):
        for row in transfer(given.values[site], label, group, source, folds=4, penalties=(10.0,), n_boot=200):
            own = found.row(site, row["held_out"])
            assert all(own[key] == pytest.approx(row[key]) for key in ("score", "inside", "change", "p", "n"))
    for kind in found.kinds:
        rows = [row for row in found.table if row["held_out"] == kind]
        assert all(row["p"] <= row["p_holm"] <= min(1, 2 * max(r["p"] for r in rows)) for row in rows)


@pytest.mark.parametrize("by", ["level", "severity"])
def test_a_site_that_turns_at_high_severity_drops_and_another_does_not(by: str) -> None:
    found = transfer_sweep(store(), by, sites=["vision.0", "projector"], **QUICK)
    steady, turned = found.row("vision.0"), found.row("projector")
    assert steady["held_out"] == "high from low" and steady["score"] > 0.9
    assert turned["inside"] > 0.8 and turned["score"] < 0.5 and turned["p_holm"] < 0.05
    assert transfer_sweep(store(), by, sites=["vision.0"], reverse=True, **QUICK).kinds == ("low from high",)


def test_levels_of_signed_types_have_no_order_and_are_left_out() -> None:
    given = store()
    for row in given.rows.values():
        if row["type"] == "impulse_noise":
            row["type"] = "mean_shift"
    found = transfer_sweep(given, "level", sites=["vision.0"], **QUICK)
    assert found.dropped == 16 * 3
    assert transfer_sweep(given, "severity", sites=["vision.0"], **QUICK).dropped == 0


def test_baselines_stand_beside() -> None:
    from hooks.activations import Activations

    given = store()
    noise = Activations(given.ids, np.random.default_rng(1).normal(size=(len(given.ids), 5)).astype(np.float32))
    found = transfer_sweep(given, "level", sites=["vision.0"], baselines={"noise": noise}, **QUICK)
    assert [row["site"] for row in found.table] == ["vision.0", "baseline:noise"] and found.row("baseline:noise")["score"] < 0.7


@pytest.mark.parametrize(
    ("by", "target", "words"),
    [
        ("brand", "distortion", "Unknown target 'brand'"),
        ("type", "type", "Nothing can be tested"),
        ("id", "distortion", "'id' has 208 different values; expected at most 100 kinds"),
    ],
)
def test_bad_input_is_refused_by_its_words(by: str, target: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        transfer_sweep(store(), by, target, **QUICK)


def test_one_severity_cannot_be_shifted() -> None:
    given = store()
    for row in given.rows.values():
        row["level"] = 3 if row["type"] else None
    with pytest.raises(InputError, match="needs stimuli of two or more severities, got 1"):
        transfer_sweep(given, "level", **QUICK)


def test_a_number_is_no_target() -> None:
    given = store()
    for number, row in enumerate(given.rows.values()):
        row["psnr"] = 20 + number / 10
    with pytest.raises(InputError, match="target 'psnr' is of numbers; this comparison is made for classes"):
        transfer_sweep(given, "type", "psnr", **QUICK)
