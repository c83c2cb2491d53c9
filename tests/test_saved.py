"""What is saved is what others load: the same answers by transformers, by PEFT and by Snellen."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hooks.load import Mllm, load
from stimuli.errors import InputError
from tuning.adapters import trainable
from tuning.copies import copy_for
from tuning.parts import find_part
from tuning.saved import save_adapter, save_checkpoint


def logits(mllm: Mllm, model: Any, six: Any) -> torch.Tensor:
    inputs = mllm.inputs([s.image for s in six[:2]], ["What is it?"] * 2).tensors
    with torch.no_grad():
        found: torch.Tensor = model(**inputs).logits
    return found


def taught(mllm: Mllm, component: str, method: Any) -> Any:
    """A student whose trainable numbers have moved, and its part."""
    part = find_part(mllm.model, mllm.stages, component)
    torch.manual_seed(0)
    student, chosen = trainable(copy_for(mllm.model, part), part, method, 2)
    with torch.no_grad():
        for value in chosen.values():
            value.add_(torch.randn_like(value), alpha=0.05)
    return student


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_a_checkpoint_answers_as_the_tuned_model(family: str, request: Any, six: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    mllm: Mllm = request.getfixturevalue(family)
    tuned = mllm.with_model(taught(mllm, "projector", "full"))
    folder = save_checkpoint(tuned, tmp_path / "tuned", "# card\n")
    wanted = logits(mllm, tuned.model, six)
    assert not torch.equal(wanted, logits(mllm, mllm.model, six))
    plain = AutoModelForImageTextToText.from_pretrained(folder).eval()
    torch.testing.assert_close(logits(mllm, plain, six), wanted, atol=0, rtol=0)
    own = load(folder, device="cpu")
    torch.testing.assert_close(logits(own, own.model, six), wanted, atol=0, rtol=0)
    assert (folder / "README.md").read_text() == "# card\n" and own.stages.sites == mllm.stages.sites
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]


def test_a_checkpoint_keeps_its_dtype(llava_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForImageTextToText

    half = load(llava_folder, device="cpu", dtype="bfloat16", verify=False)
    folder = save_checkpoint(half, tmp_path / "half", "")
    weights = load_file(folder / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}
    assert AutoModelForImageTextToText.from_pretrained(folder).dtype == torch.bfloat16


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_an_adapter_answers_as_its_student(llava: Mllm, llava_folder: Path, six: Any, tmp_path: Path, method: Any) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    student = taught(llava, "vision.5+projector+llm.0", method)
    wanted = logits(llava, student, six)
    folder = save_adapter(student, tmp_path / "adapter", "# card\n")
    about = json.loads((folder / "adapter_config.json").read_text())
    assert about["base_model_name_or_path"] == str(llava_folder) and (folder / "README.md").read_text() == "# card\n"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    plain = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(llava_folder), folder).eval()
    torch.testing.assert_close(logits(llava, plain, six), wanted, atol=1e-5, rtol=1e-5)
    own = load(llava_folder, device="cpu", adapter=folder)
    torch.testing.assert_close(logits(own, own.model, six), wanted, atol=1e-4, rtol=1e-4)
    named = save_adapter(student, tmp_path / "named", "", base="owner/model")
    assert json.loads((named / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/model"


def test_a_folder_that_holds_something_else_is_left_alone(llava: Mllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = taught(llava, "projector", "lora")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with monkeypatch.context() as patched:
        patched.setattr(type(llava.model), "save_pretrained", None)  # refused before gigabytes are written
        with pytest.raises(InputError, match="notes' holds something else already.*Expected a new or an empty folder"):
            save_checkpoint(llava, tmp_path / "notes", "")
    with pytest.raises(InputError, match="holds something else already"):
        save_adapter(student, tmp_path / "notes" / "mine.txt", "")
    assert [p.name for p in (tmp_path / "notes").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    folder = save_adapter(student, tmp_path / "empty", "one")
    stamp = (folder / "adapter_model.safetensors").stat().st_mtime_ns
    save_adapter(student, folder, "two")  # the same weights: the card alone is new
    assert (folder / "README.md").read_text() == "two" and (folder / "adapter_model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="holds something else already"):
        save_adapter(taught(llava, "llm.0", "lora"), folder, "three")
    assert (folder / "README.md").read_text() == "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "notes"]


def test_what_was_cut_off_leaves_no_folder(llava: Mllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **settings: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(type(llava.processor), "save_pretrained", full)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(llava, tmp_path / "tuned", "")
    assert not list(tmp_path.iterdir())


def test_students_and_merged_models_are_not_mixed_up(llava: Mllm, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wears an adapter, so its weights are no checkpoint"):
        save_checkpoint(llava.with_model(taught(llava, "projector", "lora")), tmp_path / "a", "")
    with pytest.raises(InputError, match="Got a LlavaForConditionalGeneration without adapters"):
        save_adapter(llava.model, tmp_path / "a", "")


def test_the_settings_of_a_video_half_are_carried_over(qwen: Mllm, qwen_folder: Path, tmp_path: Path) -> None:
    import shutil

    base = tmp_path / "base"
    shutil.copytree(qwen_folder, base)
    video = {"video_processor_type": "Qwen2VLVideoProcessor", "max_pixels": 12544}
    (base / "processor_config.json").write_text(json.dumps({"processor_class": "Qwen2VLProcessor", "video_processor": video}))
    (base / "video_preprocessor_config.json").write_text(json.dumps(video))
    mllm = load(base, device="cpu", verify=False)
    folder = save_checkpoint(mllm, tmp_path / "tuned", "")
    settings = json.loads((folder / "processor_config.json").read_text())
    assert settings["video_processor"] == video and settings["processor_class"] == "Qwen2VLProcessor"
    assert json.loads((folder / "video_preprocessor_config.json").read_text()) == video
    again = load(folder, device="cpu", verify=False).processor.image_processor
    assert again.to_dict() == mllm.processor.image_processor.to_dict()


def test_what_is_there_is_compared_and_not_written_again(llava: Mllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = llava.with_model(taught(llava, "projector", "full"))
    folder = save_checkpoint(tuned, tmp_path / "tuned", "one")
    with monkeypatch.context() as patched:
        patched.setattr(type(llava.model), "save_pretrained", None)  # would be an error
        assert save_checkpoint(tuned, folder, "two") == folder and (folder / "README.md").read_text() == "two"
        with pytest.raises(InputError, match="holds something else already"):
            save_checkpoint(llava, folder, "three")
        assert (folder / "README.md").read_text() == "two"
    (folder / "snellen.json").unlink()
    save_checkpoint(tuned, folder, "four")  # of an earlier version: written beside it and compared
    assert (folder / "README.md").read_text() == "four" and [path.name for path in tmp_path.iterdir()] == ["tuned"]
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match="holds something else already"):
        save_checkpoint(tuned, folder, "five")


def test_what_a_killed_process_left_is_removed(llava: Mllm, tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    names = {f".run[1].{child.pid}.tmp": False, f".run[1].{os.getpid()}.tmp": False, f".run[1].{os.getppid()}.tmp": True,
             f".run1.{child.pid}.tmp": True, ".run[1].mine.tmp": True}  # fmt: skip
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    save_adapter(taught(llava, "projector", "lora"), tmp_path / "run[1]", "")
    assert {name: (tmp_path / name).is_dir() for name in names} == names
