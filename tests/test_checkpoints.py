"""A checkpoint puts everything back, is written whole, and belongs to one run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hooks.load import Mllm
from stimuli.errors import InputError
from tuning import checkpoints
from tuning.checkpoints import FILE, State
from tuning.processes import Processes

CONFIG: dict[str, Any] = {"lr": 0.1, "constraint": None, "micro_batch": 4}


def trained(steps: int, seed: int = 0) -> tuple[dict[str, torch.Tensor], Any]:
    """Two parameters and their optimizer after some steps."""
    torch.manual_seed(seed)
    parameters: dict[str, torch.Tensor] = {name: torch.randn(3, 2, requires_grad=True) for name in ("a.weight", "b.a.weight")}
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=0.1)
    for _ in range(steps):
        step(parameters, optimizer)
    return parameters, optimizer


def step(parameters: dict[str, torch.Tensor], optimizer: Any) -> None:
    optimizer.zero_grad()
    sum((value * torch.randn(3, 2)).sum() for value in parameters.values()).backward()  # type: ignore[union-attr]
    optimizer.step()


def test_a_run_goes_on_as_if_it_had_not_stopped(llava: Mllm, tmp_path: Path) -> None:
    parameters, optimizer = trained(3)
    state = State(3, 1.5, [{"step": 2, "loss": 0.1}], [{"step": 3, "loss": 0.2}], {"a.weight": torch.ones(3, 2)})
    checkpoints.save(
        tmp_path, state, parameters, optimizer, {"lr": 0.1, "constraint": None, "micro_batch": 4}, Processes(llava)
    )
    step(parameters, optimizer)  # takes random numbers
    others, fresh = trained(0, seed=9)
    found = checkpoints.resume(tmp_path, others, fresh, {"lr": 0.1, "constraint": None, "micro_batch": 2})
    assert (found.step, found.elapsed, found.history, found.validation) == (3, 1.5, state.history, state.validation)
    assert torch.equal(found.best["a.weight"], torch.ones(3, 2))
    step(others, fresh)
    assert all(torch.equal(others[name], parameters[name]) for name in parameters)


def test_nothing_half_written_and_nothing_of_another_run_is_gone_on_with(llava: Mllm, tmp_path: Path) -> None:
    parameters, optimizer = trained(1)
    assert checkpoints.resume(tmp_path, parameters, optimizer, {}).step == 0
    assert checkpoints.resume(None, parameters, optimizer, {}).step == 0
    checkpoints.save(tmp_path, State(1), parameters, optimizer, CONFIG, Processes(llava))
    with pytest.raises(InputError, match=r"holds another tuning run, half done \(lr: 0.1 → 0.2\)"):
        checkpoints.resume(tmp_path, parameters, optimizer, {**CONFIG, "lr": 0.2})
    with pytest.raises(InputError, match="micro_batch: 4 → 2"):
        coupled = {**CONFIG, "constraint": {"order": 0.3}}
        checkpoints.save(tmp_path, State(1), parameters, optimizer, coupled, Processes(llava))
        checkpoints.resume(tmp_path, parameters, optimizer, {**coupled, "micro_batch": 2})
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:40])
    assert checkpoints.resume(tmp_path, parameters, optimizer, CONFIG).step == 0
    assert not list(tmp_path.glob("*.tmp"))
