"""How far each parameter moved, and what the audit says of it."""

import torch

from tuning.audit import Audit, moves


def test_moves_are_l2_norms_and_the_audit_sums_up() -> None:
    before = {"a": torch.zeros(4), "b": torch.zeros(1)}
    found = moves(before, {"a": torch.full((4,), 0.5), "b": torch.zeros(1)})
    assert found == {"a": 1.0, "b": 0.0}
    audit = Audit("llm", ("a", "b"), 5, 9, found, "x", "x")
    assert audit.unchanged and audit.as_dict()["largest_move"] == {"name": "a", "norm": 1.0}
    assert not Audit("llm", (), 5, 9, {}, "x", "y").unchanged
