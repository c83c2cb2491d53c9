"""A word planted where the mask is, is found there and nowhere else."""

from typing import Any

import numpy as np
import pytest
import torch

from analysis import patch_map as module
from analysis.lens_words import words
from analysis.patch_map import patch_map
from hooks.checksum import weights_checksum
from hooks.edit import edit
from hooks.load import Mllm
from hooks.places import cells
from stimuli.errors import InputError
from stimuli.regions import cell_shares
from stimuli.types import Stimulus, StimulusSet

GRID = 4
PLACES = ((0, 0), (0, 64), (64, 64), (64, 0))
"""Corner of each reference's distorted quarter."""


@pytest.fixture(scope="module")
def quarters() -> StimulusSet:
    """Four references: a clean image, and two whose quarter is distorted."""
    rng, found = np.random.default_rng(0), []
    for i, (top, left) in enumerate(PLACES):
        image, mask = rng.integers(0, 255, (128, 128, 3), np.uint8), np.zeros((128, 128), np.uint8)
        mask[top : top + 64, left : left + 64] = 255
        area = np.repeat(mask[..., None], 3, 2)
        found.append(Stimulus(f"clean{i}", f"r{i}", None, None, pixels=image))
        found += [Stimulus(f"{t}{i}", f"r{i}", t, 5, area=area, pixels=image) for t in ("gaussian_blur", "jpeg")]
    return StimulusSet(found, "quarters")


def planted(mllm: Mllm, stimuli: StimulusSet, labels: dict[str | None, int], where: str = "projector") -> Any:
    """An edit that makes the image tokens of a mask say a word, whatever they said."""
    said, table = words(mllm, "paper8"), mllm.model.get_output_embeddings().weight.detach()
    looks = cells(mllm, (128, 128), [where], GRID, "What?")[where]

    def change(own: torch.Tensor) -> torch.Tensor:
        if len(own) != len(stimuli):
            return own  # the passes that find places and the head
        new = own.clone()
        for i, stimulus in enumerate(stimuli):
            if stimulus.mask is not None:
                inside = looks @ torch.from_numpy(cell_shares(stimulus.mask, GRID, GRID).reshape(-1)).float() > 0.5
                word = table[said.tokens[labels[stimulus.type]]]
                new[i, inside] = own[i, inside] + 30 * own.norm(dim=-1).mean() * word / word.norm()
        return new

    return edit(mllm, {where: change})


def quick(mllm: Mllm, stimuli: Any, sites: Any, **how: Any) -> Any:
    return patch_map(mllm, stimuli, sites, **{"grid": GRID, "n_boot": 100, "batch_size": 12, "progress": False} | how)


def test_the_planted_word_is_found_in_the_mask(llava: Mllm, quarters: StimulusSet) -> None:
    right: dict[str | None, int] = {"gaussian_blur": 0, "jpeg": 3}
    before = weights_checksum(llava.model)
    with planted(llava, quarters, right):
        found = quick(llava, quarters, ["projector", "llm.embed"])
    assert weights_checksum(llava.model) == before
    assert found.labels == ("blur", "compression") * 4 and found.against == "clean"
    for site in ("projector", "llm.embed"):
        row = found.row(site)
        assert (row["auc"], row["paired"], row["pointing"]) == (1, 1, 1) and row["chance"] == 0.5
        assert row["control"] == pytest.approx((1 - 1 / 3) / 2) and row["beyond"] > 0.5  # exchanged quarters never meet
        assert (row["n"], row["references"]) == (8, 4) and row["pointing_chance"] == pytest.approx(0.25)
        assert found.maps[site].shape == (8, GRID, GRID) and found.maps[site].dtype == np.float32
        inside = found.shares > 0.5
        assert found.maps[site][inside].min() > 2 > found.maps[site][~inside].max()
    assert {row["class"] for row in found.table} == {"all", "blur", "compression"} and "p_holm" in row


def test_without_a_plant_nothing_is_found(llava: Mllm, quarters: StimulusSet) -> None:
    found = quick(llava, quarters, "llm.0")
    row = found.row("llm.0")
    assert 0.2 < row["auc"] < 0.8 and row["paired"] == 0.5  # the same pixels as the clean image, so a draw everywhere
    assert list(found.maps) == ["llm.0"]


def test_another_word_is_asked_for(llava: Mllm, quarters: StimulusSet) -> None:
    with planted(llava, quarters, {"gaussian_blur": 0, "jpeg": 0}):
        own, other = quick(llava, quarters, "projector", label="blur"), quick(llava, quarters, "projector", label="noise")
    assert own.labels == ("blur",) * 8 and own.row("projector")["auc"] == 1
    assert own.row("projector", "compression")["auc"] == 1  # rows are by the true class, maps of the word asked for
    assert other.maps["projector"].max() < own.maps["projector"].max()


def test_without_a_clean_word_it_is_held_against_the_others(llava: Mllm) -> None:
    said = words(llava, "paper8")
    values = np.random.default_rng(0).normal(size=(2, 3, 8))
    against = module._Contrast(said, None)(values, np.array([0, 3]))
    assert np.allclose(against[0], values[0, :, 0] - values[0, :, 1:].mean(1))
    clean = module._Contrast(said, 7)(values, np.array([0, 7]))
    assert np.allclose(clean[0], values[0, :, 0] - values[0, :, 7])
    assert np.allclose(clean[1], values[1, :, 7] - values[1, :, :7].mean(1))


def test_what_has_no_map_is_refused(llava: Mllm, six: StimulusSet, quarters: StimulusSet) -> None:
    with pytest.raises(InputError, match=r"of 6 stimuli 0 have distorted and clean cells.*region='any'"):
        quick(llava, six, "projector")
    with pytest.raises(InputError, match="class 'fog'"):
        quick(llava, quarters, "projector", label="fog")
    with pytest.raises(InputError, match="cannot read the site 'vision.1'"):
        quick(llava, quarters, "vision.1")
