"""The organisms of organisms.py: what is planted in which base, and its exam; everything is made once and kept."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.inputs import input_statistics
from analysis.perception import ask, score_answers
from analysis.verdict_inputs import read_inputs
from hooks.extract import extract
from probes.linear import Prediction
from probes.sweep import SweepResult, sweep
from snellen.embedded import healthy, plants
from snellen.models import load
from stimuli.generated import exam_set
from stimuli.types import Stimulus

HERE = Path(__file__).resolve().parent
REFERENCES = 40
LEVELS = (2, 3, 4, 5)
N_BOOT = 1000
PENALTIES = (10.0, 100.0)
"""Fewer candidates than an exam has, for the time's sake."""


ERASED = ("vision.1", "vision.3", "vision.5", "projector", "llm.0", "llm.2")


@dataclass(frozen=True)
class Organism:
    """A base, what was planted in it, and the truth."""

    base: str
    truth: str
    """``processor``, ``vision``, ``projector``, ``llm`` or ``none``."""
    site: str = ""
    """Where: a site, ``processor`` or ``template``; empty for an untouched one."""
    strength: float = 0.0
    """Rank of what is erased, factor of the resize, or share of the template's weights."""
    seed: int = 1
    """Of the exam's stimuli."""
    against: str = ""
    """The base whose answers its own are held against, where it is not made from one."""

    @property
    def name(self) -> str:
        """Unique."""
        planted = f"{self.site}-{self.strength:g}" if self.site else "untouched"
        return f"{self.base}/{planted}/{self.seed}"


class Bench:
    """Bases, their plants and the exams, made once each."""

    def __init__(self, work: Path, references: int) -> None:
        self.work, self.recipe = work, healthy.Recipe(references=references)
        self._bases: dict[str, Any] = {}
        self._moments: dict[str, Any] = {}
        self._sets: dict[int, Any] = {}
        self._templates: dict[str, Any] = {}
        self._inputs: dict[Any, Any] = {}

    def base(self, name: str) -> Any:
        """A base as an ``Mllm``."""
        if name not in self._bases:
            known = {base.name: base for base in healthy.BASES}
            shipped = load(healthy.SHIPPED if name in known else name)
            kept = HERE / f"{name}.safetensors"
            model = healthy.healthy(known[name], self.work, self.recipe, kept) if name in known else shipped.model
            self._bases[name] = shipped.with_model(model)
        return self._bases[name]

    def planted(self, organism: Organism) -> Any:
        """The organism as an ``Mllm``, its map proven anew."""
        mllm = self.base(organism.base)
        if not organism.site:
            return mllm
        if organism.site == "processor":
            return load(mllm.model, plants.shrink(mllm.processor, organism.strength))
        if organism.site == "template":
            if organism.base not in self._templates:
                known = {base.name: base for base in healthy.BASES}
                self._templates[organism.base] = healthy.template(mllm.model, known[organism.base], self.work, self.recipe)
            return load(plants.mixed(mllm.model, self._templates[organism.base], organism.strength), mllm.processor)
        what = plants.subspace(self._found(organism.base)[organism.site], int(organism.strength))
        return load(plants.erase(mllm.model, mllm.stages, organism.site, what), mllm.processor)

    def _found(self, base: str) -> Any:
        """Moments of a base's sites, on training references; kept in the work folder."""
        from safetensors.torch import load_file, save_file

        path = self.work / "moments" / f"{base}.safetensors"
        if not path.exists():
            mllm, data = self.base(base), healthy.corpus(self.work, self.recipe)
            found = plants.moments(mllm.model, mllm.stages, mllm.processor.tokenizer, data, list(ERASED))
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(
                {f"{site}/{name}": value.contiguous() for site, own in found.items() for name, value in vars(own).items()}, path
            )
        if base not in self._moments:
            kept = load_file(path)
            self._moments[base] = {
                site: plants.Moments(*(kept[f"{site}/{name}"] for name in ("mean", "content", "difference"))) for site in ERASED
            }
        return self._moments[base]

    def stimuli(self, seed: int) -> Any:
        """The exam of a seed."""
        if seed not in self._sets:
            self._sets[seed] = exam_set(references=REFERENCES, levels=LEVELS, seed=seed, measure=False)
        return self._sets[seed]

    def path(self, organism: Organism) -> Path:
        """Where its exam is kept."""
        return self.work / "exams" / f"{organism.name.replace('/', '_')}.json"

    def examined(self, organism: Organism) -> dict[str, Any]:
        """What the rule needs of an organism, JSON-able; kept in the work folder."""
        path = self.path(organism)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            started = time.time()
            record = self._examine(organism)
            record |= {"seconds": time.time() - started}
            path.with_suffix(".tmp").write_text(json.dumps(record))
            path.with_suffix(".tmp").replace(path)
        return dict(json.loads(path.read_text()))

    def _examine(self, organism: Organism) -> dict[str, Any]:
        mllm, stimuli = self.planted(organism), self.stimuli(organism.seed)
        key = (organism.seed, organism.strength if organism.site == "processor" else 1.0)
        if key not in self._inputs:
            self._inputs[key] = input_statistics(mllm, stimuli, progress=False)
        return examine(mllm, stimuli, self._inputs[key], organism.seed, self.work / "probes")


