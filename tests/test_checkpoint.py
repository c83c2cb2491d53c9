"""Weights: safetensors only, adapters, quantisation, refusals in words."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hooks.checkpoint import Source, config_of, quantization_of, with_adapter
from hooks.folder import first_line, refuse_pickle
from hooks.load import Mllm, load
from stimuli.errors import InputError


def test_a_pickled_checkpoint_is_refused_with_the_way_to_convert_it(tmp_path: Path, llava_folder: Path) -> None:
    shutil.copytree(llava_folder, tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(
        InputError, match=r"as pickles \(pytorch_model.bin\).*convert it once: python -c .*use_safetensors=False"
    ):
        load(tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").touch()
    refuse_pickle(str(tmp_path / "old"))  # both: the safetensors are read


def test_an_adapter_is_merged_and_recorded(tmp_path: Path, llava: Mllm, llava_folder: Path) -> None:
    from peft import LoraConfig, get_peft_model

    plain = load(llava_folder, device="cpu")
    tuned = get_peft_model(plain.model, LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    tuned.save_pretrained(tmp_path / "adapter")
    found = load(llava_folder, device="cpu", adapter=tmp_path / "adapter")
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(found.model.get_parameter(name), llava.model.get_parameter(name))
    assert found.provenance["adapter"] == "adapter" and list(found.stages.sites) == list(llava.stages.sites)
    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(InputError, match="has no adapter_model.safetensors.*pickled"):
        with_adapter(plain.model, str(tmp_path / "adapter"))


def test_an_adapter_of_another_model_is_refused(tmp_path: Path, llava_folder: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "target_modules": ["nowhere"], "r": 2}))
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(InputError, match="could not be put on LlavaForConditionalGeneration: .*base_model_name_or_path"):
        load(llava_folder, device="cpu", adapter=tmp_path)


def test_quantisation_needs_its_package_and_a_known_name(llava_folder: Path, llava: Mllm) -> None:
    import importlib.util

    with pytest.raises(InputError, match="Unknown quantization '3bit'. Expected one of 4bit, 8bit"):
        load(llava_folder, quantization="3bit")
    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(InputError, match="needs bitsandbytes, which is not installed"):
            load(llava_folder, quantization="4bit")
    assert quantization_of(llava.model) is None


def test_a_dtype_and_a_device_map_are_kept(llava_folder: Path) -> None:
    found = load(llava_folder, dtype="bfloat16", device_map={"": "cpu"})
    assert found.provenance["dtype"] == "bfloat16" and found.model.dtype == torch.bfloat16
    assert found.stages.proof is not None and not found.stages.proof.dead


def test_code_of_a_repository_is_not_run_unless_trusted(tmp_path: Path) -> None:
    config = {"model_type": "stranger", "auto_map": {"AutoConfig": "configuration_stranger.StrangerConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "configuration_stranger.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(InputError, match="trust_remote_code=True"):
        config_of(Source(str(tmp_path)))


def test_errors_are_told_by_kind_and_first_line() -> None:
    assert first_line(ValueError("one.\ntwo")) == "ValueError: one."


def test_devices_and_dtypes_that_are_not_there_are_refused(llava_folder: Path) -> None:
    with pytest.raises(InputError, match="There is no device 'cuda:7' here .*Leave it out"):
        load(llava_folder, device="cuda:7")
    with pytest.raises(InputError, match="Unknown dtype 'float7'. Expected float32"):
        load(llava_folder, dtype="float7")


CODE = """
from transformers import LlavaConfig, LlavaForConditionalGeneration


class StrangerConfig(LlavaConfig):
    model_type = "stranger"


class Stranger(LlavaForConditionalGeneration):
    config_class = StrangerConfig
"""


def test_a_repository_s_own_model_is_found_once_its_code_is_trusted(tmp_path: Path, llava: Mllm, llava_folder: Path) -> None:
    folder = tmp_path / "stranger"
    shutil.copytree(llava_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    offered = {"AutoConfig": "modeling_stranger.StrangerConfig", "AutoModelForCausalLM": "modeling_stranger.Stranger"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "stranger", "auto_map": offered}))
    (folder / "modeling_stranger.py").write_text(CODE)
    with pytest.raises(InputError, match="trust_remote_code=True"):
        load(folder, device="cpu")
    with pytest.raises(InputError, match=r"lacks 1 weights of its model \(first: lm_head.weight\), which would be random"):
        load(folder, device="cpu", trust_remote_code=True)  # the library knows the saved names of its own models alone
    save_file(llava.model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    found = load(folder, device="cpu", trust_remote_code=True)
    assert found.provenance["class"] == "Stranger" and found.stages.sites == llava.stages.sites
    assert found.stages.proof is not None and found.stages.proof.reached == (64, 64)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 100), "could not be loaded: .*Save it again with"),
        (
            lambda folder: [file.unlink() for file in folder.glob("token*")],
            "The processor of .* could not be loaded: .*processor=",
        ),
        (lambda folder: (folder / "config.json").write_text("no json"), "is not a model that can be loaded: "),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "nonesuch"}'),
            "is not a model that can be loaded: ",
        ),
    ],
)
def test_damaged_checkpoints_are_refused_in_words(
    tmp_path: Path, llava_folder: Path, damage: Callable[[Path], object], words: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(llava_folder, folder)
    damage(folder)
    with pytest.raises(InputError, match=words):
        load(folder, device="cpu")
