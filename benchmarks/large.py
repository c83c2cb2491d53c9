"""Extraction at the shape of real checkpoints, with random weights: what ``docs/scale.md`` is worked out from.

Run ``python benchmarks/large.py --shape 7b --out large.json`` on a GPU; ``--shape tiny --device cpu`` tries the same anywhere. The
stimuli are distorted photographs' stand-ins of 512 x 384 px, made by workers as they would be in an exam. Shapes with a share
of a model's layers (``70b/8``: every eighth layer of 80) tell the cost per layer of models that one GPU does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

CLIP = (1024, 24, 4096, 16, 336, 14)
SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "tiny": ((192, 4, 512, 6, 112, 14), (256, 4, 640, 4, 4)),
    "base": ((640, 10, 2560, 10, 224, 14), (768, 12, 2304, 12, 12)),
    "7b": (CLIP, (4096, 32, 11008, 32, 32)),
    "70b/8": (CLIP, (8192, 10, 28672, 64, 8)),
}
"""Vision width, blocks, inner width, heads, side and patch; language width, layers, inner width, heads and key-value heads."""
PIXELS = (384, 512)


def random_llava(shape: str, device: str, dtype: torch.dtype) -> Any:
    """A LLaVA of a published shape with random weights, made on the device."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    (wide, blocks, inner, heads, side, patch), (width, layers, deep, queries, keys) = SHAPES[shape]
    vision = CLIPVisionConfig(
        hidden_size=wide, intermediate_size=inner, num_hidden_layers=blocks, num_attention_heads=heads, image_size=side,
        patch_size=patch,
    )  # fmt: skip
    text = LlamaConfig(
        hidden_size=width, intermediate_size=deep, num_hidden_layers=layers, num_attention_heads=queries,
        num_key_value_heads=keys, vocab_size=32064, max_position_embeddings=4096,
    )  # fmt: skip
    config: Any = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=3, vision_feature_layer=-2,
        image_seq_length=(side // patch) ** 2,
    )  # fmt: skip
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlavaForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)


def loaded(shape: str, device: str, dtype: torch.dtype) -> Any:
    """The model with the embedded patients' tokenizer and CLIP's image processor at its size."""
    from hooks.load import load
    from snellen.models import load as patient

    model, processor = random_llava(shape, device, dtype), patient("embedded", device="cpu").processor
    side = SHAPES[shape][0][4]
    processor.image_processor.size = {"shortest_edge": side}
    processor.image_processor.crop_size = {"height": side, "width": side}
    processor.image_processor.do_center_crop = True
    processor.patch_size = SHAPES[shape][0][5]
    model.config.image_token_id = processor.image_token_id
    return load(model, processor)


def photographs(count: int) -> Any:
    """Distorted images as an exam would show them, made when they are looked at: every type at three levels."""
    from stimuli.sets import distorted_set

    rng = np.random.default_rng(0)
    made = {}
    for i in range(max(1, count // 10)):
        small = rng.integers(0, 255, (24, 32, 3)).astype(np.uint8)
        made[f"r{i}"] = np.kron(small, np.ones((16, 16, 1), np.uint8))
    shown = distorted_set(made, "paper8", (1, 3, 5), design="crossed", measure=False)
    order = rng.permutation(len(shown))[:count]
    return [shown[int(i)] for i in order]


def bare(mllm: Any, images: list[np.ndarray], repeats: int = 4) -> float:
    """Images per second of the bare forward pass over a batch that is ready on the device."""
    from hooks.batch import run
    from stimuli.questions import question

    batch = mllm.inputs(images, [question("distortion").prompt] * len(images))
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            run(mllm.model, batch.tensors, keep=1)
            if mllm.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return len(images) / float(np.median(times[1:]))


def main() -> None:
    """Command line."""
    from hooks.extract import extract

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--stimuli", type=int, default=512)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    start = time.perf_counter()
    mllm = loaded(given.shape, given.device, getattr(torch, given.dtype))
    millions = sum(p.numel() for p in mllm.model.parameters()) / 1e6
    print(f"{given.shape}: {millions:.0f} M parameters, made and self-tested in {time.perf_counter() - start:.0f} s")
    shown = photographs(given.stimuli)
    found: dict[str, Any] = {"shape": given.shape, "millions": millions, "batch": given.batch}
    found["bare_images_per_second"] = bare(mllm, [s.image for s in shown[: given.batch]])
    print(f"  bare forward pass of batches that are ready: {found['bare_images_per_second']:.1f} images per second")
    jobs = {
        "all sites, mean": {"sites": "all", "pool": "mean"},
        "all sites, mean, bfloat16": {"sites": "all", "pool": "mean", "dtype": "bfloat16"},
        "up to the projector": {"sites": [s for s in mllm.stages.sites if not s.startswith("llm")], "pool": "mean"},
        "64 tokens of all sites": {"sites": "all", "pool": "random:64"},
        "eight prompts": {"sites": "all", "pool": "mean", "prompt": {f"p{i}": f"What is {i} here?" for i in range(8)}},
    }
    for name, options in jobs.items():
        some = shown if name.startswith("all") or name.startswith("up") else shown[: given.stimuli // 4]
        with tempfile.TemporaryDirectory() as out:
            store = extract(mllm, some, out=out, batch_size=given.batch, workers=given.workers, progress=False, **options)
            found[name] = {**store.runs[-1], "skipped_reasons": store.skipped[:2]}
        run = found[name]
        print(
            f"  {name:26} {run['images_per_second']:7.1f} per second  model {run['model_share']:5.1%}  overhead {run['overhead']:.3f} x  "
            f"{run['bytes_per_stimulus'] / 1e6:6.2f} MB each  waiting: stimuli {run['waiting_for_stimuli']:.1f} s, "
            f"disk {run['waiting_for_disk']:.1f} s of {run['seconds']:.1f} s  {len(store.skipped)} left out"
        )
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
