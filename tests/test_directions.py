"""Planted steps are found, content does not come along, and controls are as long as what they stand beside and point elsewhere."""

import numpy as np
import pytest

from probes.directions import directions, given_directions, mean_differences, probe_steps
from probes.linear import LinearProbe
from stimuli.errors import InputError

WIDTH = 12
STEPS = {"blur": np.eye(WIDTH)[0] * 3, "noise": np.eye(WIDTH)[1] * 2}


def planted(references: int = 30, noise: float = 0.3, uneven: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Content along axes 4 and on, a step along an axis of its own per class; the even references lack noise where ``uneven``."""
    rng = np.random.default_rng(0)
    rows, labels, groups = [], [], []
    for reference in range(references):
        content = np.concatenate([np.zeros(4), rng.normal(size=WIDTH - 4) * 2]) + 40.0 * (reference % 2) * np.eye(WIDTH)[5]
        for name, step in {"clean": np.zeros(WIDTH), **STEPS}.items():
            if uneven and name == "noise" and reference % 2 == 0:
                continue
            rows.append(content + step + noise * rng.normal(size=WIDTH))
            labels.append(name)
            groups.append(f"r{reference}")
    return np.array(rows), np.array(labels), np.array(groups)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_planted_steps_are_found_in_their_natural_unit() -> None:
    found = directions(*planted())
    assert found.classes == ("blur", "noise") and len(found.references) == 30
    for place, step in enumerate(STEPS.values()):
        means, probe = found.steps["means"][place], found.steps["probe"][place]
        assert np.linalg.norm(means - step) < 0.4
        assert cosine(probe, step) > 0.9
        unit = probe / np.linalg.norm(probe)
        assert np.allclose((means @ unit) * unit, probe), "dose 1 is the class-mean difference along the probe's direction"
        assert np.linalg.norm(probe) <= np.linalg.norm(means) + 1e-12


def test_differences_are_within_references_so_that_unpaired_content_stays_behind() -> None:
    x, labels, groups = planted(uneven=True)
    found = mean_differences(x, labels, groups, ["noise"])[0]
    assert np.linalg.norm(found - STEPS["noise"]) < 0.5
    plain = x[labels == "noise"].mean(0) - x[labels == "clean"].mean(0)
    assert abs(plain[5]) > 15 and abs(found[5]) < 0.5
    apart = np.where(labels == "clean", "c" + groups.astype(object), groups).astype(str)
    assert np.allclose(mean_differences(x, labels, apart, ["noise"])[0], plain), "no reference shows both"


def test_against_others_is_the_mean_of_the_other_classes() -> None:
    x, labels, groups = planted(noise=0)
    found = directions(x, labels, groups, against="others", kinds=["means"])
    assert found.classes == ("blur", "clean", "noise")
    assert np.allclose(found.steps["means"][1], -(STEPS["blur"] + STEPS["noise"]) / 2)
    assert np.allclose(found.steps["means"][0], STEPS["blur"] - STEPS["noise"] / 2)


def test_a_probe_step_is_a_projection_whatever_the_scale_and_sign_of_its_weights() -> None:
    coef = np.random.default_rng(1).normal(size=(WIDTH, 2))
    means = np.random.default_rng(2).normal(size=(1, WIDTH))
    one, other = (
        probe_steps(LinearProbe(scale * coef, np.zeros(2), ("blur", "clean"), 1.0), ["blur"], "clean", means)
        for scale in (1, -7)
    )
    assert np.allclose(one, other) and one[0] @ means[0] > 0
    with pytest.raises(InputError, match="does not know 'fog'; expected one of blur, clean"):
        probe_steps(LinearProbe(coef, np.zeros(2), ("blur", "clean"), 1.0), ["fog"], "clean", means)


def test_random_directions_are_drawn_as_the_features_vary() -> None:
    found = directions(*planted(), kinds=["means"])
    drawn = np.concatenate([found.unit("random", seed) for seed in range(300)])
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1)
    variances = found.values.var(0)
    share = (drawn**2).mean(0)
    assert share[5] > 0.6 and variances.argmax() == 5, "most of the variance is there"
    assert np.corrcoef(np.argsort(np.argsort(share)), np.argsort(np.argsort(variances)))[0, 1] > 0.9
    assert np.abs(drawn.mean(0)).max() < 0.15, "either sign"
    assert not np.allclose(found.unit("random", 0), found.unit("random", 1))


def test_shuffled_labels_give_unit_directions_away_from_the_content_of_references() -> None:
    found = directions(*planted(), kinds=["means"])
    drawn = np.concatenate([found.unit("shuffled", seed) for seed in range(50)])
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1)
    random = np.concatenate([found.unit("random", seed) for seed in range(50)])
    inside, outside = ((rows[:, 4:] ** 2).sum(1).mean() for rows in (drawn, random))
    assert inside < 0.4 and outside > 0.9, "labels move within a reference, whose content they share"
    means = np.concatenate([np.mean([found.unit("shuffled", seed)[i] for seed in range(50)], 0)[None] for i in (0, 1)])
    assert np.linalg.norm(means, axis=1).max() < 0.4, "and point nowhere on average"


def test_given_steps_have_random_controls_drawn_evenly_alone() -> None:
    found = given_directions(STEPS, site="llm.1")
    assert found.controls == ("random",) and found.norms("given") == pytest.approx([3, 2]) and found.references == ()
    drawn = np.concatenate([found.unit("random", seed) for seed in range(400)])
    assert np.allclose((drawn**2).mean(0), 1 / WIDTH, atol=0.02)
    with pytest.raises(InputError, match="Got the control 'shuffled'; expected one of random"):
        found.unit("shuffled", 0)
    for wrong in ({}, {"blur": np.zeros(3)}, {"blur": np.ones(3), "noise": np.ones(4)}, {"blur": np.array([np.nan])}):
        with pytest.raises(InputError, match=r"expected at least one, all of one length \(d,\), finite and not zero"):
            given_directions(wrong)


def test_what_cannot_be_fitted_is_refused() -> None:
    x, labels, groups = planted(4)
    with pytest.raises(InputError, match="Got features of shape .12, 12., 11 labels"):
        directions(x, labels[1:], groups)
    with pytest.raises(InputError, match="Got 1 references to fit directions to"):
        directions(x, labels, np.full(12, "r"))
    with pytest.raises(InputError, match="no row of the class 'sharp', where steps begin"):
        directions(x, labels, groups, against="sharp")
    with pytest.raises(InputError, match="Got 'fog' to step to; expected some of blur, noise"):
        directions(x, labels, groups, classes=["fog"])
    with pytest.raises(InputError, match="Got 'clean' to step to"):
        directions(x, labels, groups, classes=["clean"])
    with pytest.raises(InputError, match="Got the kinds .'mean'.. Expected a list of some of means, probe"):
        directions(x, labels, groups, kinds=["mean"])
    x[3, 2] = np.nan
    with pytest.raises(InputError, match="hold NaN or infinity"):
        directions(x, labels, groups)
