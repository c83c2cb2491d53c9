"""The way off the device: types, and NaN told from large numbers."""

import torch

from hooks.outbox import Outbox
from hooks.ragged import Ragged, joined


def test_rows_arrive_in_the_wanted_type() -> None:
    rows = torch.randn(3, 4)
    parcel = Outbox().send({"a": rows, "t": Ragged.of([rows[:1], rows[1:]])}, torch.bfloat16)
    parcel.wait()
    value, tokens = parcel.values["a"], parcel.values["t"]
    assert isinstance(value, torch.Tensor) and torch.equal(value, rows.bfloat16()) and parcel.bad() == {}
    assert isinstance(tokens, Ragged) and tokens.counts == (1, 2) and tokens.rows.dtype == torch.bfloat16


def test_nan_and_infinity_are_found_by_stimulus_and_site_and_large_numbers_are_not() -> None:
    rows = torch.ones(4, 3)
    rows[1, 2], rows[2] = float("nan"), torch.finfo(torch.float32).max  # the sum of the latter overflows
    infinite = torch.ones(4, 2).half()
    infinite[3, 0] = float("inf")
    parcel = Outbox().send({"a": rows, "b": infinite, "t": Ragged(rows, (1, 1, 2, 0)[:3])}, None)
    assert parcel.bad() == {1: ["a", "t"], 3: ["b"]}


def test_lots_are_joined_in_order() -> None:
    one, two = torch.zeros(1, 2), torch.ones(2, 2)
    assert torch.equal(joined([one, two]), torch.cat([one, two]))  # type: ignore[arg-type]
    both = joined([Ragged.of([one]), Ragged.of([two, one])])
    assert isinstance(both, Ragged) and both.counts == (1, 2, 1) and both.ends().tolist() == [0, 1, 3, 4]
    assert both[1:].counts == (2, 1) and both[[2, 0]].rows.tolist() == [[0, 0], [0, 0]]
