"""The model card says what was trained, how it was proven, what was measured, and loads what it says it loads."""

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hooks.load import Mllm
from tuning.adapters import trainable
from tuning.audit import Audit
from tuning.card import model_card
from tuning.copies import copy_for
from tuning.parts import find_part
from tuning.saved import save_adapter, save_checkpoint

CONFIG: dict[str, Any] = {
    "component": "vision.4-5+projector",
    "method": "lora",
    "steps": 200,
    "lr": 2e-3,
    "weights": {"answer": 0.55, "replay": 0.45},
    "lora_rank": 8,
    "train": 960,
    "train_sha256": "f00d" * 16,
}
AUDIT = Audit(
    "vision+projector",
    ("w",),
    12345,
    1000000,
    {"w": 0.5},
    "ab" * 32,
    "ab" * 32,
    part="vision.4-5+projector",
    method="lora",
    weights={"w": {"site": "vision.4", "component": "vision", "parameters": 400, "trained": 12345, "before": 2.0}},
).as_dict()


def test_a_card_says_what_was_done() -> None:
    card = model_card("owner/model", CONFIG, AUDIT, adapter=True)
    _, front, body = card.split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["base_model"] == "owner/model" and about["library_name"] == "peft"
    assert {"snellen", "lora"} <= set(about["tags"]) and about["pipeline_tag"] == "image-text-to-text"
    for words in (
        "`vision.4-5+projector`, was taught to name image distortions, by low-rank adapters (LoRA) of rank 8",
        "moved 12,345 numbers, 1.23% of the model's 1,000,000",
        "Steps: 200",
        "Peak learning rate: 0.002",
        "Training images: 960",
        f"Fingerprint of the training set (SHA-256): {'f00d' * 16}",
        f"bit-identical to the base model's: the SHA-256 over their names and checksums is `{'ab' * 32}` before and after",
        "| weights.answer | 0.55 |",
        "| vision.4 | vision | 400 | 12,345 | 0.5 | 2 | 0.25 |",
        f"Made with Snellen {metadata.version('snellen')}.",
        "It is no measure of image\nquality",
    ):
        assert words in body, words


def test_a_card_without_results_says_so_and_one_with_them_shows_them() -> None:
    assert "None were measured, or none were given" in model_card("m", CONFIG, AUDIT)
    rows = [{"measure": "accuracy", "before": 0.125, "after": 0.5, "low": 0.4, "high": 0.6}]
    card = model_card("m", CONFIG, AUDIT, rows)
    assert "| measure | before | after | low | high |" in card and "| accuracy | 0.125 | 0.5 | 0.4 | 0.6 |" in card
    assert "None were measured" not in card
    assert "| accuracy.after | 0.5 |" in model_card("m", CONFIG, AUDIT, {"accuracy": {"after": 0.5}})


def test_a_card_does_not_hide_a_change_elsewhere() -> None:
    card = model_card("m", CONFIG, {**AUDIT, "unchanged": False, "sha256_after": "cd" * 32})
    assert "**Something outside that part changed**" in card and "bit-identical" not in card and "cd" * 32 in card


def test_a_local_path_is_not_shown() -> None:
    card = model_card(str(Path("/somewhere/private/llava")), CONFIG, AUDIT)
    assert "private" not in card and yaml.safe_load(card.split("---\n")[1])["base_model"] == "llava"
    here = model_card("/somewhere/private/llava", CONFIG, AUDIT, adapter=True)
    assert "private" not in here and "`llava` lay in a local folder: give the path to it" in here


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_lines_that_load_it_do(llava: Mllm, llava_folder: Path, tmp_path: Path, method: Any) -> None:
    part = find_part(llava.model, llava.stages, "projector")
    student, chosen = trainable(copy_for(llava.model, part), part, method, 2)
    with torch.no_grad():
        for value in chosen.values():
            value.add_(0.1)
    here = tmp_path / "tuned"
    card = model_card("owner/model", CONFIG, AUDIT, adapter=method == "lora", here=str(here))
    if method == "lora":
        save_adapter(student, here, card)
    else:
        save_checkpoint(llava.with_model(student), here, card)
    code = (here / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line]) <= 5
    made: dict[str, Any] = {}
    exec(code.replace("owner/model", str(llava_folder)), made)
    found = made["model"] if method == "full" else made["model"].merge_and_unload()
    wanted = student if method == "full" else student.merge_and_unload()
    for name, value in wanted.named_parameters():
        torch.testing.assert_close(found.get_parameter(name), value)


def test_what_the_proof_does_not_cover_is_told() -> None:
    note = "2 of the 9 tensors outside the part are offloaded"
    for unchanged in (True, False):
        card = model_card("m", CONFIG, {**AUDIT, "unchanged": unchanged, "note": note})
        assert f"**Except**: {note}" in card
    assert "Except" not in model_card("m", CONFIG, {**AUDIT, "note": ""})


def test_a_card_says_how_the_base_was_quantised() -> None:
    card = model_card("m", {**CONFIG, "quantization": "4bit"}, AUDIT, adapter=True)
    assert "Quantisation of the base model while it was trained; load it the same: 4bit" in card
    assert "Quantisation" not in model_card("m", CONFIG, AUDIT)
