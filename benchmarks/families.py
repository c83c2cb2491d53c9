"""Which model families Snellen reads, measured: resolved from the configuration, run and compared bit by bit, gone the whole way.

python -m benchmarks.families                 # all, prints the table
python -m benchmarks.families --out docs/families.md
python -m benchmarks.families llava qwen2_vl  # some
"""

from __future__ import annotations

import argparse
import inspect
import os
import tempfile
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import checkpoints, tiny
from benchmarks.slices import gap
from hooks.answer import generate
from hooks.batch import run
from hooks.capture import capture, entering, features
from hooks.extract import extract
from hooks.load import load
from hooks.quiet import quiet
from hooks.resolve import find_stages
from hooks.stages import Stages
from stimuli.errors import InputError
from stimuli.tables import write_json, write_text
from stimuli.types import Stimulus, StimulusSet

SIZES = ((56, 112), (112, 56), (84, 84))
PROMPTS = ("What?", "What does this image show, please?", "Which one is it?")


@dataclass
class Outcome:
    """What one family did."""

    family: str
    resolved: bool = False
    runs: bool = False
    alone: bool = False
    whole: bool = False
    sites: int = 0
    projector: str = ""
    layouts: str = ""
    dead: str = ""
    compared: int = 0
    recorded: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def main() -> None:
    """Measure the families and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help="model types; all by default")
    parser.add_argument("--out", type=Path, help="Markdown file to write, with the same as JSON beside it")
    chosen = parser.parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.simplefilter("ignore")
    outcomes = []
    for family in chosen.families or tiny.families():
        outcomes.append(measure(family))
        print(_line(outcomes[-1]), flush=True)
    print("\n" + summary(outcomes))
    if chosen.out:
        write_text(page(outcomes), chosen.out)
        write_json([asdict(outcome) for outcome in outcomes], chosen.out.with_suffix(".json"))


def measure(family: str) -> Outcome:
    """Resolve, run and take one family the whole way; what fails is noted, never raised."""
    found = Outcome(family)
    for step in (_resolve, _run, _whole):
        try:
            with quiet():
                step(family, found)
        except (tiny.Unbuildable, InputError) as error:
            found.notes.append(_short(str(error)))
            break
        except Exception as error:
            found.notes.append(_short(f"{step.__name__[1:]}: {type(error).__name__}: {error}"))
    return found


def _resolve(family: str, found: Outcome) -> None:
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(tiny.config(family))
    stages = find_stages(model)
    found.resolved, found.sites = True, len(stages.sites)
    found.projector = stages.sites.get("projector", "")
    if not found.projector:
        found.notes.append("no projector: the language model reads the tower itself")


def _run(family: str, found: Outcome) -> None:
    model = tiny.model(family)
    inputs = tiny.inputs(family, model)
    stages = find_stages(model)
    with torch.no_grad():
        model(**inputs)
    stages = stages.verify(model, inputs)
    assert stages.proof is not None
    kinds = Counter(stages.layouts[site] for site in stages.sites if not site.startswith("llm"))
    found.layouts = ", ".join(kinds)
    found.dead = ", ".join(stages.proof.dead)
    found.seconds = stages.proof.seconds
    found.compared, found.recorded = compare(model, inputs, stages)
    found.runs = found.compared == len(stages.sites)
    try:
        difference = gap(model, inputs, stages)
        found.alone = difference <= 1e-4
        if not found.alone:
            found.notes.append(f"a stimulus in the batch and alone differ by {difference:.1g}")
    except (ValueError, RuntimeError, IndexError):
        found.notes.append("the test's inputs cannot be cut into single stimuli")


def compare(model: Any, inputs: dict[str, Any], stages: Stages) -> tuple[int, int]:
    """How many sites equal an independent reading to the last bit.

    Returns:
        Sites whose every firing equals that of a hook placed by hand in another pass; sites that also equal the library's own
        ``hidden_states``, where it gives them.
    """
    with torch.no_grad(), capture(model, "all", stages) as seen:
        model(**inputs)
    by_hand: dict[str, list[torch.Tensor]] = {site: [] for site in stages.sites}
    modules, handles = dict(model.named_modules()), []
    for site, name in stages.sites.items():
        if site.endswith(".embed"):
            hook: Any = lambda m, a, k, s=site: by_hand[s].append(entering(a, k, s)[1].clone())  # noqa: E731
            handles.append(modules[name].register_forward_pre_hook(hook, with_kwargs=True))
        else:
            hook = lambda m, a, out, s=site: by_hand[s].append(features(out, s).clone())  # noqa: E731
            handles.append(modules[name].register_forward_hook(hook))
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    for handle in handles:
        handle.remove()
    equal = sum(
        len(seen.all(site)) == len(values) and all(map(torch.equal, seen.all(site), values)) for site, values in by_hand.items()
    )
    states = next((s for name in ("decoder_hidden_states", "hidden_states") if (s := getattr(output, name, None))), ())
    layers = [site for site in stages.sites if site.startswith("llm.") and site.count(".") == 1 and site != "llm.embed"]
    recorded = sum(torch.equal(seen[site], state) for site, state in zip(layers[:-1], states[1:], strict=False))
    tower = [site for site in stages.sites if site.startswith("vision.") and site.count(".") == 1]  # with vision.embed in front
    recorded += sum(torch.equal(seen[site], state) for site, state in zip(tower, _image_states(model, inputs), strict=False))
    return equal, recorded


def _image_states(model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """The hidden states that the library's own ``get_image_features`` records; empty where it records none."""
    for part in (model, *model.children()):
        asked = getattr(part, "get_image_features", None)
        if asked is not None:
            given = {name: value for name, value in inputs.items() if name in inspect.signature(asked).parameters}
            try:
                with torch.no_grad():
                    return getattr(asked(**given, output_hidden_states=True), "hidden_states", None) or ()
            except (TypeError, ValueError, RuntimeError):
                return ()
    return ()


