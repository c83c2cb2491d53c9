"""The training loop of the patients: resumes exactly, splits parameters between its optimizers, warms up and decays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from snellen.embedded import training


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(6, 6)])
        self.head = nn.Linear(6, 1)


def trained(folder: Path, dies_at: int | None = None, steps: int = 6) -> Small:
    module, calls = Small(), 0

    def loss(rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        nonlocal calls
        calls += 1
        if calls == dies_at:
            raise KeyboardInterrupt
        x = torch.as_tensor(rng.normal(size=(8, 6)), dtype=torch.float32)
        off = (module.head(torch.relu(module.layers[0](x)))[:, 0] - x.sum(1)).square().mean()
        return off, {"off": off}

    training.fit(module, loss, steps, folder, seed=3, rate=1e-2)
    return module


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 2)
    whole = trained(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", dies_at=4)
    assert training.steps_done(tmp_path / "b") == 2 and training.steps_done(tmp_path / "none") == 0
    resumed = trained(tmp_path / "b")
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_matrices_of_blocks_are_muons_and_the_rest_adamws(tmp_path: Path) -> None:
    module = Small()
    module.head.weight.requires_grad_(False)
    muon, adamw = training._optimizers(module, 1e-3, 0.02)
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(module.layers[0].weight)]
    assert {id(p) for p in adamw.param_groups[0]["params"]} == {id(module.layers[0].bias), id(module.head.bias)}


def test_it_learns(tmp_path: Path) -> None:
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))

    @torch.no_grad()
    def off(module: Small) -> float:
        return float((module.head(torch.relu(module.layers[0](x)))[:, 0] - x.sum(1)).square().mean())

    assert off(trained(tmp_path, steps=500)) < 0.5 * off(Small())


def test_the_schedule_warms_up_and_decays() -> None:
    values = np.array([training.schedule(step, 1000) for step in range(1000)])
    assert values.argmax() in (99, 100) and values[0] == 0.01 and values[-1] < 0.03
    assert training.schedule(0, 10) == 1
