"""A tuned model as others load it: an ordinary checkpoint, or a PEFT adapter beside the model it was trained on."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hooks.checkpoint import quantization_of
from hooks.checksum import folder_checksum, weights_checksum
from hooks.load import Mllm
from hooks.quiet import quiet
from stimuli.errors import InputError
from stimuli.tables import write_json, write_text

SHARD = "5GB"
STAMP = "snellen.json"
"""In a checkpoint: checksums of the weights in memory and of the files, so that nothing is written again to compare them."""
CARD, SETTINGS, VIDEO = "README.md", "processor_config.json", "video_preprocessor_config.json"


def save_checkpoint(mllm: Mllm, folder: str | Path, card: str) -> Path:
    """Write model, tokenizer and processor as a checkpoint that transformers and ``sn.load`` open.

    Weights keep their dtype and go to safetensors, in shards of at most 5 GB. The folder appears whole or not at all.

    Args:
        mllm: the tuned model, its adapters merged.
        folder: new or empty; one that holds these very weights is left as it is, but for the card.
        card: the text of ``README.md`` (``tuning.card.model_card``).

    Returns:
        The folder.

    Raises:
        InputError: the folder holds something else, or the model wears an adapter.
    """
    if hasattr(mllm.model, "peft_config"):
        raise InputError(
            f"'{mllm.name}' wears an adapter, so its weights are no checkpoint ({quantization_of(mllm.model) or 'unmerged'}). Expected a "
            "model whose adapters are merged. Save the adapter alone, or merge it first."
        )

    folder = Path(folder)
    _sweep(folder)
    weights = weights_checksum(mllm.model)
    held = _stamped(folder)
    if held is not None and held != weights:
        raise InputError(_taken(folder))
    if held is not None:
        write_text(card, folder / CARD)
        return folder

    def write(place: Path) -> None:
        mllm.model.save_pretrained(place, max_shard_size=SHARD)
        _save_processor(mllm.processor, place, str(getattr(mllm.model.config, "_name_or_path", "")))
        write_json({"weights": weights, "files": folder_checksum(place)}, place / STAMP)

    return _written(folder, write, card)


def save_adapter(student: Any, folder: str | Path, card: str, base: str | None = None) -> Path:
    """Write the adapters of a student so that ``PeftModel.from_pretrained`` and ``sn.load(…, adapter=)`` open them.

    Args:
        student: the ``PeftModel`` of ``tuning.adapters.trainable``, before its adapters are merged.
        folder: new or empty; one that holds these very adapters is left as it is, but for the card.
        card: the text of ``README.md``.
        base: name or path of the model they sit on; by default what it was loaded from.

    Returns:
        The folder, with ``adapter_model.safetensors`` and ``adapter_config.json``.

    Raises:
        InputError: the folder holds something else, or the student has no adapters.
    """
    if not hasattr(student, "peft_config"):
        raise InputError(
            f"Got a {type(student).__name__} without adapters. Expected the student of method='lora' or 'dora' before its adapters are "
            "merged. Save it as a checkpoint instead."
        )

    def write(place: Path) -> None:
        student.save_pretrained(place, safe_serialization=True, save_embedding_layers=False)
        about = json.loads((place / "adapter_config.json").read_text(encoding="utf-8"))
        inner = student.get_base_model().config
        name = base or about.get("base_model_name_or_path") or getattr(inner, "_name_or_path", "") or None
        write_json({**about, "base_model_name_or_path": name}, place / "adapter_config.json")

    return _written(Path(folder), write, card)


def _written(folder: Path, write: Callable[[Path], None], card: str) -> Path:
    """Write under a temporary name, then rename."""
    holds = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if holds and folder_checksum(folder) is None:
        raise InputError(_taken(folder))
    _sweep(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        with quiet():
            write(temporary)
        write_text(card, temporary / CARD)
        if not holds:
            if folder.exists():
                folder.rmdir()
            os.replace(temporary, folder)
        elif folder_checksum(folder) == folder_checksum(temporary):
            write_text(card, folder / CARD)
        else:
            raise InputError(_taken(folder))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _stamped(folder: Path) -> str | None:
    """Checksum of the weights that a checkpoint holds, by its stamp; None without one, or if the files have changed since."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return str(stamp["weights"]) if stamp["files"] == folder_checksum(folder) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed while they wrote this folder have left behind."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
        number = left.name.removesuffix(".tmp").rpartition(".")[2]
        if number.isdigit() and not _running(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _running(process: int) -> bool:
    if process == os.getpid():
        return False  # a name that was left by an earlier process of the same number
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # somebody else's
    return True


def _taken(folder: Path) -> str:
    return (
        f"'{folder}' holds something else already, which is left as it is. Expected a new or an empty folder, or one with these very "
        "weights. Give another folder, or remove that one."
    )


def _save_processor(processor: Any, place: Path, source: str) -> None:
    """As the library does; where the video half was left out on loading, its settings are taken from the source as they are."""
    try:
        processor.save_pretrained(place)
    except TypeError:  # what stands for a video processor is no JSON; tokenizer and chat template are written by now
        stored = _stored(source, SETTINGS)
        video = json.loads(stored.read_text(encoding="utf-8")).get("video_processor") if stored else None
        settings = {key: value for key, value in processor.to_dict().items() if key != "video_processor"}
        write_json(settings | ({"video_processor": video} if video else {}), place / SETTINGS)
        beside = _stored(source, VIDEO)
        if beside:
            shutil.copyfile(beside, place / VIDEO)


def _stored(source: str, name: str) -> Path | None:
    """A file of the checkpoint a model came from, if it is on this machine."""
    from transformers.utils import cached_file

    if not source:
        return None
    try:
        found = cached_file(source, name, local_files_only=True)
    except (OSError, ValueError):
        return None
    return Path(found) if found else None
