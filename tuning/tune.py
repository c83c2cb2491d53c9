"""Tune one component of a model, or a part of it, on distortion answers, keeping what it says of the content."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from hooks.alone import one_at_a_time
from hooks.load import Mllm
from hooks.words import word_embeddings
from stimuli.tables import write_text
from stimuli.types import Stimulus
from tuning.adapters import trainable
from tuning.audit import audited, combined, digests, of_part
from tuning.constraints import NEEDS_PAIRS
from tuning.copies import own_adapted
from tuning.heldout import held_out_lessons, split_references
from tuning.lessons import REPLAY_IMAGES, Lesson, fingerprint, own_words, prepare, refuse_held_out
from tuning.loop import Run, learn
from tuning.objective import Objective, token_scale, weights_of
from tuning.parts import Part, find_part
from tuning.precision import around_passes, as_before, as_float32
from tuning.processes import Processes, whole
from tuning.recompute import recomputed
from tuning.saved import CARD, save_adapter
from tuning.schedule import Plan
from tuning.settings import VALIDATION, check, check_numbers, check_processes, default_rate, room
from tuning.tuned import ADAPTER, Tuned, copy_of, finished, kept_replays, quantized_as, renamed, save
from tuning.untouched import Untouched
from tuning.upstream import remembered

Method = Literal["full", "lora", "dora"]


REPEATS = 2
"""Times that an image must be shown on average for remembering to be worth it: new images are computed one by one."""


@one_at_a_time("a tuning run")
def tune(
    mllm: Mllm,
    train: Sequence[Stimulus],
    component: str,
    *,
    method: Method = "full",
    only: Literal["norm", "bias"] | None = None,
    steps: int | None = 200,
    seconds: float | None = None,
    batch_size: int = 32,
    micro_batch: int | None = None,
    lr: float | None = None,
    constraint: str | Mapping[str, float] | None = None,
    constraint_weight: float = 1.0,
    replay: float = 0.45,
    replay_images: int = REPLAY_IMAGES,
    replays: Callable[[], Sequence[Lesson]] | None = None,
    quality: float = 0.0,
    taxonomy: str | Path = "paper8",
    held_out: Collection[str] = (),
    validation: float | Sequence[Stimulus] = 0.0,
    patience: int | None = None,
    evaluate_every: int = 50,
    lora_rank: int = 8,
    precision: Literal["auto", "float32", "bf16"] = "auto",
    recompute: bool = False,
    remember: int | None = None,
    checkpoint_every: int = 100,
    seed: int = 0,
    progress: bool = True,
    out: str | Path | None = None,
) -> Tuned:
    """Tune one component; the given model stays as it was.

    The objective is the likelihood of the right answer to the distortion question, class-balanced, plus the likelihood of
    the untouched model's own answers about content and quality (replay), plus constraints on the visual tokens. AdamW,
    warm-up, cosine, clipping; dropout off. Batches are a function of seed and step alone, so that a run that was stopped goes on
    from its checkpoint as if it had not been, and several processes (torchrun) learn what one does.

    Args:
        mllm: the model.
        train: labelled stimuli.
        component: ``vision``, ``projector`` or ``llm``, a range of layers (``vision.18-23``), or a union joined by ``+``
            (``vision.4-5+projector``); no other parameter moves.
        method: all weights of the part, or low-rank adapters on its linear layers, merged at the end: LoRA (Hu et al. 2022) or
            DoRA (Liu et al. 2024).
        only: of the part, normalisation layers or biases alone.
        steps: optimizer steps; None with ``seconds``.
        seconds: wall time of the steps; the run ends at whichever of the two comes first, and the schedule goes by it.
        batch_size: lessons per step, over all passes and processes.
        micro_batch: lessons per forward pass at most; gradients of the passes of a step are added up.
        lr: peak learning rate; default by component and size (``RATES``, ``LARGE_RATES``; of a union the least).
        constraint: names of ``tuning.constraints`` joined by ``+``, or name to weight (vision and projector).
        constraint_weight: factor on the constraint's weights.
        replay: share of replays in a batch, 0 to 1.
        replay_images: how many training images are replayed.
        replays: gives ``tuning.lessons.own_words`` where several runs share them; called only if this run is not finished.
        quality: share of a batch that asks for the quality word.
        taxonomy: name or file.
        held_out: references that must not occur in ``train``.
        validation: stimuli, or the share of the training references, whose answers are watched and not learnt.
        patience: stop when so many evaluations bring nothing better, and take the best weights; needs ``validation`` (default a tenth).
        evaluate_every: steps between evaluations.
        lora_rank: rank of the adapters.
        precision: of the computation; ``auto`` is bf16 for a model loaded in half precision, whose trained weights are kept in float32
            until the end.
        recompute: keep fewer activations and compute them again in the backward pass (gradient checkpointing).
        remember: bytes of what frozen parts give that are kept, so that they run once per image (``tuning.upstream``); by default a
            quarter of the main memory that is free, at most 4 GiB, and none where images are shown less than twice; 0 to switch it off.
        checkpoint_every: steps between checkpoints in ``out``.
        seed: of batches and adapters; the same seed gives the same weights on CPU.
        progress: show a progress bar.
        out: folder for the tuned weights; a run of the same model, training set and settings is loaded from there if it is finished
            and gone on with if it is not.

    Returns:
        The tuned copy with its audit.

    Raises:
        InputError: unknown component, method or constraint; unusable training set; a loss that is not a number; a folder
            that holds another run, or in which another process is at one.
    """
    constraints = check(component, method, constraint, constraint_weight, only)
    check_numbers(steps, seconds, batch_size, micro_batch, replay, quality)
    part = find_part(mllm.model, mllm.stages, component, only)
    train, watched = split_references(train, validation or (VALIDATION if patience else 0.0), seed)
    refuse_held_out([*train, *watched], held_out)
    sums = digests(mllm.model)
    config: dict[str, Any] = {
        "component": component,
        "method": method,
        "only": only,
        "steps": steps,
        "seconds": seconds,
        "batch_size": batch_size,
        "micro_batch": micro_batch,
        "lr": lr or default_rate(mllm, part, method),
        "constraint": constraints or None,
        "replay": replay,
        "replay_images": replay_images,
        "quality": quality,
        "lora_rank": lora_rank if method != "full" else None,
        "precision": precision,
        "patience": patience,
        "evaluate_every": evaluate_every if watched else None,
        "seed": seed,
        "train": len(train),
        "model": combined(sums),
        "quantization": quantized_as(mllm.model),
        "train_sha256": fingerprint(train, taxonomy, quality > 0),
        "validation_sha256": fingerprint(watched, taxonomy) if watched else None,
    }
    folder = Path(out) if out is not None else None
    done = finished(mllm, part, config, folder)
    if done is not None:
        return done
    crew = Processes(mllm)
    how = {
        "batch_size": 4 * micro_batch if micro_batch else 64,
        "quality": quality == 0,
        "rank": crew.rank,
        "world": crew.world,
    }
    own = replays or partial(own_words, mllm, train, replay_images, seed, progress and crew.first, **how)
    pairs = bool(set(constraints) & NEEDS_PAIRS)
    lessons = prepare(train, taxonomy)
    at_once = min(micro_batch or batch_size, batch_size / crew.world) * (1 - replay - quality)
    lessons.check(quality, pairs, constraints, at_once)
    check_processes(batch_size, crew.world, pairs)
    if replay > 0:
        lessons = replace(lessons, replays=kept_replays(folder, train, own, config, crew))
    torch.manual_seed(seed)
    model = copy_of(mllm, part, method)
    student, parameters = trainable(model, part, method, lora_rank)
    kinds = as_float32(parameters)
    kept = room() if remember is None else remember
    if crew.sharded or (remember is None and steps and steps * batch_size < REPEATS * len(train)):
        kept = 0  # shards are gathered in step by all processes; and what is shown once need not be remembered
    untouched = Untouched(mllm, kept // 4)
    weights = weights_of(replay if lessons.replays else 0.0, quality, constraints)
    scale = token_scale(mllm, train, seed) if constraints else 1.0
    words = word_embeddings(mllm, lessons.wordings)
    objective = Objective(mllm, student, words, weights, scale, untouched)
    plan = Plan(steps, seconds, batch_size, micro_batch, config["lr"], replay, quality, pairs, seed,
                patience, evaluate_every, checkpoint_every)  # fmt: skip
    with recomputed(model, mllm.stages, recompute), remembered(model, mllm.stages, part.first, kept) as memory:
        run = Run(objective, lessons, held_out_lessons(watched, taxonomy, seed), parameters, plan, crew, config,
                  component + ("+constraint" if constraints else ""), folder, around_passes(mllm, precision),
                  lambda batch: memory.show([lesson.stimulus.id for lesson in batch]))  # fmt: skip
        state, learnt = learn(run, progress)
    for value in learnt.values():
        value.grad = None
    processes = {"count": crew.world, "sharded": any(hasattr(value, "device_mesh") for value in learnt.values())}
    if crew.sharded:
        model, student, parameters = _put_together(mllm, part, method, lora_rank, learnt)
    as_before(parameters, kinds)
    if method != "full" and folder is not None and crew.first:
        shutil.rmtree(folder / ADAPTER, ignore_errors=True)  # of a run that ended between adapter and record
        save_adapter(student, folder / ADAPTER, "")
    if method != "full":
        own_adapted(student)
        model = student.merge_and_unload()
    model.eval().requires_grad_(False)
    audit = audited(model, mllm.stages, part, method, parameters, of_part(mllm.model, part),
                    combined(sums, part.parameters))  # fmt: skip
    tuned = Tuned(renamed(mllm, model, config), audit, state.history, config, state.validation, processes)
    if folder is not None and crew.first:
        if method != "full":
            write_text(tuned.card(adapter=True), folder / ADAPTER / CARD)
        save(tuned, part, folder)
    crew.wait()
    return tuned


def _put_together(
    mllm: Mllm, part: Part, method: Method, rank: int, sharded: Mapping[str, torch.nn.Parameter]
) -> tuple[Any, Any, dict[str, torch.nn.Parameter]]:
    """A copy that is whole, with what the processes hold in parts."""
    model = copy_of(mllm, part, method)
    student, parameters = trainable(model, part, method, rank)
    for name, value in parameters.items():
        value.data = whole(sharded[name]).to(value.device)
    return model, student, parameters
