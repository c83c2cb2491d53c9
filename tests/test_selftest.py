"""The self-test runs once per checkpoint when a model is loaded."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hooks import selftest
from hooks.load import Mllm, load
from hooks.stages import Stages
from stimuli.errors import InputError


def test_a_second_load_of_the_same_checkpoint_is_not_run_again(
    llava: Mllm, llava_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*arguments: object) -> Stages:
        raise AssertionError("run again")

    monkeypatch.setattr(Stages, "verify", again)
    assert load(llava_folder, device="cpu").stages is selftest.proven(replace(llava, stages=replace(llava.stages, proof=None)))


def test_it_can_be_left_out(llava_folder: Path) -> None:
    found = load(llava_folder, device="cpu", verify=False)
    assert found.stages.proof is None and found.provenance["self_test"] is None


def test_the_provenance_tells_cost_and_dead_ends(llava: Mllm) -> None:
    assert llava.provenance["self_test"]["dead_ends"] == [] and llava.provenance["self_test"]["seconds"] > 0


def test_a_processor_that_makes_no_inputs_is_named(llava: Mllm) -> None:
    class Deaf:
        tokenizer = llava.processor.tokenizer

        def __call__(self, **given: object) -> None:
            raise TypeError("I take sounds")

    with pytest.raises(InputError, match="The processor Deaf made no inputs.*I take sounds.*verify=False"):
        load(llava.model, Deaf())
    with pytest.raises(
        InputError, match=r"Got a LlavaForConditionalGeneration without its processor.*sn.load\(model, processor\)"
    ):
        load(llava.model)


def test_the_user_s_own_model_is_taken_as_it_is(llava: Mllm) -> None:
    found = load(llava.model, llava.processor)
    assert found.model is llava.model and found.stages.proof is not None


def test_running_out_of_memory_is_said_with_the_ways_out(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> Stages:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Stages, "verify", full)
    monkeypatch.setattr(selftest, "_PROVEN", {})
    with pytest.raises(InputError, match="ran out of memory on cpu.*device_map='auto', or leave it out with verify=False"):
        load(llava.model, llava.processor)
