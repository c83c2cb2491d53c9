"""Capturing every site of a model against the bare forward pass, and against other libraries that do the same work.

Run ``python benchmarks/capture.py [--quick]`` from the repository root. LLaVAs of about 10 and 150 million random parameters,
one thread; ``--device cuda --dtype bfloat16 --size 7b`` takes one of LLaVA-1.5-7B's shape. The variants take turns in an order
that is drawn for each round, one repeat each, after a warm-up round.

- ``bare``: the forward pass alone.
- ``pooled``: each site's mean over the image's tokens. Snellen takes it in the hook; a peer hands over whole outputs, and
  Snellen's own ``pool`` takes the same means of them behind the pass.
- ``pooled to disk``, ``tokens to disk``: Snellen stores the means, or the image's tokens; a peer, which cannot tell image
  from text, stores every position by ``torch.save``, one file per batch. All sync their files (``fsync``).
- ``up to projector``: the pass ends there. ``self-test``: ``Stages.verify``.

All capture the same sites: those that are outputs of modules, all but ``vision.embed`` and ``llm.embed``. Before anything is
timed, the means are compared with those of transformers' own ``output_hidden_states``, the peers' values with Snellen's, and
the files' content with what was captured. With ``--in-a-row`` (1 on a CPU, else 4) a repeat is so many passes, and
rows are copied and written beside the next pass, as ``hooks.extract`` does.

The ratio is the median over rounds of a variant's time by the bare pass's of the same round: what else the machine does
changes from round to round, and the ratio of the medians (in the JSON, too) would mix that in.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks import peers
from benchmarks.peers import OPTIONS, Done, Peer, Snellen, Task
from hooks.batch import bookkeeping
from hooks.resolve import find_stages

SIZES: dict[str, dict[str, tuple[int, ...]]] = {
    "small": {"vision": (256, 6, 224, 16, 1024), "language": (256, 6, 4000, 768, 4)},
    "base": {"vision": (640, 10, 224, 14, 2560), "language": (768, 12, 16000, 2304, 12)},
    "7b": {"vision": (1024, 24, 336, 14, 4096), "language": (4096, 32, 32064, 11008, 32)},
}
"""Vision width, blocks, image side, patch and inner width; language width, layers, vocabulary, inner width and heads."""
IMAGE = 3
"""The image's placeholder in the prompt."""
ON_GPU = ("bare", "Snellen, pooled", "Snellen, pooled to disk", "Snellen, up to projector")
"""The variants that a GPU times unless told otherwise."""


