"""A tuned model on disk: found again for the same model, training set and settings, and for no other."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.sets import exam_set
from stimuli.types import StimulusSet
from tuning.checkpoints import FILE
from tuning.tune import tune
from tuning.tuned import REPLAYS, quantized_as, reopen

OPTIONS: dict[str, Any] = {"steps": 2, "batch_size": 4, "replay_images": 2, "progress": False}


@pytest.fixture(scope="module")
def train() -> StimulusSet:
    return exam_set(2, levels=(5,), split="train", measure=False)


def test_a_finished_run_is_loaded_and_another_is_refused(llava: Mllm, train: StimulusSet, tmp_path: Path) -> None:
    first = tune(llava, train, "projector", out=tmp_path, **OPTIONS)
    stamp = (tmp_path / "tuning.json").stat().st_mtime_ns
    again = tune(llava, train, "projector", out=tmp_path, **OPTIONS)
    assert (tmp_path / "tuning.json").stat().st_mtime_ns == stamp
    one, other = first.mllm.model.state_dict(), again.mllm.model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert again.audit == first.audit and again.history == first.history
    with pytest.raises(InputError, match=r"holds another tuning run \(seed: 0 → 1\)"):
        tune(llava, train, "projector", out=tmp_path, seed=1, **OPTIONS)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_a_run_with_adapters_is_opened_from_its_adapter(llava: Mllm, train: StimulusSet, tmp_path: Path) -> None:
    first = tune(llava, train, "llm.3", method="lora", out=tmp_path, **OPTIONS)
    again, opened = tune(llava, train, "llm.3", method="lora", out=tmp_path, **OPTIONS), reopen(llava, tmp_path)
    assert not (tmp_path / "component.safetensors").exists()
    for other in (again, opened):
        one, two = first.mllm.model.state_dict(), other.mllm.model.state_dict()
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
        assert other.audit == first.audit
    with pytest.raises(InputError, match="holds no finished tuning run"):
        reopen(llava, tmp_path / "nothing")


def test_a_finished_run_is_not_lent_to_another_model_or_training_set(llava: Mllm, train: StimulusSet, tmp_path: Path) -> None:
    tune(llava, train, "projector", out=tmp_path, **OPTIONS)
    other = copy.deepcopy(llava.model)
    with torch.no_grad():
        other.get_output_embeddings().weight[0, 0] += 1
    with pytest.raises(InputError, match="holds another tuning run .model: "):
        tune(llava.with_model(other), train, "projector", out=tmp_path, **OPTIONS)
    for changed in (train[::-1], exam_set(2, levels=(5,), split="train", seed=1, measure=False)):
        with pytest.raises(InputError, match="holds another tuning run .train_sha256: "):
            tune(llava, changed, "projector", out=tmp_path, **OPTIONS)
    relabelled = tmp_path / "relabelled.yaml"
    relabelled.write_text("name: mine\nclasses: [noise, clean]\ntypes: {gaussian_blur: noise, jpeg: noise}\n")
    with pytest.raises(InputError, match="holds another tuning run .train_sha256: "):
        tune(llava, train, "projector", out=tmp_path, taxonomy=relabelled, **OPTIONS)
    with pytest.raises(InputError, match="held out for the exam"):
        tune(llava, train, "projector", out=tmp_path, held_out=train.references[:1], **OPTIONS)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("method", "file"), [("full", "component.safetensors"), ("lora", "adapter/adapter_model.safetensors")])
def test_one_flipped_bit_of_the_weights_is_told(
    llava: Mllm, train: StimulusSet, tmp_path: Path, method: Any, file: str
) -> None:
    tune(llava, train, "projector", method=method, steps=1, batch_size=4, replay_images=2, progress=False, out=tmp_path)
    weights = bytearray((tmp_path / file).read_bytes())
    weights[-5] ^= 1
    (tmp_path / file).write_bytes(weights)
    with pytest.raises(InputError, match=f"{Path(file).name} is not what was written"):
        reopen(llava, tmp_path)


def test_a_run_that_was_cut_off_while_saving_starts_again(llava: Mllm, train: StimulusSet, tmp_path: Path) -> None:
    first = tune(llava, train, "projector", out=tmp_path, **OPTIONS).mllm.model.state_dict()
    (tmp_path / "tuning.json").unlink()
    (tmp_path / "component.safetensors").write_bytes(b"half")
    again = tune(llava, train, "projector", out=tmp_path, **OPTIONS).mllm.model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first) and (tmp_path / "tuning.json").is_file()


def test_halves_that_a_torn_rename_leaves_are_written_again(llava: Mllm, train: StimulusSet, tmp_path: Path) -> None:
    first = tune(llava, train, "projector", out=tmp_path, **OPTIONS).mllm.model.state_dict()
    record = (tmp_path / "tuning.json").read_text()
    (tmp_path / "tuning.json").write_text(record[: len(record) // 2])
    with pytest.raises(InputError, match="tuning.json cannot be used"):  # no checkpoint: it was finished, and damaged since
        tune(llava, train, "projector", out=tmp_path, **OPTIONS)
    (tmp_path / FILE).write_bytes(b"half")
    (tmp_path / REPLAYS).write_text('{"of": {"mod')
    again = tune(llava, train, "projector", out=tmp_path, **OPTIONS).mllm.model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert json.loads((tmp_path / "tuning.json").read_text())["config"] == json.loads(record)["config"]


@pytest.mark.parametrize(
    ("about", "name"),
    [
        (None, None),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False}, "4bit"),
        ({"quant_method": "bitsandbytes", "_load_in_8bit": True}, "8bit"),
        ({"quant_method": "gptq"}, "gptq"),
    ],
)
def test_quantisation_is_named_as_loading_takes_it(about: Any, name: str | None) -> None:
    from types import SimpleNamespace

    for found in (about, about and SimpleNamespace(**about)):
        assert quantized_as(SimpleNamespace(config=SimpleNamespace(quantization_config=found))) == name
    assert quantized_as(torch.nn.Linear(1, 1)) is None


def test_the_library_s_own_settings_are_understood() -> None:
    from types import SimpleNamespace

    from transformers import BitsAndBytesConfig

    for name in ("4bit", "8bit"):
        config: Any = BitsAndBytesConfig(**{f"load_in_{name}": True})
        for found in (config, config.to_dict()):
            assert quantized_as(SimpleNamespace(config=SimpleNamespace(quantization_config=found))) == name


def test_a_run_on_a_quantised_model_asks_for_the_same(llava: Mllm, train: StimulusSet, tmp_path: Path) -> None:
    tune(llava, train, "projector", out=tmp_path, **{**OPTIONS, "steps": 1, "replay": 0.0})
    record = json.loads((tmp_path / "tuning.json").read_text())
    assert record["config"]["quantization"] is None
    record["config"]["quantization"] = "4bit"
    (tmp_path / "tuning.json").write_text(json.dumps(record))
    with pytest.raises(
        InputError, match="loaded with quantization='4bit', and .* has None. .*Load it with quantization='4bit'"
    ):
        reopen(llava, tmp_path)
    record["config"]["quantization"] = None
    (tmp_path / "tuning.json").write_text(json.dumps(record))
    other = copy.deepcopy(llava.model)
    other.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    with pytest.raises(InputError, match="quantization=None, and .* has '8bit'. .*Load it with no quantization"):
        reopen(llava.with_model(other), tmp_path)
