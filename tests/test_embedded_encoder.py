"""Encoder training: the outline follows its image, and ``see_through`` moves only the late blocks."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from snellen.embedded import architecture, data, encoder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> data.Corpus:
    return data.corpus(tmp_path_factory.mktemp("corpus"), 4, 1)


def tower() -> torch.nn.Module:
    return architecture.model(0).model.vision_tower


def test_augmentation_moves_pixels_and_outline_together(corpus: data.Corpus) -> None:
    rows = np.zeros(16, int)  # one clean scene, once in each of the eight ways, twice
    images, outlines = encoder.augmented(corpus, rows, np.random.default_rng(1))
    assert images.shape == (16, 3, 128, 128) and outlines.shape == (16, 32, 32)
    assert len({image.numpy().tobytes() for image in images}) == 8, "eight ways of turning and flipping"
    inside = outlines.repeat_interleave(4, 1).repeat_interleave(4, 2) > 0.99
    means = torch.stack([image[:, own].mean(1) for image, own in zip(images, inside, strict=True)])
    assert torch.allclose(means, means[:1].expand_as(means), atol=1e-4), "the object's colour is found under every outline"


def test_each_token_gets_its_own_part_of_the_outline() -> None:
    outline = torch.zeros(1, data.OUTLINE, data.OUTLINE)
    outline[0, 4 * 2 + 1, 4 * 5 + 3] = 1  # token row 2, column 5; within it row 1, column 3
    tokens = encoder.per_token(outline)
    assert tokens.shape == (1, 64, 16) and tokens[0, 2 * 8 + 5, 1 * 4 + 3] == 1 and tokens.sum() == 1


def test_the_readouts_weigh_what_applies(corpus: data.Corpus) -> None:
    torch.manual_seed(0)
    readouts, hidden = encoder.Readouts(), tuple(torch.randn(3, 65, 192) for _ in range(7))
    labels = {name: torch.as_tensor(value[[0, 1, 2]]) for name, value in corpus.labels.items()}
    total, parts = readouts(hidden, labels, torch.zeros(3, 64, 16))
    photographs = {**labels, **{name: torch.full((3,), -1) for name in ("colour", "shape", "ground")}}
    less, without = readouts(hidden, photographs, torch.zeros(3, 64, 16))
    assert set(parts) == {"class", "shape"} and set(without) == {"class"} and less < total


@pytest.mark.heavy
def test_see_through_moves_only_the_late_blocks_and_lowers_the_distance_to_clean(corpus: data.Corpus, tmp_path: Path) -> None:
    before = tower()
    after = encoder.see_through(copy.deepcopy(before), corpus, 30, 12, 3, tmp_path, "cpu", 0)
    moved = {name for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True) if not torch.equal(a, b)}
    assert moved and all(name.split("encoder.layers.")[1][0] in "345" for name in moved)
    assert all(parameter.requires_grad for parameter in after.parameters())

    def distance(model: torch.nn.Module) -> float:
        with torch.no_grad():
            tokens = model(architecture.pixel_values(np.array(corpus.images))).last_hidden_state
        return float((tokens - tokens[corpus.labels["clean"]]).square().mean() / tokens.var())

    assert distance(after) < distance(before)
