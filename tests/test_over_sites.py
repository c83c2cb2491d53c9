"""One measure at every site, in order, with what all tables share."""

from typing import Any

import numpy as np
import pytest

from hooks.activations import Activations
from probes.over_sites import best_site, component, over_sites
from probes.targets import Target
from stimuli.errors import InputError

IDS = ("a", "b", "c")
TARGET = Target("t", "classes", np.array(["x", "y", "x"]), np.array(["1", "2", "3"]), np.array(["1", "2", "3"]), IDS, 0)


class Sites:
    """Two sites of different width, one of them a dead end."""

    sites, ids, dead_ends = ("vision.0", "llm.1"), IDS, ("llm.1",)

    def read(self, site: str) -> Activations:
        return Activations(IDS, np.full((3, 2 if site == "vision.0" else 5), len(site), float))

    def metadata(self, id: str) -> dict[str, Any]:
        return {}


def means(site: str, values: np.ndarray) -> dict[str, Any]:
    return {"mean": float(values.mean())}


def test_sites_inputs_and_baselines_in_their_order() -> None:
    pixels, random = Activations(IDS, np.ones((3, 4))), Activations(IDS, np.zeros((3, 1)))
    rows = over_sites(Sites(), TARGET, means, inputs={"pixels": pixels}, baselines={"random": random}, progress=False)
    assert [(row["order"], row["site"], row["component"], row["dim"], row["mean"], row["dead_end"]) for row in rows] == [
        (0, "pixels", "input", 4, 1.0, False),
        (1, "vision.0", "vision", 2, 8.0, False),
        (2, "llm.1", "llm", 5, 5.0, True),
        (3, "baseline:random", "baseline", 1, 0.0, False),
    ]


def test_inputs_stand_in_for_sites_that_are_asked_for() -> None:
    given = {"vision.0": Activations(IDS, np.ones((3, 7))), "pixels": Activations(IDS, np.ones((3, 4)))}
    rows = over_sites(Sites(), TARGET, means, sites=["llm.1", "vision.0"], inputs=given, progress=False)
    assert [(row["site"], row["dim"]) for row in rows] == [("llm.1", 5), ("vision.0", 7)]


def test_a_refusal_names_the_site() -> None:
    def refuse(site: str, values: np.ndarray) -> dict[str, Any]:
        raise InputError("Too few. Show more.")

    with pytest.raises(InputError, match=r"At site 'vision\.0': Too few\. Show more\."):
        over_sites(Sites(), TARGET, refuse, progress=False)


def test_components() -> None:
    names = ("vision.embed", "projector", "projector.qformer", "llm.3", "pixels", "baseline:random-weights")
    assert [component(name) for name in names] == ["vision", "projector", "projector", "llm", "input", "baseline"]


def scored(**scores: float) -> list[dict[str, Any]]:
    return [
        {"site": site, "component": component(site), "score": score, "dead_end": site == "vision.9"}
        for site, score in scores.items()
    ]


def test_the_best_site_is_the_models_own_and_alive() -> None:
    rows = scored(**{"pixels": 0.9, "vision.0": 0.5, "vision.9": 0.8, "llm.0": 0.6, "baseline:random-weights": 1.0})
    assert best_site(rows) == "llm.0" and best_site(rows, "vision") == "vision.0" and best_site(rows, "input") == "pixels"
    assert best_site(rows, "projector") is None and best_site(scored(**{"vision.9": 0.8, "pixels": 0.9})) is None


def test_of_another_tools_features_the_best_is_any_but_a_baseline() -> None:
    rows = scored(**{"layer.3": 0.4, "layer.7": 0.7, "baseline:pixel-statistics": 1.0})
    assert best_site(rows) == "layer.7" and best_site(rows, "vision") is None and best_site(rows[2:]) is None
