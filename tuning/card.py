"""The model card of a tuned model: what was trained, on what, with which proof, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

LOAD = """\
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained("{here}")
processor = AutoProcessor.from_pretrained("{here}")"""
LOAD_ADAPTER = """\
from peft import PeftModel
from transformers import AutoModelForImageTextToText

base = AutoModelForImageTextToText.from_pretrained("{base}")
model = PeftModel.from_pretrained(base, "{here}").eval()"""
LOCAL = "\n\nThe base model `{base}` lay in a local folder: give the path to it."
NOT_FOR = """\
It was made to find out where information on distortions gets lost in a model, by teaching one part of it. It is no measure of image
quality, and no instrument for decisions on people, for medicine or for evidence. Outside the distortions, the questions and the kind of
images it was trained on, nothing is known of its answers unless it was measured; its other abilities may have suffered, and what the
base model gets wrong or may not be used for stays so."""


def model_card(
    base: str,
    config: Mapping[str, Any],
    audit: Mapping[str, Any],
    results: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    *,
    adapter: bool = False,
    here: str = "this-folder",
    version: str | None = None,
) -> str:
    """A card in the form of the Hugging Face Hub: YAML front matter, then Markdown.

    Args:
        base: name or path of the base model; of a local folder only its name is shown.
        config: settings of the run (``Tuned.config``): method, steps, ``lr``, weights of the objective, size (``train``) and
            fingerprint (``train_sha256``) of the training set. Every setting is listed.
        audit: ``Audit.as_dict()``.
        results: measurements, as a table of rows or by name; None if there are none, which the card says.
        adapter: the card is of a PEFT adapter, not of a checkpoint.
        here: where the model will lie, for the lines that load it.
        version: of Snellen; by default the installed one.

    Returns:
        The text of ``README.md``.
    """
    local = Path(base).is_absolute() or Path(base).is_dir()
    name = Path(base).name if local else base
    front = {
        "base_model": name,
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["snellen", "image-distortions", *(["lora"] if adapter else [])],
    }
    load = (LOAD_ADAPTER if adapter else LOAD).format(base=name, here=here)
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {name}, its {audit.get('part') or audit['component']} tuned",
        _trained(name, config, audit),
        f"## Proof that nothing else changed\n\n{_proof(audit)}",
        f"## How far each layer moved\n\n{_moved(audit)}",
        f"## Results\n\n{_results(results)}",
        f"## Training\n\n{_table([{'setting': k, 'value': v} for k, v in _flat(config)])}",
        f"## How to load it\n\n```python\n{load}\n```{LOCAL.format(base=name) if local and adapter else ''}",
        f"## What it is not for\n\n{NOT_FOR}",
        f"Made with Snellen {version or metadata.version('snellen')}.",
    ]
    return "\n\n".join(parts) + "\n"


def _trained(name: str, config: Mapping[str, Any], audit: Mapping[str, Any]) -> str:
    method = {"full": "its own weights", "lora": "low-rank adapters (LoRA)", "dora": "low-rank adapters (DoRA)"}
    how = str(audit.get("method") or config.get("method") or "full")
    share = audit["n_trained"] / audit["n_total"] if audit["n_total"] else 0.0
    rank = config.get("lora_rank") or config.get("rank")
    text = (
        f"A copy of `{name}` in which one part, `{audit.get('part') or audit['component']}`, was taught to name image distortions, by "
        f"{method.get(how, how)}{f' of rank {rank}' if rank and how != 'full' else ''}. The optimizer moved {audit['n_trained']:,} "
        f"numbers, {share:.2%} of the model's {audit['n_total']:,}."
    )
    facts = [
        ("Steps", config.get("steps")),
        ("Peak learning rate", config.get("lr")),
        ("Quantisation of the base model while it was trained; load it the same", config.get("quantization")),
        ("Training images", config.get("train")),
        ("Fingerprint of the training set (SHA-256)", config.get("train_sha256")),
    ]
    return "\n".join([text, "", *(f"- {what}: {_shown(value)}" for what, value in facts if value is not None)])


def _proof(audit: Mapping[str, Any]) -> str:
    before, after = audit["sha256_before"], audit["sha256_after"]
    note = f" **Except**: {audit['note']}" if audit.get("note") else ""
    if audit["unchanged"]:
        return (
            "Every parameter and buffer outside that part is bit-identical to the base model's: the SHA-256 over their names and checksums "
            f"is `{before}` before and after.{note}"
        )
    return (
        "**Something outside that part changed**: the SHA-256 over the names and checksums of everything else was "
        f"`{before}` before and is `{after}` after. What this model does cannot be put down to the part alone.{note}"
    )


def _moved(audit: Mapping[str, Any]) -> str:
    rows = audit.get("layers") or []
    if not rows:
        move = audit["largest_move"]
        return f"The parameter that moved furthest is `{move['name']}`, by {_shown(move['norm'])} (L2 norm)."
    return "L2 norms over the numbers that may move, of their change and before it.\n\n" + _table(rows)


def _results(results: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> str:
    if not results:
        return "None were measured, or none were given to this card. Do not take it that the tuning helped."
    if isinstance(results, Mapping):
        return _table([{"measure": name, "value": value} for name, value in _flat(results)])
    return _table(results)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as dotted names."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return found


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([_shown(row.get(column)) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: Any) -> str:
    """A value in a cell: four digits, no line breaks, no bars."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 10000 else str(value)
    return str(value).replace("|", "\\|").replace("\n", " ")
