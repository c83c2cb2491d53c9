"""Capturing every site, mean-pooled, and the self-test, against the bare forward pass of the same batch.

Run ``python benchmarks/capture.py [--quick]`` from the repository root. Random-weight LLaVAs of about 10 and 150 million
parameters; the variants take turns, one repeat each, after a warm-up; the ratio is that of the medians. Before anything is
timed, the captured values are compared with what transformers' own ``output_hidden_states`` gives.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

SIZES: dict[str, dict[str, Any]] = {
    "small": {"vision": (256, 6, 224, 16), "language": (256, 6, 4000)},
    "base": {"vision": (640, 10, 224, 14), "language": (768, 12, 16000)},
}
"""Vision width, blocks, image side and patch; language width, layers and vocabulary."""


def random_llava(size: str) -> Any:
    """A LLaVA of the wanted size with random weights."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    (wide, blocks, side, patch), (width, layers, vocabulary) = SIZES[size]["vision"], SIZES[size]["language"]
    vision = CLIPVisionConfig(
        hidden_size=wide, intermediate_size=4 * wide, num_hidden_layers=blocks, num_attention_heads=wide // 64, image_size=side,
        patch_size=patch,
    )  # fmt: skip
    text = LlamaConfig(
        hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers, num_attention_heads=width // 64,
        num_key_value_heads=width // 64, vocab_size=vocabulary,
    )  # fmt: skip
    torch.manual_seed(0)
    tokens = (side // patch) ** 2
    config: Any = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=3, vision_feature_layer=-2, image_seq_length=tokens
    )
    return LlavaForConditionalGeneration(config).eval()


def inputs_of(model: Any, batch: int) -> dict[str, torch.Tensor]:
    """Random pixels and a prompt of 20 tokens behind the image."""
    side, tokens = model.config.vision_config.image_size, model.config.image_seq_length
    ids = torch.cat([torch.full((batch, tokens), 3), torch.arange(10, 30).expand(batch, 20)], 1)
    return {
        "pixel_values": torch.randn(batch, 3, side, side),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
    }


def variants(model: Any, inputs: dict[str, torch.Tensor]) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    from hooks.batch import bookkeeping
    from hooks.capture import Stop, capture
    from hooks.pool import pool
    from hooks.resolve import find_stages

    stages = find_stages(model)
    layout = bookkeeping(model, stages, inputs)

    def bare() -> Any:
        return model(**inputs, use_cache=False, logits_to_keep=1)

    def captured(sites: Any = "all", stop: bool = False) -> dict[str, torch.Tensor]:
        with capture(model, sites, stages, stop=stop) as seen:
            try:
                bare()
            except Stop:
                pass
            return {site: pool(layout, site, seen[site], "mean") for site in seen}

    _check(model, inputs, stages, captured())
    return {
        "bare forward": bare,
        "all sites, pooled": captured,
        "up to projector": lambda: captured("projector", True),
        "self-test": lambda: _self_test(model, inputs, stages),
    }


def _self_test(model: Any, inputs: dict[str, torch.Tensor], stages: Any) -> None:
    with torch.inference_mode(False):
        stages.verify(model, {name: value.clone() for name, value in inputs.items()})


def _check(model: Any, inputs: dict[str, torch.Tensor], stages: Any, pooled: dict[str, torch.Tensor]) -> None:
    """Pooled captures equal the means of transformers' own hidden states."""
    vision = model.model.vision_tower(inputs["pixel_values"], output_hidden_states=True).hidden_states
    hidden = model(**inputs, use_cache=False, output_hidden_states=True).hidden_states
    image = inputs["input_ids"][0] == 3
    for i in range(sum(site.startswith("vision.") for site in stages.sites) - 1):
        torch.testing.assert_close(pooled[f"vision.{i}"], vision[i + 1][:, 1:].mean(1), rtol=1e-4, atol=1e-5)
    for i in range(sum(site.startswith("llm.") for site in stages.sites) - 2):  # the last is recorded after the final norm
        torch.testing.assert_close(pooled[f"llm.{i}"], hidden[i + 1][:, image].mean(1), rtol=1e-4, atol=1e-5)


def measure(size: str, batch: int, repeats: int) -> None:
    """Time one size and print a line per variant."""
    model = random_llava(size)
    inputs = inputs_of(model, batch)
    with torch.inference_mode():
        _measure(size, batch, repeats, model, inputs)


def _measure(size: str, batch: int, repeats: int, model: Any, inputs: dict[str, torch.Tensor]) -> None:
    timed = variants(model, inputs)
    times: dict[str, list[float]] = {name: [] for name in timed}
    for repeat in range(repeats + 1):
        for name, run in timed.items():
            start = time.perf_counter()
            run()
            if repeat:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    print(
        f"{size}: {millions:.0f} M parameters, batch {batch}, {torch.get_num_threads()} threads, median of {repeats}; values equal"
    )
    bare = float(np.median(times["bare forward"]))
    for name, own in times.items():
        middle = float(np.median(own))
        print(
            f"  {name:18} {1000 * middle:8.1f} ms   {middle / bare:6.3f} x bare   ({1000 * min(own):.1f} to {1000 * max(own):.1f})"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small model, five repeats (seconds)")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batch", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(min(2, torch.get_num_threads()))
    for size in ("small",) if given.quick else tuple(SIZES):
        measure(size, given.batch, 5 if given.quick else given.repeats)


if __name__ == "__main__":
    main()