def random_llava(size: str, device: str, dtype: torch.dtype) -> Any:
    """A LLaVA of the wanted size with random weights, made where it stays."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    wide, blocks, side, patch, inner = SIZES[size]["vision"]
    width, layers, vocabulary, middle, heads = SIZES[size]["language"]
    vision = CLIPVisionConfig(
        hidden_size=wide, intermediate_size=inner, num_hidden_layers=blocks, num_attention_heads=wide // 64, image_size=side,
        patch_size=patch,
    )  # fmt: skip
    text = LlamaConfig(
        hidden_size=width, intermediate_size=middle, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads, vocab_size=vocabulary,
    )  # fmt: skip
    config: Any = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=IMAGE, vision_feature_layer=-2,
        image_seq_length=(side // patch) ** 2,
    )  # fmt: skip
    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlavaForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(usual)


def task_of(size: str, given: argparse.Namespace) -> Task:
    """A model, and a batch of random pixels with a prompt of 20 tokens behind the image."""
    model = random_llava(size, given.device, getattr(torch, given.dtype))
    side, tokens = model.config.vision_config.image_size, model.config.image_seq_length
    ids = torch.cat([torch.full((given.batch, tokens), IMAGE), torch.arange(10, 30).expand(given.batch, 20)], 1)
    pixels = torch.randn(given.batch, 3, side, side)
    inputs = {"pixel_values": pixels.to(model.dtype), "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    stages = find_stages(model)
    layout = bookkeeping(model, stages, inputs)
    layers = {site: path for site, path in stages.sites.items() if not site.endswith(".embed")}
    return Task(model, {name: value.to(model.device) for name, value in inputs.items()}, stages, layout, layers, given.in_a_row)


def variants(task: Task, folder: Path, only: Sequence[str]) -> dict[str, Callable[[], Done]]:
    """What is timed, by name, once its values have been proven."""
    mine = {
        "Snellen, pooled": Snellen(task, "mean"),
        "Snellen, pooled to disk": Snellen(task, "mean", folder / "mean"),
        "Snellen, tokens to disk": Snellen(task, "none", folder / "none"),
        "Snellen, up to projector": Snellen(task, "mean", None, ("projector",), True),
    }
    found: dict[str, Callable[[], Done]] = {"bare": lambda: task.repeated(task.forward), **mine}
    found["Snellen, self-test"] = lambda: task.repeated(task.self_test)
    names = [name for name in peers.PEERS if not only or any(one.startswith(name) for one in only)]
    others = peers.installed(names, task.model, task.inputs, task.layers)
    for name, peer in others.items():
        (folder / name).mkdir()
        found[f"{name}, pooled"] = partial(peers.pooled, peer, task.layout, task.in_a_row)
        found[f"{name}, tokens to disk"] = partial(peers.stored, peer, folder / name, task.in_a_row)
    chosen = {name: run for name, run in found.items() if name == "bare" or not only or name in only}
    unknown = sorted(set(only) - set(found))
    if unknown:
        raise SystemExit(f"Unknown variants {unknown}. Expected some of {list(found)}. Use these.")
    _check(task, mine, chosen)
    for name, peer in others.items():
        _check_peer(task, peer, mine, folder / name)
    return chosen


# ---- proof -----------------------------------------------------------------------------------------------------------


def _check(task: Task, mine: Mapping[str, Snellen], chosen: Mapping[str, Any]) -> None:
    """What Snellen gives, in memory and on disk, are the values of transformers' own hidden states."""
    means: dict[str, Any] = dict(mine["Snellen, pooled"]().values)
    _same(means, _reference(task), task.near)
    if "Snellen, up to projector" in chosen:
        _same(mine["Snellen, up to projector"]().values, {"projector": means["projector"]}, task.near)
    if "Snellen, pooled to disk" in chosen:
        _same(mine["Snellen, pooled to disk"]().values, means, task.near)
        _same(mine["Snellen, pooled to disk"].read(), means, task.near)
    if "Snellen, tokens to disk" in chosen:
        tokens = _blocks(mine["Snellen, tokens to disk"]().values)
        _same(mine["Snellen, tokens to disk"].read(), tokens, 0)
        _same({site: value.float().mean(1) for site, value in tokens.items()}, means, task.near)


def _check_peer(task: Task, peer: Peer, mine: Mapping[str, Snellen], folder: Path) -> None:
    """A peer gives what Snellen gives, in memory and on disk."""
    _same(peers.pooled(peer, task.layout, 1).values, mine["Snellen, pooled"]().values, task.near)
    done = peers.stored(peer, folder, 1)
    read = torch.load(max(folder.iterdir()), weights_only=True)
    _same(read, done.values, 0)
    tokens = _blocks(mine["Snellen, tokens to disk"]().values)
    _same({site: torch.stack(task.layout.rows(site, read[site])) for site in tokens}, tokens, task.near)


