"""Semantic distance of a model: its table, pairing, tokens, and the vision encoder's sites."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import distance_measures
from analysis.distance_measures import measure
from analysis.distances import Distances, Labelled
from analysis.semantic_distance import _few, compare, semantic_distance
from analysis.token_transport import TOKEN_MEASURES, Tokens
from analysis.word_vectors import word_vectors
from hooks.extract import extract
from hooks.load import Mllm
from hooks.store import Store
from probes.intervals import holm
from stimuli.errors import InputError
from stimuli.sets import exam_set
from stimuli.taxonomy import taxonomy
from stimuli.types import Stimulus, StimulusSet

SITES = ["projector", "llm.embed", "llm.0"]


@pytest.fixture(scope="module")
def shown() -> StimulusSet:
    return exam_set(6, levels=(3,), seed=1, size=64, measure=False, in_memory=True).select(
        lambda s: s.type in (None, "jpeg", "jitter")
    )


@pytest.fixture(scope="module")
def stored(llava: Mllm, shown: StimulusSet, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return extract(llava, shown, [*SITES, "vision.0"], out=tmp_path_factory.mktemp("stored"), progress=False)


@pytest.fixture(scope="module")
def found(llava: Mllm, shown: StimulusSet, stored: Store) -> Distances:
    return semantic_distance(llava, shown, store=stored, tokens=Tokens(cap=7), vision=True, n_boot=50, progress=False)


def test_a_model_is_measured_and_compared_with_itself(llava: Mllm, six: StimulusSet) -> None:
    found = semantic_distance(llava, six, progress=False)
    assert {row["site"] for row in found.table} == {"projector", "llm.embed", *(f"llm.{i}" for i in range(4))}
    row = found.row("projector")
    assert row["n"] == 6 and row["cosine_low"] <= row["cosine"] <= row["cosine_high"]
    change = compare(found, found)
    assert all(r["change"] == 0 and r["p_holm"] == 1 for r in change) and found.compare(found) == change
    backwards = StimulusSet([*six][3::-1], "fewer")
    fewer = semantic_distance(llava, backwards, progress=False)
    paired = [r for r in compare(found, fewer) if r["measure"] == "cosine"]
    assert paired and all(abs(r["change"]) < 1e-5 for r in paired)  # by stimulus, whatever the order
    with pytest.raises(InputError, match="over different stimuli"):
        compare(semantic_distance(llava, six[4:], progress=False), fewer)


def test_the_table_holds_the_means_of_what_is_measured_with_chance_and_permuted_words(
    llava: Mllm, shown: StimulusSet, stored: Store, found: Distances
) -> None:
    paper8 = taxonomy("paper8")
    words = word_vectors(llava, [paper8.wordings[c] for c in paper8.classes], ["llm.0"])["llm.0"]
    targets = np.array([paper8.classes.index(label) for label in found.labels])
    values = measure(stored.read("llm.0").values, words, targets, groups=found.groups).values
    row, own = found.row("llm.0"), found.row("llm.0", "jitter")
    assert all(row[name] == pytest.approx(value.mean()) for name, value in values.items())
    assert own["centred"] == pytest.approx(values["centred"][found.labels == "jitter"].mean())
    assert row["chance"] == 1 / 8 and 0 < row["margin_p"] <= row["margin_p_holm"] <= 1 and "margin_p" not in own
    recalls = [values["zero_shot"][found.labels == label].mean() for label in np.unique(found.labels)]
    assert row["zero_shot_balanced"] == pytest.approx(np.mean(recalls))


def test_tokens_are_measured_at_the_projector_of_few_stimuli_of_many_references(found: Distances) -> None:
    own = found.per_stimulus["projector"]
    there = np.isfinite(own["transport"])
    assert there.sum() == found.row("projector")["tokens_n"] == 7
    assert len(np.unique(found.groups[there])) == 6 and set(np.unique(found.labels[there], return_counts=True)[1]) <= {2, 3}
    assert found.row("projector")["transport_high"] is None, "6 references are too few for an interval"
    assert any("of 7 stimuli of 6 references" in note and "(2 to 3 each)" in note for note in found.notes)
    assert set(TOKEN_MEASURES) <= set(own) and "transport" not in found.per_stimulus["llm.0"]
    assert np.nanmin(own["token_cosine"]) >= 0 and any("Token measures are of" in note for note in found.notes)


def labelled(n_refs: int, versions: int) -> Labelled:
    """Versions of every class of paper8, and one clean one, of each reference."""
    paper8 = taxonomy("paper8")
    own = [
        Stimulus(f"r{r}-{c}-{v}", f"r{r}", None, None, pixels=Path("none.png"))
        for r in range(n_refs)
        for c in range(len(paper8.classes))
        for v in range(versions if c else 1)
    ]
    targets = np.array([int(s.id.split("-")[1]) for s in own])
    labels = np.array(paper8.classes)[targets]
    return Labelled(paper8, own, np.arange(len(own)), labels, targets, np.array([s.reference for s in own]))


@pytest.mark.parametrize(("n_refs", "cap", "in_all", "per_class"), [(40, 64, 40, 8), (12, 64, 12, 8), (100, 80, 80, 10)])
def test_token_stimuli_are_spread_over_references_and_classes(n_refs: int, cap: int, in_all: int, per_class: int) -> None:
    shown = labelled(n_refs, 3)
    rows = _few(shown, cap, 0)
    assert len(set(rows)) == cap and len(set(shown.groups[rows])) == in_all
    for target in range(8):
        assert len(set(shown.groups[rows][shown.targets[rows] == target])) == per_class == (shown.targets[rows] == target).sum()


def test_the_choice_of_token_stimuli_is_the_seeds_whatever_their_order_and_all_where_the_cap_allows() -> None:
    shown = labelled(10, 3)
    order = np.random.default_rng(1).permutation(len(shown.ids))
    turned = Labelled(
        shown.taxonomy, [shown.stimuli[i] for i in order], order, shown.labels[order], shown.targets[order], shown.groups[order]
    )
    first, same, other = (_few(s, 100, seed) for s, seed in ((shown, 0), (turned, 0), (shown, 1)))
    assert {shown.ids[i] for i in first} == {turned.ids[i] for i in same} and set(first) != set(other)
    assert np.bincount(shown.targets[first]).tolist() == [10, 13, 13, 13, 13, 13, 13, 12], "one class has no more to give"
    assert _few(shown, 1000, 0).tolist() == list(range(len(shown.ids)))


def test_transport_that_does_not_converge_is_told_and_left_out(llava: Mllm, shown: StimulusSet, stored: Store) -> None:
    how = Tokens(iterations=1, sites=("projector", "llm.0"))
    found = semantic_distance(llava, shown, store=stored, measures=("margin",), tokens=how, n_boot=20, progress=False)
    assert found.row("projector")["transport"] is None and found.row("projector")["token_cosine"] is not None
    assert found.row("projector")["tokens_n"] == len(found.ids)
    said = "At llm.0, transport did not converge for 15 stimuli (iterations: 1), and is left out there."
    assert any(said in note for note in found.notes)


def test_whitening_that_would_take_too_long_is_told(
    llava: Mllm, shown: StimulusSet, stored: Store, found: Distances, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found.row("llm.0")["whitened_margin_low"] is not None and not any("too long" in note for note in found.notes)
    monkeypatch.setattr(distance_measures, "WHITENING", 10)
    how: Any = {"store": stored, "n_boot": 20, "progress": False}
    slow = semantic_distance(llava, shown, measures=("whitened", "margin"), **how)
    assert slow.row("llm.0")["whitened_high"] is None and slow.row("llm.0")["margin_high"] is not None
    said = (
        "At projector, llm.embed, llm.0, whitening 15 stimuli anew .* so that there is no interval of whitened. Measure fewer"
    )
    assert any(re.search(said, note) for note in slow.notes)
    assert not any("too long" in note for note in semantic_distance(llava, shown, measures=("margin",), **how).notes)


def test_how_vision_and_tokens_were_measured_is_kept_and_has_to_be_the_same(
    llava: Mllm, shown: StimulusSet, stored: Store, found: Distances
) -> None:
    assert (found.target, found.tokens) == ("projector", Tokens(cap=7))
    how: Any = {"store": stored, "measures": ("margin",), "n_boot": 20, "progress": False}
    plain, words = (semantic_distance(llava, shown, vision=vision, **how) for vision in (False, "words"))
    assert (plain.target, plain.tokens, words.target) == ("", None, "words")
    with pytest.raises(InputError, match="onto the projector and onto the words"):
        found.compare(words)
    assert {row["site"] for row in found.compare(plain, 20)} == set(SITES)


def test_the_projector_and_what_enters_the_language_model_are_one_test(found: Distances) -> None:
    first, second = (found.row(site) for site in ("projector", "llm.embed"))
    assert first["margin"] == second["margin"] and first["margin_p_holm"] == second["margin_p_holm"]
    tested = [found.row(site)["margin_p"] for site in ("projector", "llm.0", "vision.0")]
    assert [found.row(site)["margin_p_holm"] for site in ("projector", "llm.0", "vision.0")] == pytest.approx(holm(tested))


def test_vision_sites_are_mapped_and_say_so(found: Distances) -> None:
    row = found.row("vision.0")
    assert (
        row["space"] == "ridge map" and found.row("projector")["space"] == "direct" and found.space("vision.0") == "ridge map"
    )
    assert any("without labels" in note for note in found.notes)
    projector = found.per_stimulus["projector"]["cosine"]
    assert np.corrcoef(found.per_stimulus["vision.0"]["cosine"], projector)[0, 1] > 0.5  # the projector's output, predicted


def test_a_map_onto_the_words_says_that_it_is_a_probe(llava: Mllm, shown: StimulusSet, stored: Store) -> None:
    how: Any = {"store": stored, "measures": ("centred", "margin"), "n_boot": 20, "progress": False}
    found = semantic_distance(llava, shown, vision="words", **how)
    assert "margin_p" not in found.row("vision.0"), "the map has seen which word is whose: no other assignment can compete"
    assert "margin_p" in found.row("projector")
    assert "margin_p" in semantic_distance(llava, shown, vision="projector", **how).row("vision.0")
    assert any("only show what is linearly decodable" in note for note in found.notes)
    assert "zero_shot" not in found.row("vision.0") and "centred_high" in found.row("vision.0")


@pytest.mark.parametrize("kind", ["contextual", "unembedding"])
def test_other_words_give_other_distances(llava: Mllm, shown: StimulusSet, stored: Store, found: Distances, kind: str) -> None:
    other = semantic_distance(
        llava, shown, store=stored, word=kind, measures=("centred", "zero_shot"), n_boot=20, progress=False
    )
    assert other.words == kind and other.row("llm.0")["centred"] != pytest.approx(found.row("llm.0")["centred"])
    with pytest.raises(InputError, match="Measure both with the same words="):
        found.compare(other)


def test_refusals(llava: Mllm, shown: StimulusSet, stored: Store, tmp_path: Path) -> None:
    wrong = {
        "expected one of projector, words": {"vision": "llm"},
        "expected some of cosine": {"measures": ("cos",)},
        "Expected one of input, contextual": {"word": "output"},
        "Expected sites among projector, llm.embed": {"tokens": Tokens(sites=("vision.0",))},
    }
    for said, options in wrong.items():
        with pytest.raises(InputError, match=said):
            semantic_distance(llava, shown, store=stored, progress=False, **options)  # type: ignore[arg-type]
    unlabelled = [replace(s, type="quantization") for s in shown]
    with pytest.raises(InputError, match="None of the 15 stimuli has a class in 'paper8'"):
        semantic_distance(llava, unlabelled, store=stored, progress=False)
    visual = extract(llava, shown[:2], ["vision.0"], out=tmp_path, progress=False)
    with pytest.raises(InputError, match="No site of .* has activations as wide as its words"):
        semantic_distance(llava, shown, store=visual, progress=False)
