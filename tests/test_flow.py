"""Data flow is read from a module's own source."""

import pytest
import torch
from torch import nn

from hooks.flow import takes, used


class Joint(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.eye, self.ear, self.bridge, self.mouth = (nn.Linear(2, 2) for _ in range(4))
        self.newline = nn.Parameter(torch.zeros(2))
        self.size = 2

    def get_image_features(self, x: torch.Tensor) -> torch.Tensor:
        return self._packed(self.bridge(self.eye(x)))

    def _packed(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.newline * self.size

    def forward(self, x: torch.Tensor, sound: torch.Tensor | None = None) -> torch.Tensor:
        heard = self.ear(sound)
        return self.mouth(self.get_image_features(x) + heard)


def test_children_and_loose_parameters_come_in_order_of_use() -> None:
    assert used(Joint(), "get_image_features") == ["eye", "bridge", "newline"]
    assert used(Joint(), "forward", follow=False) == ["ear", "mouth"]
    assert used(Joint(), "forward") == ["ear", "eye", "bridge", "newline", "mouth"]


def test_what_is_missing_or_inherited_from_torch_is_empty() -> None:
    assert used(Joint(), "get_video_features") == [] == used(Joint(), "state_dict")
    built = type("Built", (Joint,), {"forward": eval("lambda self, x: self.eye(x)")})()
    assert used(built, "forward") == []  # source is not at hand


@pytest.mark.parametrize(("argument", "there"), [("sound", True), ("cu_seqlens", False)])
def test_arguments_of_forward(argument: str, there: bool) -> None:
    assert takes(Joint(), argument) is there
