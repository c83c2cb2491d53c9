"""Models by name."""

import pytest

import snellen as sn
from snellen.models import describe_stages, loaded
from stimuli.errors import InputError


def test_the_packaged_patients_load_by_name() -> None:
    mllm = sn.load("embedded")
    assert mllm.name == "embedded" and mllm.provenance["class"] == "LlavaForConditionalGeneration"
    assert mllm.provenance["checksum"] != sn.load("embedded-template").provenance["checksum"]


def test_stages_are_described_from_the_config_alone() -> None:
    lines, table = describe_stages("embedded")
    assert lines[:2] == [
        "LlavaForConditionalGeneration: parameters vision 2.24 M, projector 56.6 k, llm 1.49 M",
        "the projector reads vision.5",
    ]
    assert any(line.startswith("vision.0 .. 4") for line in lines) and len(table) == 13


def test_proven_stages_say_what_the_self_test_saw() -> None:
    lines, table = describe_stages("embedded", prove=True, every=True)
    assert lines[2].startswith("self-test passed in") and "of which the projector reaches [64, 64]" in lines[2]
    assert len(lines) == len(table) + 5 and {row["times"] for row in table} == {1}


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="Unknown model 'embeded'.*Check the spelling"):
        sn.load("embeded")


def test_how_to_load_comes_as_pairs() -> None:
    assert loaded("embedded", ["dtype=bfloat16", "verify=false"]).provenance["dtype"] == "bfloat16"
    patterns = "{vision: model.vision_tower.encoder.layers.*, projector: model.multi_modal_projector, llm: model.language_model.layers.*}"
    assert loaded("embedded", [f"stages={patterns}"]).stages.proof is not None
    with pytest.raises(InputError, match="Unknown --load dtyp. Expected one of dtype, device"):
        loaded("embedded", ["dtyp=bfloat16"])
    with pytest.raises(InputError, match="Got --load bfloat16; expected KEY=VALUE, such as --load dtype=bfloat16"):
        loaded("embedded", ["bfloat16"])
