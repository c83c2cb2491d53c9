"""Models by name."""

import pytest

import snellen as sn
from snellen.models import describe_stages
from stimuli.errors import InputError


def test_the_packaged_patients_load_by_name() -> None:
    mllm = sn.load("embedded")
    assert mllm.name == "embedded" and mllm.provenance["class"] == "LlavaForConditionalGeneration"
    assert mllm.provenance["checksum"] != sn.load("embedded-template").provenance["checksum"]


def test_stages_are_described_from_the_config_alone() -> None:
    lines = describe_stages("embedded")
    assert lines[0].startswith("LlavaForConditionalGeneration; parameters: vision 2,")
    assert any(line.startswith("projector") for line in lines)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="Unknown model 'embeded'.*Check the spelling"):
        sn.load("embeded")
