"""What asking costs beside the bare model, at the shape of real checkpoints with random weights.

Run ``python benchmarks/asking.py --shape 7b --out asking.json`` on a GPU; ``--shape tiny --device cpu`` tries the same anywhere. Everything
is a ratio within one run: scored answers against the bare forward pass over batches that are ready, free answers against bare
``generate`` over the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.large import SHAPES, bare, loaded, photographs
from hooks.asks import Ask
from hooks.respond import respond
from stimuli.prompts import paraphrases
from stimuli.questions import question

TOKENS = 16


def bare_generate(mllm: Any, images: list[np.ndarray], repeats: int = 3) -> float:
    """Tokens per second of the library's own greedy ``generate`` over a batch that is ready on the device."""
    batch = mllm.inputs(images, [question("distortion").prompt] * len(images), pad_left=True)
    rates = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            mllm.model.generate(
                **batch.tensors, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, pad_token_id=0
            ).cpu()
            rates.append(len(images) * TOKENS / (time.perf_counter() - start))
    return float(np.median(rates[1:]))


def timed(work: Callable[[], Any]) -> float:
    """Seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--stimuli", type=int, default=512)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    mllm = loaded(given.shape, given.device, getattr(torch, given.dtype))
    shown = photographs(given.stimuli)
    images = [s.image for s in shown[: given.batch]]
    rate, tokens = bare(mllm, images), bare_generate(mllm, images)
    print(f"{given.shape} on {mllm.device}: bare {rate:.1f} images and {tokens:.1f} generated tokens per second")
    found: dict[str, Any] = {
        "shape": given.shape,
        "batch": given.batch,
        "bare_images_per_second": rate,
        "bare_tokens_per_second": tokens,
    }
    words = tuple(question("distortion").options.values())
    texts = (*paraphrases("ours"), *paraphrases("distortion"))[:8]
    single = [Ask(f"p{i}", text, words) for i, text in enumerate(texts)]
    several = Ask("several", texts[0], tuple(question("distortion", "kadid25").options.values()))
    few = shown[: max(given.batch, given.stimuli // 8)]

    def seconds(stimuli: Sequence[Any], asks: Sequence[Ask], out: Path | None = None) -> float:
        return timed(lambda: respond(mllm, stimuli, asks, out, batch_size=given.batch, progress=False))

    seconds(shown[: 2 * given.batch], single[:1])  # the first call starts workers
    one = seconds(shown, single[:1])
    found["one question"] = one * rate / len(shown)
    found["eight questions"] = seconds(shown, single) * rate / (8 * len(shown))
    found["eight questions, one call each"] = sum(seconds(few, [ask]) for ask in single) * rate / (8 * len(few))
    found["25 options of several tokens"] = seconds(few, [several]) * rate / (25 * len(few))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "book"
        respond(mllm, few, [Ask("free", texts[0], max_new_tokens=TOKENS)], out, batch_size=given.batch, progress=False)
        run = [
            json.loads(line)["run"]
            for path in out.glob("answers-*")
            for line in path.read_text().splitlines()
            if '"run"' in line
        ][0]
        found["free answers, run"] = run
        found["free answers"] = tokens / run["tokens_per_second"]
        found["drawn answers"] = timed(lambda: respond(mllm, few, [Ask("drawn", texts[0], repeats=2, temperature=1.0, max_new_tokens=TOKENS)],
                                                       batch_size=given.batch, progress=False)) * tokens / (2 * len(few) * TOKENS)  # fmt: skip
        found["found in the book, of asking"] = (
            seconds(few, [Ask("free", texts[0], max_new_tokens=TOKENS)], out) / run["seconds"]
        )
    for name, value in found.items():
        if isinstance(value, float) and "per_second" not in name:
            print(f"  {name}: {value:.3f} times the bare model")
    if given.out:
        given.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
