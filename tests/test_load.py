"""Loading, provenance and refusals."""

import json
import warnings
from pathlib import Path

import pytest

from hooks.checksum import folder_checksum
from hooks.load import Mllm, load
from stimuli.errors import InputError


def test_a_model_comes_with_its_map_and_provenance(llava: Mllm, llava_folder: Path) -> None:
    assert not llava.model.training and llava.provenance["dtype"] == "float32"
    assert llava.provenance["image_processor"] == "CLIPImageProcessorPil"
    assert llava.provenance["checksum"] == folder_checksum(llava_folder)
    assert sum(llava.provenance["parameters"].values()) == sum(p.numel() for p in llava.model.parameters())


def test_loading_is_quiet(llava_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(llava_folder, device="cpu")
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == ""


def test_what_is_no_model_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Unknown model 'nothing': there is no such folder, and it is no hub id"):
        load("nothing")
    with pytest.raises(InputError, match="has no config.json, so it is no checkpoint"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="holds a bert model, which does not take images and text to text"):
        load(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path, llava_folder: Path) -> None:
    (tmp_path / "config.json").write_text((llava_folder / "config.json").read_text())
    with pytest.raises(InputError, match="could not be loaded: .*Save it again with save_pretrained"):
        load(tmp_path)
