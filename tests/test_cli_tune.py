"""The command that tunes: one component once, one at several rates, or several."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from snellen.cli import app
from stimuli.errors import InputError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asked for, by the function it asked; nothing is loaded or computed."""
    found: dict[str, Any] = {}

    def compare(
        mllm: Any, train: Any, shown: Any, components: Sequence[str], out: Path, budgets: Any, rates: Any, how: Any
    ) -> None:
        found["compared"] = {"components": list(components), "budgets": budgets, "rates": rates, **how}

    def one(mllm: Any, train: Any, shown: Any, component: str, out: Path, **how: Any) -> Any:
        found["taught"] = {"component": component, **how}
        return SimpleNamespace()

    monkeypatch.setattr("snellen.models.loaded", lambda *given, **how: None)
    monkeypatch.setattr("snellen.taught.training_set", lambda *given, **how: (None, None))
    monkeypatch.setattr("snellen.taught.teach_one", one)
    monkeypatch.setattr("snellen.cli_tune._compare", compare)
    monkeypatch.setattr("snellen.cli_tune._say", lambda *given: None)
    return found


def call(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(app, ["tune", *arguments]).exception


def test_one_component_is_swept_where_budgets_or_rates_are_said(asked: dict[str, Any]) -> None:
    assert call("projector", "--rates", "0.3,1") is None
    assert asked["compared"]["components"] == ["projector"] and asked["compared"]["rates"] == [0.3, 1.0]
    assert asked["compared"]["budgets"] == ["steps"] and "taught" not in asked
    assert call("projector", "--budgets", "steps,parameters") is None
    assert asked["compared"]["budgets"] == ["steps", "parameters"] and asked["compared"]["rates"] == [0.3, 1.0, 3.0]
    asked.clear()
    assert call("projector") is None and asked["taught"]["component"] == "projector" and "compared" not in asked


def test_a_constraint_holds_for_the_component_that_is_swept(asked: dict[str, Any]) -> None:
    for name in ("vision", "vision+constraint"):
        assert call(name, "--rates", "1", "--constraint", "align") is None
        assert asked["compared"]["components"] == ["vision+constraint"] and asked["compared"]["constraint"] == "align"
    assert call("vision", "--rates", "1") is None and asked["compared"]["components"] == ["vision"]


def test_options_that_a_sweep_chooses_are_refused(asked: dict[str, Any]) -> None:
    found = call("llm", "--rates", "0.3,1", "--budgets", "steps", "--method", "lora", "--lr", "0.1")
    assert isinstance(
        found, InputError
    ) and "Got --method, --lr with --budgets, --rates. Comparing chooses these itself" in str(found)
    assert "Leave it out, or leave out --budgets and --rates." in str(found) and not asked


def test_how_many_images_are_asked_at_once_is_said_to_both(asked: dict[str, Any]) -> None:
    assert call("projector", "--ask-batch-size", "5") is None and call("vision", "llm", "--ask-batch-size", "6") is None
    assert asked["taught"]["ask_batch_size"] == 5 and asked["compared"]["ask_batch_size"] == 6
    assert call("projector") is None and asked["taught"]["ask_batch_size"] == 32


def test_a_sweep_needs_references_to_report_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snellen.models.loaded", lambda *given, **how: None)
    monkeypatch.setattr("snellen.taught.training_set", lambda *given, **how: (None, None))
    found = call("vision", "--rates", "1", "--test", "0")
    assert isinstance(found, InputError) and "Got --test 0 with several components, or with --budgets or --rates" in str(found)
