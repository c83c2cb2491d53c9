"""Sites that hold the same are one test; p of what could not be permuted is none."""

from typing import Any

import numpy as np
import pytest

from analysis.distance_table import adjust, table_of, twins
from probes.intervals import holm

LABELS, GROUPS = np.tile(["a", "b"], 6), np.repeat(np.arange(6), 2)


def values(seed: int) -> dict[str, np.ndarray]:
    own = np.random.default_rng(seed).normal(size=12)
    return {"margin": own, "zero_shot": (own > 0).astype(float)}


def test_a_site_that_holds_what_another_holds_is_found_and_hits_alone_tell_nothing() -> None:
    first = {"projector": values(0), "llm.embed": values(0), "llm.0": values(1)}
    assert twins(first) == {"llm.embed": "projector"}
    assert twins(first, {**first, "llm.embed": values(2)}) == {}, "after tuning they differ"
    hits = {site: {"zero_shot": np.ones(12)} for site in first}
    assert twins(hits) == {}
    more = {"projector": {**values(0), "token_cosine": np.ones(12)}, "llm.embed": values(0)}
    assert twins(more) == {"llm.embed": "projector"}
    assert twins({**first, "llm.1": values(0)}) == {"llm.embed": "projector", "llm.1": "projector"}


def test_holm_counts_what_is_held_twice_once() -> None:
    rows: list[dict[str, Any]] = [
        {"site": site, "class": "all", "p": p} for site, p in (("projector", 0.01), ("llm.embed", 0.01), ("llm.0", 0.03), ("llm.1", None))
    ]  # fmt: skip
    adjust(rows, "p", "p_holm", {"llm.embed": "projector"})
    assert [row.get("p_holm") for row in rows] == [pytest.approx(0.02), pytest.approx(0.02), pytest.approx(0.03), None]
    adjust(rows, "p", "p_holm", {})
    assert [row.get("p_holm") for row in rows[:3]] == pytest.approx(holm([0.01, 0.01, 0.03]))


def test_the_table_adjusts_over_sites_that_differ() -> None:
    own = {"projector": values(0), "llm.embed": values(0), "llm.0": values(1), "llm.1": values(2)}
    ps: dict[str, dict[str, float]] = {
        "projector": {"margin_p": 0.01}, "llm.embed": {"margin_p": 0.01}, "llm.0": {"margin_p": 0.2},
        "llm.1": {"margin_p": float("nan")},
    }  # fmt: skip
    rows = table_of(own, ps, {site: {} for site in own}, LABELS, GROUPS, ("a", "b"), {}, 20, 0)
    found = {row["site"]: row for row in rows if row["class"] == "all"}
    assert [found[site].get("margin_p_holm") for site in own] == [0.02, 0.02, 0.2, None]
    assert found["llm.1"]["margin_p"] is None
