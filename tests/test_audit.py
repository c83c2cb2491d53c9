"""The checksum notices any change, anywhere outside what is excluded."""

import torch
from torch import nn

from tuning.audit import Audit, checksum, moves


def test_one_bit_outside_changes_the_checksum_and_one_inside_does_not() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = checksum(model, ["0.weight", "0.bias"])
    with torch.no_grad():
        model[0].weight[0, 0] += 1
    assert checksum(model, ["0.weight", "0.bias"]) == before
    model[1].running_mean[0] += 1e-6  # a buffer counts too
    assert checksum(model, ["0.weight", "0.bias"]) != before


def test_moves_are_l2_norms_and_the_audit_sums_up() -> None:
    before = {"a": torch.zeros(4), "b": torch.zeros(1)}
    found = moves(before, {"a": torch.full((4,), 0.5), "b": torch.zeros(1)})
    assert found == {"a": 1.0, "b": 0.0}
    audit = Audit("llm", ("a", "b"), 5, 9, found, "x", "x")
    assert audit.unchanged and audit.as_dict()["largest_move"] == {"name": "a", "norm": 1.0}
    assert not Audit("llm", (), 5, 9, {}, "x", "y").unchanged