def _whole(family: str, found: Outcome) -> None:
    if family not in checkpoints.FAMILIES:
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(family, Path(folder))
        mllm = load(folder, device="cpu")
        images = pictures(SIZES)
        stimuli = StimulusSet([Stimulus(f"s{i}", f"r{i}", None, None, pixels=image) for i, image in enumerate(images)], "three")
        store = extract(mllm, stimuli, progress=False)
        texts = generate(mllm, images, PROMPTS, max_new_tokens=3, progress=False)
        worst = apart(mllm, images, PROMPTS)
    finite = all(bool(np.isfinite(store.read(site).values).all()) for site in store.sites)
    found.whole = len(store.ids) == len(texts) == len(images) and finite and worst <= 1e-4
    if not found.whole:
        found.notes.append(f"whole: rows of a batch differ from those of one image alone by {worst:.2g}")


def pictures(sizes: Any, seed: int = 0) -> list[np.ndarray]:
    """Random images uint8 (h, w, 3) of given sizes."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def apart(mllm: Any, images: list[np.ndarray], prompts: Any, *, pad_left: bool = False) -> float:
    """The largest difference between a stimulus's rows in a batch and alone, over all sites; infinite where shapes differ."""
    together = rows(mllm, images, prompts, pad_left)
    worst = 0.0
    for i in range(len(images)):
        for site, values in rows(mllm, images[i : i + 1], prompts[i : i + 1], pad_left).items():
            own, shared = values[0], together[site][i]
            worst = max(worst, float((own - shared).abs().max()) if own.shape == shared.shape else float("inf"))
    return worst


def rows(mllm: Any, images: list[np.ndarray], prompts: Any, pad_left: bool = False) -> dict[str, list[torch.Tensor]]:
    """Each stimulus's image rows at every site, and the last prompt position of the language model's."""
    batch = mllm.inputs(images, prompts, pad_left=pad_left)
    with torch.no_grad(), capture(mllm.model, "all", mllm.stages) as seen:
        run(mllm.model, batch.tensors)
    found = {site: batch.layout.rows(site, seen.all(site)) for site in seen}
    return found | {f"last {site}": list(batch.layout.last(site, seen[site])) for site in seen if site.startswith("llm")}


def summary(outcomes: list[Outcome]) -> str:
    """The counts in one sentence."""
    import transformers

    resolved, runs, alone, whole = (sum(getattr(o, name) for o in outcomes) for name in ("resolved", "runs", "alone", "whole"))
    return (
        f"Of {len(outcomes)} families of transformers {transformers.__version__}: {resolved} resolved from the configuration, {runs} "
        f"run with every site equal to an independent reading to the last bit, {alone} of these give each stimulus the same rows in a "
        f"batch and alone, {whole} go the whole way from image and question to answer and activations."
    )


def _line(o: Outcome) -> str:
    marks = "".join("yes " if value else "-   " for value in (o.resolved, o.runs, o.alone, o.whole))
    return f"{o.family:<24}{marks} {o.sites:>3} sites  {o.compared:>3} exact  {'; '.join(o.notes)[:120]}"


def _short(text: str) -> str:
    first = text.split(" Its modules are")[0].split(" Give a map")[0].strip().split("\n")[0]
    return first.split("could not be found: ")[-1][:200]


def page(outcomes: list[Outcome]) -> str:
    """The table as Markdown."""
    head = (
        "# Model families\n\n"
        f"{summary(outcomes)} Measured by `python -m benchmarks.families --out docs/families.md` (CPU, float32).\n\n"
        "* **resolved**: `sn.find_stages` on the meta device, from a shrunk configuration.\n"
        "* **runs**: a tiny random model passes the self-test and one forward pass with two images and text, and every firing at "
        "every site equals that of a hook placed by hand, to the last bit. *recorded* counts the sites of tower and language model "
        "that also equal the library's own `hidden_states`, where it gives them.\n"
        "* **alone**: the two stimuli, whose images differ in size where the family can batch such, have the same rows at every site in "
        "the batch and alone (to 1e-4).\n"
        "* **whole**: saved as a folder with processor and tokenizer, loaded by `sn.load` without torchvision, three images of "
        "different size in, answers and pooled activations out; each stimulus's rows in the batch equal those it has alone.\n"
        "* **layouts** of tower and projector: `image` one row of tokens per crop, `map` channels first, `packed` all images' tokens in "
        "one row, `each` one call per image.\n"
        "* **dead ends**: sites that the answer does not depend on; they are marked, not probed in silence.\n\n"
        "| family | resolved | runs | alone | whole | sites | recorded | projector | layouts | dead ends | note |\n"
        + "|---" * 11
        + "|\n"
    )
    return head + "".join(
        f"| {o.family} | {_mark(o.resolved)} | {_mark(o.runs)} | {_mark(o.alone)} | {_mark(o.whole)} | {o.sites or ''} | {o.recorded or ''} | "
        f"{_code(o.projector)} | {o.layouts} | {o.dead} | {_cell('; '.join(o.notes))} |\n"
        for o in outcomes
    )


def _mark(value: bool) -> str:
    return "yes" if value else ""


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
