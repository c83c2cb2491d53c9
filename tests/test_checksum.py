"""The checksum notices any change, anywhere outside what is excluded."""

from pathlib import Path

import torch
from torch import nn

from hooks.checksum import folder_checksum, weights_checksum


def test_one_bit_outside_changes_the_checksum_and_one_inside_does_not() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = weights_checksum(model, ["0.weight", "0.bias"])
    with torch.no_grad():
        model[0].weight[0, 0] += 1
    assert weights_checksum(model, ["0.weight", "0.bias"]) == before
    model[1].running_mean[0] += 1e-6  # a buffer counts too
    assert weights_checksum(model, ["0.weight", "0.bias"]) != before


def test_a_folder_s_checksum_is_of_its_weights(tmp_path: Path) -> None:
    assert folder_checksum("owner/name") is None and folder_checksum(tmp_path) is None
    (tmp_path / "a.safetensors").write_bytes(b"one")
    first = folder_checksum(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert folder_checksum(tmp_path) == first
    (tmp_path / "a.safetensors").write_bytes(b"two")
    assert folder_checksum(tmp_path) not in (first, None)


def test_weights_that_are_not_at_hand_count_by_name() -> None:
    with torch.device("meta"):
        assert (
            weights_checksum(nn.Linear(2, 2))
            == weights_checksum(nn.Linear(3, 3))
            != weights_checksum(nn.Linear(2, 2, bias=False))
        )
