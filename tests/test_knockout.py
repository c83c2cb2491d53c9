"""An edge that the answer needs costs it, one that it does not costs nothing, and the table says which and where."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from analysis.choice import choice, images_of
from analysis.knockout import EDGES, Knockout, cut_pairs, elsewhere, knockout
from hooks.attention import attentions
from hooks.knockout import knock_out, token_parts
from hooks.load import Mllm
from probes.intervals import holm
from stimuli.errors import InputError
from stimuli.sets import exam_set
from stimuli.types import StimulusSet

QUIET: dict[str, Any] = {"progress": False, "n_boot": 100}


@pytest.fixture(scope="module")
def found(llava: Mllm, six: StimulusSet) -> Knockout:
    return knockout(llava, six, batch_size=4, **QUIET)


def test_rows_are_edges_in_windows_and_in_all_layers(found: Knockout) -> None:
    assert [(row["edge"], row["centre"], row["first"], row["last"]) for row in found.table] == [
        (edge, centre, *((0, 3) if centre is None else (centre, centre))) for edge in EDGES for centre in (0, 1, 2, 3, None)
    ]
    assert found.window == 1 and found.p.shape == (15, 6) and found.ids == tuple(f"s{i}" for i in range(6))
    for row, p in zip(found.table, found.p, strict=True):
        assert (row["n"], row["references"]) == (6, 3) and row["p_after"] == pytest.approx(p.mean())
        assert row["change"] == pytest.approx(row["p_after"] - row["p_before"]) and row["low"] <= row["change"] <= row["high"]
        assert row["relative"] == pytest.approx(100 * row["change"] / row["p_before"])
        assert row["beyond"] == pytest.approx(row["change"] - row["control_change"])
        assert row["p_holm"] >= row["p"] and row["beyond_p_holm"] >= row["beyond_p"]
    assert np.ptp([row["p_before"] for row in found.table]) == 0


def test_p_is_corrected_over_the_windows_of_an_edge_and_over_edges_apart(found: Knockout) -> None:
    families = [[found.row(edge, centre) for centre in range(4)] for edge in EDGES] + [[found.row(edge) for edge in EDGES]]
    for rows in families:
        for name in ("p", "beyond_p"):
            assert [row[f"{name}_holm"] for row in rows] == holm([row[name] for row in rows])


def test_the_numbers_are_those_of_a_knock_out_by_hand(found: Knockout, llava: Mllm, six: StimulusSet) -> None:
    asked, labels = choice(), ["clean", "compression"] * 3
    prepared = asked.prepared(llava, images_of(list(six)))
    parts, places = token_parts(llava, prepared.batches[0]), [asked.place(label) for label in labels]

    def right() -> np.ndarray:
        return asked.probabilities(llava, prepared)[np.arange(6), places]

    plain = right()
    with knock_out(llava, parts, ["image->question"], [2]):
        cut = right()
    row = found.row("image->question", 2)
    assert np.allclose(found.p[found.table.index(row)], cut, atol=1e-6) and row["p_before"] == pytest.approx(
        plain.mean(), abs=1e-6
    )
    with knock_out(llava, parts, ["question->last"]):
        hits = asked.probabilities(llava, prepared).argmax(1) == places
    assert found.row("question->last")["accuracy_after"] == pytest.approx(hits.mean())
    questions = parts.masks["question"].sum(1).double().mean()
    assert found.row("question->last")["entries"] == pytest.approx(float(questions))


def of_one_layer(llava: Mllm, layer: int) -> Mllm:
    """A copy in which only one layer moves anything between positions."""
    mllm = llava.with_model(copy.deepcopy(llava.model))
    for number, module in attentions(mllm).items():
        if number != layer:
            torch.nn.init.zeros_(module.o_proj.weight)
    return mllm


def test_where_information_passes_is_found(llava: Mllm, six: StimulusSet) -> None:
    """By layer 2 alone: then the image reaches the answer at once or not at all, and other windows cost exactly nothing."""
    got = knockout(of_one_layer(llava, 2), six, edges=["image->last", "image->question", "question->last"], **QUIET)
    for edge in ("image->last", "question->last"):
        assert abs(got.row(edge, 2)["change"]) > 1e-6 and got.row(edge, 2)["change"] == pytest.approx(
            got.row(edge)["change"], abs=1e-7
        )
        for other in (0, 1, 3):
            assert got.row(edge, other)["change"] == pytest.approx(0, abs=1e-7)
    assert got.row("image->question")["change"] == pytest.approx(0, abs=1e-7), "no layer is left to carry it on"
    assert got.row("image->last")["control_change"] == pytest.approx(0, abs=1e-7), "what is cut elsewhere arrives nowhere"


def test_windows_are_odd_centred_and_cut_short_at_the_ends(llava: Mllm, six: StimulusSet) -> None:
    got = knockout(llava, six, edges=["image -> text"], window=3, control=False, **QUIET)
    spans = [(row["centre"], row["first"], row["last"]) for row in got.table]
    assert spans == [(0, 0, 1), (1, 0, 2), (2, 1, 3), (3, 2, 3), (None, 0, 3)]
    assert "beyond" not in got.table[0] and got.table[0]["edge"] == "image->text"
    last = got.p[-1].reshape(3, 2)
    assert np.ptp(last, axis=0).max() < 1e-6 < np.ptp(got.p[0].reshape(3, 2), axis=0).max(), "no image gets through"


def test_the_control_is_as_large_and_elsewhere(llava: Mllm, qwen: Mllm, six: StimulusSet) -> None:
    for mllm in (llava, qwen):
        batch = mllm.inputs(images_of(list(six)[:2]), ["What is wrong?", "What is wrong here, and how bad is it in the end?"])
        parts = token_parts(mllm, batch)
        for edge in ("image->last", "question->last"):
            own, other = cut_pairs(parts, edge), elsewhere(parts, edge, [1, 2])
            assert torch.equal(own.sum((1, 2)), other.sum((1, 2)))
            assert [sorted(row[row > 0].tolist()) for row in own.sum(2)] == [
                sorted(row[row > 0].tolist()) for row in other.sum(2)
            ]
            assert not bool((own.any(2) & other.any(2)).any()) and not bool((other.any(2) & parts.masks["last"]).any())
            assert not bool(torch.triu(other).any()) and not bool(
                other[:, :, ~(parts.masks["image"] | parts.masks["text"])[0]][0].any()
            )
            assert torch.equal(other, elsewhere(parts, edge, [1, 2])) and not torch.equal(other, elsewhere(parts, edge, [3, 4]))
        short = elsewhere(parts, "image->text", [1, 2])
        assert 0 < int(short.sum()) < int(cut_pairs(parts, "image->text").sum()), "less than wanted is what there is"


def test_a_region_is_an_edge_of_local_distortions(llava: Mllm, six: StimulusSet) -> None:
    boxes = exam_set(references=2, levels=(5,), seed=0, region="box").select(lambda s: s.mask is not None)
    row = knockout(llava, boxes, edges=["region->last"], control=False, grid=4, **QUIET).row("region->last")
    share = np.mean([s.mask.mean() for s in boxes if s.mask is not None])
    tokens = llava.inputs([boxes[0].image], ["?"]).layout.image_tokens[0]
    assert row["entries"] == pytest.approx(tokens * share, rel=0.25)
    with pytest.raises(InputError, match="'region->last' cuts nothing for the stimulus 's0'.*local distortion"):
        knockout(llava, six, edges=["region->last"], **QUIET)


def test_what_cannot_be_run_is_refused(llava: Mllm, six: StimulusSet) -> None:
    for window in (0, 2, 5):
        with pytest.raises(InputError, match=f"window of {window} layers.*odd number from 1 to 4"):
            knockout(llava, six, window=window, **QUIET)
    with pytest.raises(InputError, match="no edge.*image->last"):
        knockout(llava, six, edges=[], **QUIET)
    with pytest.raises(InputError, match="at least 2 of them, got 1"):
        knockout(llava, six[:2], **QUIET)
