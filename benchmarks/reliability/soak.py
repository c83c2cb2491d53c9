"""Long runs: extract and ask over many stimuli with the smallest model there can be; memory, handles, hooks and rate on the way.

python -m benchmarks.reliability.soak                       # 100,000 stimuli through each; writes the section of docs/reliability.md
python -m benchmarks.reliability.soak --stimuli 20000
python -m benchmarks.reliability.soak --quick

Images are made when they are asked for and every stimulus is made anew, so what grows is Snellen's. The first fifth of a run is left out;
of the rest the slope of memory over stimuli is that of the means of ten blocks, with a 95 % interval by Student's t, and the rate is
that of each block in processor time, which does not depend on what else the machine does.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from scipy import stats

from benchmarks.reliability.page import arguments, table, written
from stimuli.types import Stimulus

SIDE, WIDTH, BLOCKS, WARM = 28, 16, 10, 0.2
EVERY = 0.02
"""Seconds between two looks."""


class Many(Sequence[Stimulus]):
    """Stimuli that are made when they are asked for, and count the images that were."""

    def __init__(self, count: int) -> None:
        self._count, self.shown = count, 0
        self._noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)

    def __len__(self) -> int:
        """How many."""
        return self._count

    def __getitem__(self, place: Any) -> Any:
        """One of them, or some."""
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(self._count))]
        if not 0 <= place < self._count:
            raise IndexError(place)
        return Stimulus(f"s{place:07d}", f"r{place % 100}", "jpeg", 1 + place % 5, pixels=lambda: self._image(place))

    def _image(self, place: int) -> np.ndarray:
        self.shown += 1
        return np.roll(self._noise, place % SIDE, 1) ^ np.uint8(place % 251)


def tiny() -> Any:
    """A LLaVA of one block each, 16 wide, that sees four patches."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    from hooks.load import load
    from snellen.models import load as patient

    processor = patient("embedded", device="cpu").processor
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=SIDE,
        patch_size=SIDE // 2,
    )
    text = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1,
        vocab_size=len(processor.tokenizer), max_position_embeddings=256,
    )  # fmt: skip
    config: Any = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.image_token_id,
        vision_feature_layer=-1,
        image_seq_length=4,
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config).eval()
    model.config.image_token_id = processor.image_token_id
    processor.image_processor.size = {"shortest_edge": SIDE}
    processor.image_processor.crop_size = {"height": SIDE, "width": SIDE}
    processor.patch_size = SIDE // 2
    return load(model, processor)


def watched(model: Any, stimuli: Many, work: Callable[[], Any]) -> list[dict[str, float]]:
    """Do something and look on: images shown, processor time, memory in bytes, open files, threads, hooks."""
    process, over, looks = psutil.Process(), threading.Event(), []

    def look() -> None:
        looks.append({
            "shown": stimuli.shown, "seconds": time.process_time(), "memory": process.memory_info().rss,
            "files": process.num_fds(), "threads": process.num_threads(), "hooks": _hooks(model),
        })  # fmt: skip

    def watch() -> None:
        while not over.wait(EVERY):
            look()

    gc.collect()
    look()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        over.set()
        watcher.join()
    gc.collect()
    look()
    return looks


def _hooks(model: Any) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in list(model.modules()) for kind in kinds)


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Least-squares slope with a 95 % interval (Student's t, n - 2 degrees of freedom)."""
    fit = stats.linregress(x, y)
    reach = float(stats.t.ppf(0.975, len(x) - 2) * fit.stderr)
    return float(fit.slope), float(fit.slope) - reach, float(fit.slope) + reach


def told(name: str, looks: Sequence[dict[str, float]]) -> dict[str, Any]:
    """One run in numbers."""
    shown = np.array([look["shown"] for look in looks])
    steady = [look for look, count in zip(looks, shown, strict=True) if WARM * shown[-1] <= count < shown[-1]]
    blocks = [block for block in np.array_split(np.array(steady, dtype=object), BLOCKS) if len(block) > 1]
    x, memory = (np.array([np.mean([look[key] for look in block]) for block in blocks]) for key in ("shown", "memory"))
    rates = [(b[-1]["shown"] - b[0]["shown"]) / max(b[-1]["seconds"] - b[0]["seconds"], 1e-9) for b in blocks]
    grown, low, high = slope(x, memory)
    return {
        "run": name,
        "stimuli": int(shown[-1]),
        "bytes_per_stimulus": grown,
        "low": low,
        "high": high,
        "peak_mb": max(look["memory"] for look in looks) / 1e6,
        "rate": float(np.median(rates)),
        "rate_low": min(rates),
        "rate_high": max(rates),
        **{
            f"{key}_{when}": looks[at][key]
            for key in ("files", "threads", "hooks")
            for when, at in (("before", 0), ("after", -1))
        },
        "files_most": max(look["files"] for look in looks),
    }


def main() -> None:
    """Command line."""
    from hooks.asks import Ask
    from hooks.extract import extract
    from hooks.respond import respond

    parser = arguments(__doc__)
    parser.add_argument("--stimuli", type=int, help="how many; 100,000 by default")
    options = parser.parse_args()
    count = options.stimuli or (2000 if options.quick else 100_000)
    torch.set_num_threads(1)
    mllm = tiny()
    quiet: dict[str, Any] = {"batch_size": 64, "progress": False}
    asks = [Ask("blur", "Is it blurred?", ("yes", "no"))]
    with tempfile.TemporaryDirectory() as place:
        for job in ("warm", "real"):  # what is made once, at first use, is no leak
            few = Many(256 if job == "warm" else count)
            extracted = watched(mllm.model, few, lambda: extract(mllm, few, out=Path(place) / job, **quiet))  # noqa: B023
            others = Many(len(few))
            answered = watched(mllm.model, others, lambda: respond(mllm, others, asks, Path(place) / f"{job}-said", **quiet))  # noqa: B023
        files = sum(len(names) for _, _, names in os.walk(Path(place) / "real"))
    rows = [told("extract, all sites", extracted), told("ask, one question", answered)]
    print(f"{files} files of activations", file=sys.stderr)
    lines = [
        "## Long runs",
        "",
        f"Command: `python -m benchmarks.reliability.soak{'' if count == 100_000 else f' --stimuli {count}'}`. A random LLaVA of one block "
        f"each, {WIDTH} wide, {count:,} images of {SIDE} px through each run, one thread. Memory: growth in bytes per stimulus once a fifth is "
        "done, from block means, 95 % interval; ids, keys and answers are held until the end, so a few hundred are expected of them, and no "
        "more. Rate: stimuli per second of processor time, median and range over ten blocks. Open files, threads and hooks before → after.",
        "",
        *table(
            ("run", "stimuli", "bytes per stimulus", "peak MB", "rate", "open files (most)", "threads", "hooks"),
            [
                [
                    row["run"],
                    f"{row['stimuli']:,}",
                    f"{row['bytes_per_stimulus']:.0f} [{row['low']:.0f}, {row['high']:.0f}]",
                    f"{row['peak_mb']:.0f}",
                    f"{row['rate']:.0f} ({row['rate_low']:.0f} to {row['rate_high']:.0f})",
                    f"{row['files_before']} → {row['files_after']} ({row['files_most']})",
                    f"{row['threads_before']} → {row['threads_after']}",
                    f"{row['hooks_before']} → {row['hooks_after']}",
                ]
                for row in rows
            ],
        ),
    ]
    written("soak", rows, lines, options)


if __name__ == "__main__":
    main()
