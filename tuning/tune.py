"""Tune exactly one component of a model on distortion answers, keeping what it says of the content."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from hooks.checksum import weights_checksum
from hooks.load import Mllm
from hooks.stages import COMPONENTS
from hooks.words import word_embeddings
from stimuli.errors import InputError
from stimuli.tables import Table
from stimuli.types import Stimulus
from tuning.audit import Audit, moves
from tuning.lessons import REPLAY_IMAGES, Lesson, Lessons, fingerprint, own_words, prepare, refuse_held_out
from tuning.objective import CONSTRAINTS, Objective
from tuning.tuned import Tuned, finished, renamed, save

Method = Literal["full", "lora"]
RATES = {"full": {"vision": 4e-4, "projector": 2e-3, "llm": 1e-3}, "lora": dict.fromkeys(COMPONENTS, 2e-3)}
"""Peak learning rates that suit the embedded models (a few million parameters)."""
LARGE_RATES = {"full": 1e-5, "lora": 2e-4}
"""Peak learning rates above 100 million parameters, where LLaVA-style recipes lie."""
WARMUP = 0.1
CLIP = 1.0


def tune(
    mllm: Mllm,
    train: Sequence[Stimulus],
    component: str,
    *,
    method: Method = "full",
    steps: int = 200,
    batch_size: int = 32,
    lr: float | None = None,
    constraint: str | None = None,
    constraint_weight: float = 1.0,
    replay: float = 0.45,
    replay_images: int = REPLAY_IMAGES,
    replays: Callable[[], Sequence[Lesson]] | None = None,
    taxonomy: str | Path = "paper8",
    held_out: Collection[str] = (),
    lora_rank: int = 8,
    seed: int = 0,
    progress: bool = True,
    out: str | Path | None = None,
) -> Tuned:
    """Tune one component; the given model stays as it was.

    The objective is the likelihood of the right answer to the distortion question, class-balanced, plus the likelihood of
    the untouched model's own answers about content and quality (replay). A constraint shapes the visual tokens themselves:
    ``align`` draws the mean token towards the embedding of its distortion's word, ``keep`` holds everything else in the
    tokens where the untouched model has it. AdamW, warm-up, cosine, clipping; dropout off.

    Args:
        mllm: the model.
        train: labelled stimuli.
        component: ``vision``, ``projector`` or ``llm``; no other parameter moves.
        method: all weights of the component, or LoRA on its linear layers, merged at the end.
        steps: optimizer steps.
        batch_size: lessons per step.
        lr: peak learning rate; default by component and size (``RATES``, ``LARGE_RATES``).
        constraint: None, ``align``, ``keep`` or ``align+keep`` (vision and projector).
        constraint_weight: factor on the constraint's losses (``tuning.objective.WEIGHTS``).
        replay: share of replays in a batch, 0 to 1.
        replay_images: how many training images are replayed.
        replays: gives ``tuning.lessons.own_words`` where several runs share them; called only if this run is not finished.
        taxonomy: name or file.
        held_out: references that must not occur in ``train``.
        lora_rank: rank of the adapters.
        seed: of batches and adapters; the same seed gives the same weights on CPU.
        progress: show a progress bar.
        out: folder for the tuned weights; a finished run of the same model, training set and settings is loaded
            from there instead.

    Returns:
        The tuned copy with its audit.

    Raises:
        InputError: unknown component, method or constraint; unusable training set; a loss that is not a number; a folder
            that holds another run.
    """
    config = {
        "component": component,
        "method": method,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr or _rate(mllm, component, method),
        "constraint": constraint,
        "constraint_weight": constraint_weight if constraint else None,
        "replay": replay,
        "replay_images": replay_images,
        "lora_rank": lora_rank if method == "lora" else None,
        "seed": seed,
        "train": len(train),
    }
    check(component, method, constraint)
    refuse_held_out(train, held_out)
    config |= {"model": weights_checksum(mllm.model), "train_sha256": fingerprint(train, taxonomy)}
    done = finished(mllm, component, config, out)
    if done is not None:
        return done
    own_answers = replays or partial(own_words, mllm, train, replay_images, seed, progress)
    lessons = prepare(train, taxonomy, own_answers() if replay > 0 else ())
    torch.manual_seed(seed)
    model = copy.deepcopy(mllm.model).eval().requires_grad_(False)
    own = mllm.stages.parameters(model, component)
    if not own:
        raise InputError(
            f"{type(model).__name__} has no {component} to tune: its language model reads the vision tower itself. Expected 'vision' or "
            "'llm'. Use one of these."
        )
    before = {name: value.detach().clone() for name, value in own.items()}
    outside = weights_checksum(model, own)
    student, trainable = _trainable(mllm, model, component, method, lora_rank)
    words = word_embeddings(mllm, lessons.wordings)
    objective = Objective(mllm, student, words, replay, constraint, constraint_weight)
    history = _run(objective, trainable, lessons, config, progress)
    if method == "lora":
        model = student.merge_and_unload()
    model.eval().requires_grad_(False)
    after = mllm.stages.parameters(model, component)
    audit = Audit(
        component,
        tuple(before),
        sum(p.numel() for p in trainable),
        sum(p.numel() for p in model.parameters()),
        moves(before, after),
        outside,
        weights_checksum(model, after),
    )
    tuned = Tuned(renamed(mllm, model, config), audit, history, config)
    if out is not None:
        save(tuned, after, Path(out))
    return tuned


def check(component: str, method: str, constraint: str | None) -> None:
    """Refuse an unknown component, method or constraint, before anything is computed.

    Raises:
        InputError: one of them is unknown, or they do not go together.
    """
    for what, value, known in (
        ("component", component, COMPONENTS),
        ("method", method, ("full", "lora")),
        ("constraint", constraint, (None, *CONSTRAINTS)),
    ):
        if value not in known:
            names = ", ".join(str(name) for name in known)
            raise InputError(f"Unknown {what} '{value}'. Expected one of {names}. Use one of these.")
    if constraint and component == "llm":
        raise InputError(
            f"constraint='{constraint}' shapes visual tokens, which tuning the llm does not change. Expected component 'vision' or "
            "'projector'; leave the constraint out."
        )


def _rate(mllm: Mllm, component: str, method: str) -> float:
    large = sum(p.numel() for p in mllm.model.parameters()) > 1e8
    return LARGE_RATES.get(method, 0.0) if large else RATES.get(method, {}).get(component, 0.0)


def _trainable(mllm: Mllm, model: Any, component: str, method: str, rank: int) -> tuple[Any, list[nn.Parameter]]:
    """The module to run and the parameters to optimise."""
    own = mllm.stages.parameters(model, component)
    if method == "full":
        for parameter in own.values():
            parameter.requires_grad_(True)
        return model, list(own.values())
    from peft import LoraConfig, get_peft_model

    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    targets = sorted(name for name in linear if f"{name}.weight" in own and name != "lm_head")
    student = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))
    return student, [p for p in student.parameters() if p.requires_grad]


def _run(
    objective: Objective, trainable: list[nn.Parameter], lessons: Lessons, config: dict[str, Any], progress: bool
) -> Table:
    optimizer = torch.optim.AdamW(trainable, lr=config["lr"], weight_decay=0.01, betas=(0.9, 0.98))
    steps, history = config["steps"], []
    name = config["component"] + ("+constraint" if config["constraint"] else "")
    bar = tqdm(range(steps), desc=f"tune {name}", disable=not progress)
    for step in bar:
        rate = config["lr"] * _schedule(step, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = lessons.batch(config["batch_size"], config["replay"], np.random.default_rng([config["seed"], step]))
        loss, parts = objective(batch)
        if not torch.isfinite(loss):
            raise InputError(
                f"The loss is {loss.item()} at step {step} of {steps} while tuning '{name}'. "
                f"Lower lr (it is {config['lr']:g}) or load the model in float32."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trainable, CLIP)
        optimizer.step()
        row = {"step": step, "loss": loss.item(), **{k: v.item() for k, v in parts.items()}, "rate": rate}
        history.append(row)
        bar.set_postfix({"answer": f"{row['answer']:.2f}", "replay": f"{row['replay']:.2f}"})
    return history


def _schedule(step: int, steps: int) -> float:
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.49 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