def _blocks(values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Rows as (stimuli, tokens, d): every stimulus has as many."""
    return {site: torch.stack(value.rows.split(value.counts)) for site, value in values.items()}


def _reference(task: Task) -> dict[str, torch.Tensor]:
    """The means of transformers' own hidden states; not of the last layer, which it records behind the final norm."""
    model, inputs, image = task.model, task.inputs, task.inputs["input_ids"][0] == IMAGE
    vision = model.model.vision_tower(inputs["pixel_values"], output_hidden_states=True).hidden_states[1:]
    hidden = model(**inputs, **OPTIONS, output_hidden_states=True).hidden_states[1:-1]
    found = {f"vision.{i}": value[:, 1:].float().mean(1) for i, value in enumerate(vision)}
    return found | {f"llm.{i}": value[:, image].float().mean(1) for i, value in enumerate(hidden)}


def _same(actual: Mapping[str, Any], expected: Mapping[str, Any], near: float) -> None:
    """Compare the sites that are expected; ``near`` relative to the value, and to the site's mean size."""
    assert expected and not set(expected) - set(actual)
    for site, value in expected.items():
        wanted = value.cpu().float()
        close = {"rtol": near, "atol": near * float(wanted.abs().mean())}
        torch.testing.assert_close(actual[site].cpu().float(), wanted, **close, msg=lambda text, site=site: f"{site}: {text}")


# ---- timing ----------------------------------------------------------------------------------------------------------


def timed(run: Callable[[], Done], device: str) -> tuple[float, Done]:
    """Seconds of one repeat, the device's work included; what lies about from the last one is cleared away before."""
    gc.collect()
    _synchronize(device)
    start = time.perf_counter()
    done = run()
    _synchronize(device)
    return time.perf_counter() - start, done


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def measure(size: str, given: argparse.Namespace) -> dict[str, Any]:
    """Time one size: what is known of it, and its variants."""
    task = task_of(size, given)
    with tempfile.TemporaryDirectory(prefix="snellen-") as folder, torch.inference_mode():
        runs = variants(task, Path(folder), given.only)
        times: dict[str, list[float]] = {name: [] for name in runs}
        costs: dict[str, Done] = {}
        order, draw = list(runs), random.Random(0)
        for repeat in range(given.repeats + 1):
            for name in draw.sample(order, len(order)):
                seconds, done = timed(runs[name], given.device)
                costs[name] = replace(done, values={})
                if repeat:  # the first round warms up
                    times[name].append(seconds)
                del done
    rows = {name: _row(own, times["bare"], costs[name], task) for name, own in times.items()}
    about = {"millions": sum(p.numel() for p in task.model.parameters()) / 1e6, "sites": list(task.layers)}
    return {"size": size, **about, "variants": rows}


def _row(own: Sequence[float], bare: Sequence[float], cost: Done, task: Task) -> dict[str, Any]:
    """A variant's numbers: per batch, and per stimulus where it says so."""
    scaled = [1000 * seconds / task.in_a_row for seconds in own]
    return {
        "median_ms": float(np.median(scaled)),
        "ratio": float(np.median(np.divide(own, bare))),
        "ratio_of_medians": float(np.median(own) / np.median(bare)),
        "min_ms": min(scaled),
        "max_ms": max(scaled),
        "held_mb": cost.held / 1e6 / task.layout.n,
        "written_mb": cost.written / 1e6 / task.layout.n / task.in_a_row,
        "ms": scaled,
    }


def table(found: Mapping[str, Any], setting: Mapping[str, Any]) -> str:
    """One size, for reading."""
    where = setting["gpu"] or setting["device"]
    lines = [
        f"{found['size']}: {found['millions']:.0f} M parameters, {setting['dtype']} on {where}, threads: {setting['threads']}; batches "
        f"of {setting['batch']}, {setting['in_a_row']} in a row; {len(found['sites'])} sites; {setting['repeats']} repeats; values equal",
        f"  {'':29} {'ms per batch':>12} {'x bare':>8} {'min to max':>20} {'MB held':>10} {'written':>8}  per stimulus",
    ]
    for name, row in found["variants"].items():
        span = f"{row['min_ms']:.1f} to {row['max_ms']:.1f}"
        sizes = [f"{row[key]:.3f}" if row[key] else "-" for key in ("held_mb", "written_mb")]
        lines.append(f"  {name:29} {row['median_ms']:12.1f} {row['ratio']:8.3f} {span:>20} {sizes[0]:>10} {sizes[1]:>8}")
    return "\n".join(lines)


def settings(given: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on beside the size."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("torch", "transformers", "numpy", "captum", "nnsight"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    gpu = torch.cuda.get_device_name() if given.device.startswith("cuda") else None
    chosen = {name: value for name, value in vars(given).items() if name not in ("out", "quick")}
    return {**chosen, "platform": platform.platform(), "gpu": gpu, "versions": versions}


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small model, five repeats (seconds)")
    parser.add_argument("--repeats", type=int, help="9 by default, 5 with --quick")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", choices=SIZES, nargs="+", help="small and base by default")
    parser.add_argument("--device", default="cpu", help="cpu by default")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--in-a-row", type=int, help="batches per repeat; 1 by default on a CPU, else 4")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="variants by name; by default all on a CPU, else four")
    parser.add_argument("--out", type=Path, help="JSON of everything measured")
    given = parser.parse_args()
    on_cpu = given.device == "cpu"
    given.size = given.size or (["small"] if given.quick else ["small", "base"])
    given.repeats = given.repeats or (5 if given.quick else 9)
    given.in_a_row = given.in_a_row or (1 if on_cpu else 4)
    given.only = given.only or ([] if on_cpu else list(ON_GPU))
    return given


def main() -> None:
    """Measure, print, and write down."""
    given = arguments()
    torch.set_num_threads(given.threads)
    setting = settings(given)
    found = []
    for size in given.size:
        found.append(measure(size, given))
        print(table(found[-1], setting), flush=True)
    if given.out:
        given.out.write_text(json.dumps({**setting, "sizes": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
