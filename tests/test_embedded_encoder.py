"""Encoder training: resumes exactly, and `see_through` moves only the late blocks."""

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


def trained(corpus: data.Corpus, folder: Path) -> torch.nn.Module:
    made, readouts = tower(), encoder.Readouts()
    encoder.train_encoder(made, readouts, corpus, 4, 6, folder, "cpu", 0)
    return made


def test_a_resumed_run_equals_an_uninterrupted_one(
    corpus: data.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "CHECKPOINT_EVERY", 2)
    whole = trained(corpus, tmp_path / "a")
    draw = encoder._batches

    def dies(*arguments: object) -> object:
        for step, rows, rng in draw(*arguments):  # type: ignore[arg-type]
            if step == 3:
                raise KeyboardInterrupt
            yield step, rows, rng

    monkeypatch.setattr(encoder, "_batches", dies)
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        trained(corpus, tmp_path / "b")
    monkeypatch.setattr(encoder, "_batches", draw)
    resumed = trained(corpus, tmp_path / "b")
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_see_through_moves_only_the_late_blocks_and_lowers_the_distance_to_clean(corpus: data.Corpus, tmp_path: Path) -> None:
    before = tower()
    after = encoder.see_through(copy.deepcopy(before), corpus, 12, 12, 3, tmp_path, "cpu", 0)
    moved = {name for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True) if not torch.equal(a, b)}
    assert moved and all(name.split("encoder.layers.")[1][0] in "345" for name in moved)


def test_the_schedule_warms_up_and_decays() -> None:
    values = np.array([encoder.schedule(step, 1000) for step in range(1000)])
    assert values.argmax() in (99, 100) and values[0] == 0.01 and values[-1] < 0.03
