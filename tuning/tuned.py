"""A tuned copy of a model: what it is, and how it is kept on disk and found again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hooks.checkpoint import quantization_of
from hooks.checksum import files_checksum
from hooks.load import Mllm
from hooks.quiet import quiet
from hooks.recipe import difference
from stimuli.errors import InputError
from stimuli.tables import Table, read_json, write_json
from stimuli.types import Stimulus
from tuning import checkpoints
from tuning.audit import Audit, combined, digests
from tuning.card import model_card
from tuning.copies import copy_for, own_adapted
from tuning.lessons import Lesson, replayed
from tuning.parts import Part, find_part
from tuning.processes import Processes
from tuning.saved import save_checkpoint

RECORD, WEIGHTS, REPLAYS, ADAPTER = "tuning.json", "component.safetensors", "replays.json", "adapter"
SHA = "weights_sha256"
"""In the record: the checksum of the file of weights."""


@dataclass(frozen=True)
class Tuned:
    """A tuned copy of a model, and the proof of what was done to it."""

    mllm: Mllm
    audit: Audit
    history: Table = field(repr=False)
    """One row per step: ``step``, ``loss``, its parts (``answer``, ``replay``, … before their weights), the learning ``rate`` and the
    norm of the ``gradient`` before clipping."""
    config: dict[str, Any]
    validation: Table = field(default_factory=list, repr=False)
    """One row per evaluation: ``step`` and ``loss`` of the answers on references that were not learnt from."""
    processes: Mapping[str, Any] = field(default_factory=lambda: {"count": 1, "sharded": False})
    """How many trained it, and whether each held a part of the weights only."""

    def save(self, folder: str | Path, results: Mapping[str, Any] | None = None) -> Path:
        """The whole model as an ordinary checkpoint that plain transformers loads, with a model card.

        Args:
            folder: new, or a checkpoint that was saved so.
            results: numbers for the card, as name to value.
        """
        return save_checkpoint(self.mllm, folder, self.card(results))

    def card(self, results: Mapping[str, Any] | None = None, adapter: bool = False) -> str:
        """The model card: what was trained and how, the proof that nothing else changed, how to load it.

        Args:
            results: numbers, as name to value; without any the card says that none were measured.
            adapter: of the adapter alone.
        """
        base = str(getattr(self.mllm.model.config, "_name_or_path", "")) or self.mllm.name
        return model_card(base, self.config, self.audit.as_dict(), results, adapter=adapter)


def renamed(mllm: Mllm, model: Any, config: Mapping[str, Any]) -> Mllm:
    """The tuned model, its provenance saying so (activations of base and tuned must never share a folder)."""
    return Mllm(model, mllm.processor, mllm.stages, mllm.name, {**mllm.provenance, "tuned": dict(config)})


def save(tuned: Tuned, part: Part, folder: Path) -> None:
    """The part's weights (the adapter is there already), then the record: a folder with a record is a finished run."""
    folder.mkdir(parents=True, exist_ok=True)
    if tuned.config["method"] == "full":
        named = dict(tuned.mllm.model.named_parameters())
        with checkpoints.room(folder):
            save_file({name: named[name].detach().cpu().contiguous().clone() for name in part.parameters}, folder / WEIGHTS)
    record = {
        "config": tuned.config,
        "audit": asdict(tuned.audit),
        "history": tuned.history,
        "validation": tuned.validation,
        "processes": dict(tuned.processes),
        SHA: files_checksum([_weights_of(folder, tuned.config["method"])]),
    }
    write_json(record, folder / RECORD)
    for name in (checkpoints.FILE, REPLAYS):
        (folder / name).unlink(missing_ok=True)


def _weights_of(folder: Path, method: str) -> Path:
    return folder / WEIGHTS if method == "full" else folder / ADAPTER / "adapter_model.safetensors"


def finished(mllm: Mllm, part: Part, config: Mapping[str, Any], out: Path | None) -> Tuned | None:
    """A finished run in ``out`` with the same settings, if any.

    Raises:
        InputError: the folder holds another run.
    """
    if out is None or not (out / RECORD).is_file():
        return None
    if (out / checkpoints.FILE).is_file() and not _whole(out / RECORD):
        return None  # cut off while the record was written: the checkpoint, which goes last, is there to go on from
    saved = _record(out / RECORD)
    changed = difference(saved["config"], json.loads(json.dumps(config)))
    if changed:
        raise InputError(
            f"The folder {out} holds another tuning run ({changed}). Give another folder, or the same settings to reuse it."
        )
    return _opened(mllm, part, saved, out)


def reopen(mllm: Mllm, folder: str | Path) -> Tuned:
    """A finished run from its folder.

    Args:
        mllm: the model that was tuned, untouched.
        folder: what was given to ``tune`` as ``out``.

    Raises:
        InputError: no finished run, one of another model, or of one that was loaded with another quantisation.
    """
    record = Path(folder) / RECORD
    if not record.is_file():
        raise InputError(
            f"The folder {folder} holds no finished tuning run (no {RECORD}). Expected what `snellen tune --out` wrote."
        )
    saved = _record(record)
    then, now = saved["config"].get("quantization"), quantized_as(mllm.model)
    if then != now:
        raise InputError(
            f"The run in {folder} tuned a model loaded with quantization={then!r}, and '{mllm.name}' has {now!r}. Expected the same, as "
            f"adapters fit the rounded weights. Load it with {f'quantization={then!r}' if then else 'no quantization'}."
        )
    if saved["config"]["model"] != combined(digests(mllm.model)):
        raise InputError(
            f"The run in {folder} tuned another model than '{mllm.name}': their weights differ. Give the model it began with."
        )
    part = find_part(mllm.model, mllm.stages, saved["config"]["component"], saved["config"].get("only"))
    return _opened(mllm, part, saved, Path(folder))


