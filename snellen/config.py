"""The settings of an exam: defaults, budgets, a YAML file, overrides; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stimuli.errors import InputError
from stimuli.yaml_files import parsed, read_yaml

ARMS = ("projector", "llm", "vision", "vision+constraint")
BUDGETS: Mapping[str, Mapping[str, int | str]] = {
    "demo": {
        "references": 40,
        "train_references": 160,
        "steps": 100,
        "batch_size": 16,
        "interview": "brief",
        "few": 6,
        "repeats": 3,
        "plane": "pca",
        "cause": 14,
        "maps": 0,
    },
    "full": {
        "references": 80,
        "train_references": 480,
        "steps": 400,
        "batch_size": 32,
        "interview": "thorough",
        "few": 24,
        "repeats": 5,
        "plane": "umap",
        "cause": 40,
        "maps": 40,
    },
}
"""What a budget sets unless it is set by hand: exam and training references, steps per arm, lessons per step, how much is asked, how
many references the longer questions are about, answers drawn per image, and how token features are shown in a plane."""


class ExamConfig(BaseModel):
    """Everything that decides an exam's numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "embedded"
    images: str = "embedded"
    """``embedded`` (the built-in set) or a folder of pristine images, which are then distorted."""
    taxonomy: str = "paper8"
    levels: tuple[int, ...] = (2, 3, 4, 5)
    budget: Literal["demo", "full"] = "demo"
    references: int
    train_references: int
    steps: int
    batch_size: int
    interview: Literal["off", "brief", "thorough"]
    """What is asked besides forced choice and the open question (``analysis.interview``)."""

    @field_validator("interview", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        """YAML reads a bare ``off`` as false."""
        return "off" if value is False else value

    few: int
    """References of its longer questions."""
    repeats: int
    """Answers drawn per image of these, at a temperature of 1."""
    prior: dict[str, float] | None = None
    """Class to share of the training templates, where known: answers are held against it."""
    plane: Literal["umap", "pca"]
    """How token features before and after are projected for the eye (``analysis.plane``); UMAP takes 18 s longer."""
    cause: int = Field(ge=0)
    """References in which features are exchanged, attention is cut and states are read (``snellen.exam_cause``); 0 leaves it out."""
    maps: int = Field(ge=0)
    """References parts of which are distorted, to map where the model can tell (``snellen.exam_maps``); 0 leaves it out."""
    arms: tuple[str, ...] = ARMS
    """What is tuned alone: components as ``sn.tune`` takes them, with ``+constraint`` for the constraint; single components decide."""
    method: Literal["full", "lora", "dora"] = "full"
    lr: float | None = None
    replay: float = 0.45
    constraint: str = "align+keep"
    """What an arm with ``+constraint`` adds (``tuning.constraints``)."""
    constraint_weight: float = 1.0
    folds: int = 5
    n_boot: int = 1000
    seed: int = 0
    dtype: str | None = None
    device: str | None = None
    device_map: str | None = None
    quantization: Literal["4bit", "8bit"] | None = None
    adapter: str | None = None
    stages: dict[str, str | tuple[str, ...]] | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    random_baseline: bool = True
    strict: bool = False


def build(file: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> ExamConfig:
    """Settings from defaults, then a YAML file, then overrides.

    Raises:
        InputError: unreadable file, unknown key (the known ones are listed) or a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    if file is not None:
        values |= _read(Path(file))
    values |= {key: value for key, value in (overrides or {}).items() if value is not None}
    budget = values.get("budget", "demo")
    if not isinstance(budget, str) or budget not in BUDGETS:
        raise InputError(f"Unknown budget '{budget!s:.200}'. Expected one of {', '.join(BUDGETS)}. Use one of these.")
    try:
        return ExamConfig.model_validate({**BUDGETS[budget], **values})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = ", ".join(ExamConfig.model_fields)
        raise InputError(
            f"The exam setting '{where}' cannot be used: {first['msg']} (got {first['input']!r:.200}). Known settings: {known}."
        ) from error


def parse_overrides(pairs: Sequence[str], option: str = "--set", example: str = "seed=1") -> dict[str, Any]:
    """``["seed=1", "levels=[3,5]"]`` as a mapping; values are read as YAML.

    Args:
        pairs: as given on the command line.
        option: the option they were given with, for the message.
        example: a pair that is right, for the message.

    Raises:
        InputError: a pair without ``=``, or a value that is no YAML.
    """
    result = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"Got {option} {pair}; expected KEY=VALUE, such as {option} {example}.")
        try:
            result[key.strip()] = parsed(value)
        except ValueError as error:
            raise InputError(f"Got {option} {pair:.200}, whose value is no YAML ({error}). Quote what is text.") from error
    return result


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as error:
        raise InputError(f"The config {path} cannot be read ({error}). Expected a YAML file of exam settings.") from error
    if not isinstance(content, dict):
        raise InputError(f"The config {path} holds {type(content).__name__}; expected YAML of the form 'key: value'.")
    return content
