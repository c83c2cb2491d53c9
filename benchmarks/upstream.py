"""What remembering the frozen parts saves: steps of tuning the language model, or the projector, with and without a memory.

Run ``python benchmarks/upstream.py``; ``--quick`` leaves out the base-size random LLaVA (``benchmarks/large.py``). Both variants take
the same steps (forward, backward and AdamW at a rate of 0, so that every step is the same work) on inputs that are ready, in turn,
after passes that filled the memory; their losses are compared. The ratio is the median over rounds of a step with memory by
the step without it of the same round.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.large import loaded, photographs
from hooks.batch import run
from snellen.models import load
from stimuli.questions import question
from tuning.losses import answer_nll
from tuning.upstream import remembered

PARTS = ("llm", "projector")


def step(mllm: Any, batch: Any, optimizer: Any) -> float:
    """One step on a batch; its loss."""
    keep = batch.labels.shape[1] - int(batch.layout.last_prompt.min())
    optimizer.zero_grad()
    loss = answer_nll(run(mllm.model, batch.tensors, keep).logits[:, -keep:], batch.labels[:, -keep:]).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def measured(mllm: Any, part: str, size: int, rounds: int) -> dict[str, Any]:
    """Seconds per step of both variants, in turn, and what the memory did."""
    own = list(mllm.stages.parameters(mllm.model.eval().requires_grad_(False), part).values())
    for parameter in own:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(own, lr=0.0)
    stimuli = photographs(2 * size)
    prompt = question("distortion").prompt
    batches = []
    for some in (stimuli[:size], stimuli[size:]):
        inputs = mllm.inputs([s.image for s in some], [prompt] * size, ["noise" for _ in some])
        batches.append(([s.id for s in some], inputs))
    times: dict[str, list[float]] = {"without": [], "with": []}
    worst = 0.0
    with remembered(mllm.model, mllm.stages, part) as memory:
        for ids, batch in (*batches, *batches):  # fills the memory, and warms up
            memory.show(ids)
            step(mllm, batch, optimizer)
        for number in range(rounds):
            ids, batch = batches[number % 2]
            losses = {}
            for name in ("without", "with") if number % 4 < 2 else ("with", "without"):
                if name == "with":
                    memory.show(ids)
                _wait(mllm)
                start = time.perf_counter()
                losses[name] = step(mllm, batch, optimizer)
                _wait(mllm)
                times[name].append(time.perf_counter() - start)
            worst = max(worst, abs(losses["with"] / losses["without"] - 1))
    if memory.reason is not None or worst > 1e-3:
        raise SystemExit(f"Nothing was saved, or the losses differ by {worst:.1g}: {memory.reason}")
    ratio = float(np.median(np.divide(times["with"], times["without"])))
    medians = {f"ms_{name}": 1000 * float(np.median(own_times)) for name, own_times in times.items()}
    return {
        "part": part,
        "ratio": ratio,
        **medians,
        "loss_apart": worst,
        "bytes_per_image": memory.bytes / (2 * size),
        "times": times,
    }


def _wait(mllm: Any) -> None:
    if mllm.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the embedded model alone")
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS), help="both by default")
    parser.add_argument(
        "--model", choices=("embedded", "large"), nargs="+", default=["embedded", "large"], help="both by default"
    )
    parser.add_argument("--batch", type=int, help="16 for the embedded model, 2 for the large one, by default")
    parser.add_argument("--rounds", type=int, help="12 and 4 by default")
    parser.add_argument("--shape", default="base", help="of the large model, as in benchmarks/large.py")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="of the large model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON of everything measured")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found = []
    for kind in ["embedded"] if given.quick else given.model:
        small, name = kind == "embedded", kind if kind == "embedded" else given.shape
        mllm = load(name, device=given.device) if small else loaded(name, given.device, getattr(torch, given.dtype))
        size, rounds = given.batch or (16 if small else 2), given.rounds or (12 if small else 4)
        for part in given.part:
            row = {"model": name, "batch": size, "rounds": rounds, **measured(mllm, part, size, rounds)}
            found.append(row)
            print(
                f"{name:9} {part:10} batch {size:3}: {row['ms_without']:8.0f} ms a step, {row['ms_with']:8.0f} with memory, ratio "
                f"{row['ratio']:.3f}  {row['bytes_per_image'] / 1e3:.0f} kB an image, losses apart by {row['loss_apart']:.0e}",
                flush=True,
            )
    if given.out:
        setting = {name: str(value) for name, value in vars(given).items()}
        given.out.write_text(
            json.dumps({**setting, "torch": torch.__version__, "steps": found}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