def _whole(file: Path) -> bool:
    """Whether a file holds JSON to its end; half of one is left where a rename is not atomic."""
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return True


def _record(file: Path) -> dict[str, Any]:
    """The record of a finished run.

    Raises:
        InputError: it is something else.
    """
    saved = read_json(file, "what `snellen tune --out` wrote")
    about, audit = saved.get("config"), saved.get("audit")
    needed = ("model", "component", "method")
    if not isinstance(about, dict) or not isinstance(audit, dict) or not all(isinstance(about.get(key), str) for key in needed):
        raise InputError(
            f"{file} is no record of a tuning run. Expected its config (with {', '.join(needed)}) and audit, as `snellen tune --out` wrote "
            "them. Tune again into another folder."
        )
    return saved


def _opened(mllm: Mllm, part: Part, saved: Mapping[str, Any], folder: Path) -> Tuned:
    """A finished run of this model.

    Raises:
        InputError: its weights or its record are damaged.
    """
    try:
        weights = _weights_of(folder, saved["config"]["method"])
        if SHA in saved and saved[SHA] != files_checksum([weights]):  # runs of earlier versions lack it
            raise ValueError(f"{weights.name} is not what was written")
        model = copy_of(mllm, part, saved["config"]["method"])
        if saved["config"]["method"] == "full":
            _put(model, load_file(folder / WEIGHTS))
        else:
            model = _merged(model, folder / ADAPTER)
        audit = Audit(**{**saved["audit"], "trained": tuple(saved["audit"]["trained"])})
    except (InputError, torch.OutOfMemoryError):
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"The tuning run in {folder} cannot be opened ({type(error).__name__}: {error}). Expected its weights and {RECORD} as `snellen "
            "tune --out` wrote them. Tune again into another folder."
        ) from error
    return Tuned(
        renamed(mllm, model, saved["config"]),
        audit,
        saved["history"],
        saved["config"],
        saved.get("validation", []),
        saved.get("processes", {}),
    )


def _put(model: Any, values: Mapping[str, torch.Tensor]) -> None:
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in values.items():
            if named[name].shape != value.shape:  # copying would repeat the smaller one
                raise ValueError(f"{name} has the shape {tuple(value.shape)} instead of {tuple(named[name].shape)}")
            named[name].copy_(value)


def quantized_as(model: Any) -> str | None:
    """How a model's weights are quantised: ``4bit`` or ``8bit``, as ``hooks.load`` takes it, or another method's name; None for not."""
    found = getattr(getattr(model, "config", None), "quantization_config", None)
    about = found if isinstance(found, dict) else getattr(found, "__dict__", {})
    bits = [name for name in ("4bit", "8bit") if about.get(f"load_in_{name}") or about.get(f"_load_in_{name}")]
    return bits[0] if bits else quantization_of(model)


def copy_of(mllm: Mllm, part: Part, method: str) -> Any:
    """A copy to tune: with weights of its own where they will be trained; adapters train none of the model's."""
    return copy_for(mllm.model, part if method == "full" else replace(part, parameters=()))


def _merged(model: Any, adapter: Path) -> Any:
    """A copy with an adapter merged into weights of its own."""
    from peft import PeftModel

    with quiet():
        student = PeftModel.from_pretrained(model, adapter)
    own_adapted(student)
    return student.merge_and_unload().eval().requires_grad_(False)


def kept_replays(
    out: Path | None, train: Sequence[Stimulus], ask: Callable[[], Sequence[Lesson]], config: Mapping[str, Any], crew: Processes
) -> tuple[Lesson, ...]:
    """What the untouched model said, asked once, each process its share, and kept beside the checkpoint.

    Args:
        out: folder of the run, or None.
        train: the stimuli that are learnt from.
        ask: gives this process's replays; they may be about more images.
        config: settings of the run.
        crew: the processes that share them.

    Returns:
        Those about images that are learnt from.
    """
    key = {name: config[name] for name in ("model", "train_sha256", "replay_images", "seed")} | {
        "quality": config["quality"] == 0
    }
    file = out / REPLAYS if out is not None else None
    saved = read_json(file, "what the untouched model said") if file is not None and _whole(file) else {}
    if saved.get("of") == key:
        rows = saved["rows"]
    else:
        rows = crew.all_rows([[lesson.stimulus.id, lesson.prompt, lesson.answer] for lesson in ask()])
        rows = (
            _in_order(rows, [s.id for s in replayed(train, config["replay_images"], config["seed"])])
            if crew.world > 1
            else rows
        )
        if file is not None and crew.first:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json({"of": key, "rows": rows}, file)
        crew.wait()
    by_id = {stimulus.id: stimulus for stimulus in train}
    return tuple(Lesson(by_id[id], prompt, answer, -1, "replay") for id, prompt, answer in rows if id in by_id)


def _in_order(rows: Sequence[Sequence[str]], ids: Sequence[str]) -> list[Sequence[str]]:
    """As one process asks: question by question, image by image, each once."""
    prompts = list(dict.fromkeys(prompt for _, prompt, _ in rows))
    place = {id: number for number, id in enumerate(dict.fromkeys([*ids, *(row[0] for row in rows)]))}
    once = {(prompts.index(row[1]), place[row[0]]): row for row in rows}
    return [once[at] for at in sorted(once)]
