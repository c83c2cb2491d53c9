"""The training loop: plain steps over passes and processes, early stopping, checkpoints that a stopped run goes on from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.tables import Table
from tuning import checkpoints
from tuning.checkpoints import State
from tuning.lessons import Lesson, Lessons
from tuning.objective import Objective, totals
from tuning.processes import Processes, put, whole
from tuning.schedule import Plan, passes

CLIP = 1.0
"""Norm that the gradient is clipped to."""
DECAY, BETAS = 0.01, (0.9, 0.98)
"""Of AdamW (Loshchilov and Hutter 2019)."""


class Diverged(InputError):
    """A loss or a gradient is not a number."""


@dataclass(frozen=True)
class Run:
    """Everything that a run is made of."""

    objective: Objective
    lessons: Lessons
    held_out: Sequence[Lesson]
    """Lessons of references that are not learnt from, for early stopping; may be empty."""
    parameters: Mapping[str, nn.Parameter]
    plan: Plan
    crew: Processes
    config: Mapping[str, Any]
    name: str
    out: Path | None
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Around every forward pass."""
    show: Callable[[Sequence[Lesson]], None] = lambda lessons: None
    """Told which lessons the next pass is about."""


def learn(run: Run, progress: bool = True) -> tuple[State, Mapping[str, nn.Parameter]]:
    """Train to the end of the plan, from the checkpoint if there is one.

    Args:
        run: everything.
        progress: show a progress bar.

    Returns:
        Where the run ended, and what was trained, the best weights put back if there was early stopping; parts of it if sharded.

    Raises:
        Diverged: a loss or a gradient that is not a number; the last checkpoint is from before.
        InputError: a checkpoint of another run.
    """
    optimizer: Any = torch.optim.AdamW(list(run.parameters.values()), lr=run.plan.lr, weight_decay=DECAY, betas=BETAS)
    student, optimizer = run.crew.prepare(run.objective.student, optimizer)
    run = replace(run, objective=replace(run.objective, student=student), parameters=_renewed(run, student))
    state = checkpoints.resume(run.out, run.parameters, optimizer, run.config)
    bar = tqdm(total=run.plan.steps, initial=state.step, desc=f"tune {run.name}", disable=not progress or not run.crew.first)
    stopped = _stalled(state.validation, run.plan.patience)
    while not stopped and run.plan.done(state.step, state.elapsed) < 1:
        start = time.perf_counter()
        row = _step(run, optimizer, state)
        state.elapsed = run.crew.as_first(state.elapsed + time.perf_counter() - start)
        state.history.append({**row, "seconds": state.elapsed})
        state.step += 1
        bar.update()
        bar.set_postfix({name: f"{row[name]:.2f}" for name in ("answer", "replay") if name in row})
        over = run.plan.done(state.step, state.elapsed) >= 1
        if run.held_out and (over or state.step % run.plan.evaluate_every == 0):
            stopped = _evaluate(run, state)
        if run.out is not None and not over and state.step % run.plan.checkpoint_every == 0:
            checkpoints.save(run.out, state, run.parameters, optimizer, run.config, run.crew)
    bar.close()
    for name, value in state.best.items():
        put(run.parameters[name], value)
    return state, run.parameters


def _renewed(run: Run, student: nn.Module) -> dict[str, nn.Parameter]:
    """The trained parameters by the same names; sharding puts new ones in their places."""
    if not run.crew.sharded:
        return dict(run.parameters)
    new = [(name, value) for name, value in student.named_parameters() if value.requires_grad]
    return {old: next(value for name, value in new if name.endswith(old)) for old in run.parameters}


def _step(run: Run, optimizer: Any, state: State) -> dict[str, Any]:
    """One step of the optimizer, over all passes and processes; its row of the history."""
    plan, crew, student = run.plan, run.crew, run.objective.student
    rate = plan.rate(state.step, state.elapsed)
    for group in optimizer.param_groups:
        group["lr"] = rate
    rng = np.random.default_rng([plan.seed, state.step])
    batch = run.lessons.batch(plan.batch_size, plan.replay, rng, quality=plan.quality, pairs=plan.pairs)
    counts = totals(batch, run.objective.weights)
    mine = crew.own(passes(batch, plan.micro_batch, crew.world, 2 if plan.pairs else 1))
    optimizer.zero_grad(set_to_none=True)
    found: dict[str, float] = {}
    for number, lessons in enumerate(mine):
        with crew.apart(student, last=number == len(mine) - 1):
            run.show(lessons)
            with run.precision():
                loss, parts = run.objective(lessons, counts)
            crew.accelerator.backward(loss * crew.world)  # gradients are averaged over processes, parts are shares of a sum
        for name, value in {"loss": loss, **parts}.items():
            found[name] = found.get(name, 0.0) + value.item()
    summed = dict(zip(found, crew.sums(torch.tensor(list(found.values()), dtype=torch.float64)).tolist(), strict=True))
    _refuse_divergence("loss", summed["loss"], run, state)
    norm = crew.accelerator.clip_grad_norm_(list(run.parameters.values()), CLIP)
    gradient = float(whole(norm)) if norm is not None else None
    if gradient is not None:
        _refuse_divergence("norm of the gradient", gradient, run, state)
    optimizer.step()
    return {"step": state.step, **summed, "rate": rate, "gradient": gradient}


def _refuse_divergence(what: str, value: float, run: Run, state: State) -> None:
    """Stop before a step that would spoil the weights."""
    if np.isfinite(value):
        return
    kept = f" The checkpoint of the last {run.plan.checkpoint_every} steps is kept in {run.out}." if run.out is not None else ""
    raise Diverged(
        f"The {what} is {value} at step {state.step} while tuning '{run.name}'. Lower lr (it is {run.plan.lr:g}) or load the model in "
        f"float32.{kept}"
    )


def _evaluate(run: Run, state: State) -> bool:
    """Loss of the answers on the held-out references; whether to stop."""
    loss = held_out_loss(run)
    best = min((row["loss"] for row in state.validation), default=float("inf"))
    state.validation.append({"step": state.step, "loss": loss})
    if run.plan.patience is None:
        return False
    if loss < best:
        state.best = {name: whole(value).clone() for name, value in run.parameters.items()}
    return _stalled(state.validation, run.plan.patience)


def held_out_loss(run: Run) -> float:
    """Mean loss of the answers, nats per token, over the held-out lessons."""
    objective = replace(run.objective, weights={"answer": 1.0})
    counts, found = totals(run.held_out, objective.weights), 0.0
    size = run.plan.micro_batch or run.plan.batch_size
    with torch.no_grad():
        for lessons in run.crew.own(passes(run.held_out, size, run.crew.world)):
            run.show(lessons)
            with run.precision():
                found += objective(lessons, counts)[0].item()
    return float(run.crew.sums(torch.tensor([found], dtype=torch.float64))[0])


def _stalled(validation: Table, patience: int | None) -> bool:
    """Whether the last ``patience`` evaluations brought nothing better than the best before them."""
    if patience is None or len(validation) <= patience:
        return False
    losses = [row["loss"] if np.isfinite(row["loss"]) else np.inf for row in validation]
    return int(np.argmin(losses)) < len(losses) - patience