def examine(mllm: Any, stimuli: Any, statistics: Any, seed: int, kept: Path) -> dict[str, Any]:
    """Ask, extract and probe."""
    answers = ask(mllm, stimuli, progress=False, n_boot=N_BOOT, seed=seed)
    store = extract(mllm, stimuli, sites=[site for site in mllm.stages.sites if not site.endswith(".embed")], progress=False)
    probed = {site: probed_once(site, store, statistics, seed, kept) for site in (*statistics, *store.sites)}
    first = next(iter(probed.values()))
    return {
        **{key: first[key] for key in ("ids", "labels", "groups")},
        "read_layer": mllm.stages.read_layer,
        "seed": seed,
        "n_boot": N_BOOT,
        "table": [
            {**one["row"], "site": site, "component": component(site), "order": i}
            for i, (site, one) in enumerate(probed.items())
        ],
        "predicted": {site: one["predicted"] for site, one in probed.items()},
        "read": {site: probed[site]["read"] for site in statistics},
        "answers": {row["id"]: row["answer"] for row in answers.table},
    }


def component(site: str) -> str:
    """As the sweep names it."""
    name = site.split(".")[0]
    return name if name in ("vision", "projector", "llm") else "input"


def probed_once(site: str, store: Any, statistics: Any, seed: int, kept: Path) -> dict[str, Any]:
    """The sweep of one site; the same features are probed once, whichever organisms share them."""
    rows = statistics.get(site) or store.read(site)
    told = repr((rows.ids, seed, N_BOOT, PENALTIES, site in statistics)).encode()
    path = kept / f"{hashlib.sha256(rows.values.tobytes() + told).hexdigest()[:24]}.json"
    if not path.exists():
        inputs = {site: rows} if site in statistics else {}
        swept = sweep(store, sites=[site], inputs=inputs, seed=seed, penalties=PENALTIES, n_boot=N_BOOT, progress=False)
        one = {"row": swept.table[0], "predicted": swept.predictions[site].predicted.tolist(), "ids": swept.ids,
               "labels": swept.labels.tolist(), "groups": swept.groups.tolist(),
               "read": [p.predicted.tolist() for p in read_inputs(swept, inputs).values()]}  # fmt: skip
        kept.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**one, "read": one["read"][0] if one["read"] else []}))
    return dict(json.loads(path.read_text()))


def restored(record: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Sweep, answers and input readings from what ``Bench.examined`` keeps."""
    classes = tuple(sorted(set(record["labels"])))

    def prediction(said: list[str]) -> Any:
        return Prediction((np.array(said)[:, None] == np.array(classes)).astype(float), classes, ())

    labels, groups = np.array(record["labels"]), np.array(record["groups"])
    table, ids = record["table"], tuple(record["ids"])
    predictions = {site: prediction(said) for site, said in record["predicted"].items()}
    swept = SweepResult("distortion", table, predictions, labels, groups, ids, 0, record["seed"], record["n_boot"], 5)
    stimuli = [Stimulus(id, reference, None, None) for id, reference in zip(ids, record["groups"], strict=True)]
    said = [record["answers"][id] for id in ids]
    answers = score_answers(
        stimuli, record["labels"], said, classes, "forced-choice", said, n_boot=record["n_boot"], seed=record["seed"]
    )
    return swept, answers, {name: prediction(said) for name, said in record["read"].items()}
