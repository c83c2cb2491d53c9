"""Blocks are found by the library's mark, by declaration, or by their lists."""

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hooks.blocks import groups, joined, labels, width


class Marked(GradientCheckpointingLayer):
    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.attention, self.up, self.down = nn.Linear(size, size), nn.Linear(size, 3 * size), nn.Linear(3 * size, size)


class PlainLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])


class Odd(nn.Module):
    pass


def tower(**parts: nn.Module) -> nn.Module:
    found = nn.Module()
    for name, part in parts.items():
        found.add_module(name, part)
    return found


def test_marked_blocks_are_grouped_by_their_list_and_can_be_left_out() -> None:
    first, second = nn.ModuleList([Marked(), Marked()]), nn.ModuleList([Marked()])
    root = tower(encoder=tower(layers=first), decoder=tower(layers=second), other=nn.ModuleList([PlainLayer(), PlainLayer()]))
    found = groups(root, "model")
    assert [group.names for group in found] == [
        ("model.encoder.layers.0", "model.encoder.layers.1"),
        ("model.decoder.layers.0",),
    ]
    assert [label for _, label in labels(found, found[1])] == ["encoder", ""]
    assert [group.names for group in groups(root, "model", {root.encoder})] == [("model.decoder.layers.0",)]


def test_lists_of_lists_are_one_group_and_parts_of_one_kind_are_joined() -> None:
    stages = nn.ModuleList([nn.ModuleList([Marked()]), nn.ModuleList([Marked(), Marked()])])
    assert [group.names for group in groups(tower(blocks=stages))] == [("blocks.0.0", "blocks.1.0", "blocks.1.1")]
    apart = groups(tower(local=nn.ModuleList([Marked()]), whole=nn.ModuleList([Marked()])))
    assert len(apart) == 2 and [group.names for group in joined(apart)] == [("local.0", "whole.0")]


def test_declared_classes_and_plain_lists_are_used_where_nothing_is_marked() -> None:
    declared = tower(steps=nn.Sequential(Odd(), Odd()))
    type(declared)._can_record_outputs = {"hidden_states": Odd}  # type: ignore[attr-defined]
    try:
        assert [group.names for group in groups(declared)] == [("steps.0", "steps.1")]
    finally:
        del type(declared)._can_record_outputs  # type: ignore[attr-defined]
    plain = tower(layers=nn.ModuleList([PlainLayer(), PlainLayer()]))
    assert [group.names for group in groups(plain)] == [("layers.0", "layers.1")]
    assert groups(tower(steps=nn.Sequential(Odd(), Odd()))) == []


def test_the_width_is_the_size_that_matrices_share() -> None:
    assert width(Marked(8)) == 8 and width(nn.ReLU()) is None
