"""Components are taught at matched budgets, the rate is chosen on references that are reported nowhere."""

import gc
import json
import math
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn
from typer.testing import CliRunner

from hooks.load import Mllm
from snellen import teaching
from snellen.cli import app
from snellen.cli_tune import _line
from snellen.matching import equal_ranks
from snellen.teaching import teach
from stimuli.errors import InputError
from stimuli.sets import exam_set
from stimuli.types import StimulusSet
from tuning.adapters import count
from tuning.loop import Diverged
from tuning.parts import Part, find_part
from tuning.settings import default_rate

OPTIONS: dict[str, Any] = {"steps": 2, "batch_size": 4, "replay_images": 2, "progress": False, "n_boot": 50, "validation": 0.34}


@pytest.fixture(scope="module")
def train() -> StimulusSet:
    return exam_set(3, levels=(5,), split="train", measure=False)


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_budgets_are_matched_and_the_best_rate_is_reported(llava: Mllm, train: StimulusSet, tmp_path: Path) -> None:
    shown = exam_set(3, levels=(5,))
    names = ("projector", "llm.3")
    how: dict[str, Any] = {
        "budgets": ("seconds", "parameters", "steps"),
        "rates": (0.1, 100.0),
        "further": 0,
        "out": tmp_path,
        **OPTIONS,
    }
    done = teach(llava, train, shown, names, **how)
    assert [(row["budget"], row["component"]) for row in done.matrix] == [
        (b, c) for b in ("steps", "parameters", "seconds") for c in names
    ]
    assert len(done.rates) == 12 and all(row["unchanged"] for row in done.matrix)
    for row in done.matrix:
        own = [one for one in done.rates if (one["budget"], one["component"]) == (row["budget"], row["component"])]
        best = min(own, key=lambda one: one["loss"])
        assert [one["chosen"] for one in own] == [one is best for one in own] and row["rate"] == best["rate"]
    equal = [row["n_trained"] for row in done.matrix if row["budget"] == "parameters"]
    assert max(equal) < 1.5 * min(equal), "ranks are chosen for it"
    slowest = max(row["seconds"] for row in done.rates if row["budget"] == "steps")
    assert all(row["seconds"] >= slowest for row in done.rates if row["budget"] == "seconds")
    assert {row["measure"] for row in done.forgotten} >= {"description", "quality SRCC"}
    assert json.loads((tmp_path / "teaching.json").read_text())["matrix"] and (tmp_path / "forgotten.csv").is_file()


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_one_step_of_each_end_to_end(llava: Mllm, train: StimulusSet, tmp_path: Path) -> None:
    shown = exam_set(2, levels=(5,), taxonomy="paper8")
    names, how = ("projector", "llm.3"), {**OPTIONS, "steps": 1}
    done = teach(llava, train, shown, names, rates=(1.0,), out=tmp_path, **how)
    assert [row["component"] for row in done.matrix] == list(names)
    assert all(row["unchanged"] and row["edge"] and row["steps"] == 1 and math.isfinite(row["loss"]) for row in done.matrix)
    assert {row["component"] for row in done.forgotten} == set(names) and any(not row["rehearsed"] for row in done.forgotten)
    assert {path.name for path in (tmp_path / "answers").iterdir()} == {"base", "steps-projector-1", "steps-llm.3-1"}
    again = teach(llava, train, shown, names, rates=(1.0,), out=tmp_path, **how)
    assert again.matrix == done.matrix and again.rates == done.rates


class Stub:
    """Stands for ``tune``: losses by component and rate, and how many models of earlier runs are still in memory."""

    def __init__(self, losses: dict[str, tuple[float | None, ...]]) -> None:
        self.losses = {name: iter(values) for name, values in losses.items()}
        self.made: list[tuple[float, Any]] = []
        self.alive: list[int] = []
        self.seconds: list[float] = []

    def __call__(self, mllm: Any, train: Any, component: str, *, lr: float, **how: Any) -> Any:
        self.alive.append(sum(made() is not None for _, made in self.made))
        self.seconds.append(how.get("seconds") or 0.0)
        loss = next(self.losses[component])
        if loss is None:
            raise Diverged("The loss is nan at step 3")
        model: Any = nn.Linear(1, 1)
        model.forward = model.forward  # as accelerate leaves it: it refers to itself
        self.made.append((lr, weakref.ref(model)))
        audit = SimpleNamespace(n_trained=7, unchanged=True)
        return SimpleNamespace(mllm=SimpleNamespace(model=model), history=[{"step": 1, "seconds": 2.0}], audit=audit,
                               validation=[{"loss": loss}], config={})  # fmt: skip


def taught(monkeypatch: pytest.MonkeyPatch, stub: Stub, *arguments: Any, **how: Any) -> tuple[teaching.Teaching, list[Any]]:
    """Run with stubs of everything that computes; also which models were measured."""
    measured: list[Any] = []

    def measure(setting: Any, tuned: Any, out: Any) -> Any:
        measured.append((out, next(lr for lr, made in stub.made if made() is tuned.mllm.model), setting.about["batch_size"]))
        return {**dict.fromkeys(teaching.MEASURED, 0.5), "p": 0.01, "unchanged": True}, []

    base = SimpleNamespace(balanced_accuracy=0.1, balanced_low=0.0, balanced_high=0.2, chance=0.125)
    monkeypatch.setattr(teaching._Setting, "_measured", measure)
    for name, value in {"tune": stub, "ask": lambda *_, **__: base, "knowledge": lambda *_, **__: None}.items():
        monkeypatch.setattr(teaching, name, value)
    how = {"further": 0, **how}
    gc.freeze()  # what is there already need not be looked through again after every run
    try:
        return teach(*arguments, progress=False, **how), measured
    finally:
        gc.unfreeze()


def test_a_rate_that_diverges_loses_and_the_others_go_on(
    llava: Mllm, train: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub({"projector": (1.0, math.nan, 0.5), "llm.3": (None, None, None), "llm.2": (None, 0.8, 0.9)})
    done, measured = taught(
        monkeypatch, stub, llava, train, exam_set(2, levels=(5,)), ("projector", "llm.3", "llm.2"), ask_batch_size=5
    )
    assert [row["loss"] for row in done.rates] == [1.0, math.inf, 0.5, math.inf, math.inf, math.inf, math.inf, 0.8, 0.9]
    assert [row["chosen"] for row in done.rates] == [False, False, True, *[False] * 4, True, False]
    assert [row["edge"] for row in done.rates] == [False, False, True, *[False] * 6]
    assert (
        "watched references is nan" in done.rates[1]["note"] and "diverged: The loss is nan at step 3" in done.rates[3]["note"]
    )
    first, none, last = done.matrix
    assert none["note"] == "every rate diverged" and math.isnan(none["balanced_accuracy"]) and math.isnan(none["p_holm"])
    assert first["p_holm"] == last["p_holm"] == 0.02, "Holm over what was measured"
    assert [batch for _, _, batch in measured] == [5, 5]
    assert "a better one may lie beyond it" in _line(first) and "may lie beyond" not in _line(last)
    assert "not measured: every rate diverged; lower --rates" in _line(none)


def test_while_the_best_rate_is_the_last_tried_others_are_tried_beyond_it(
    llava: Mllm, train: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = {"llm.3": (3.0, 2.0, 1.0, 0.5, 0.7), "llm.2": (1.0, 2.0, 3.0, 0.9, 0.8, 0.1), "llm.1": (1.0, 0.5, 2.0)}
    losses |= {"llm.0": (3.0, 2.0, 1.0, None)}
    shown = exam_set(2, levels=(5,))
    done, measured = taught(monkeypatch, Stub(losses), llava, train, shown, tuple(losses), rates=(0.3, 1.0, 3.0), further=2)
    tried = {name: [row["factor"] for row in done.rates if row["component"] == name] for name in losses}
    assert tried["llm.3"] == pytest.approx([0.3, 1, 3, 9, 27]) and tried["llm.1"] == [0.3, 1.0, 3.0]
    assert tried["llm.2"] == pytest.approx([0.3, 1, 3, 0.09, 0.027]) and tried["llm.0"] == pytest.approx([0.3, 1, 3, 9])
    best = {row["component"]: (row["factor"], row["edge"]) for row in done.matrix}
    assert best["llm.3"] == (pytest.approx(9), False) and best["llm.1"] == (1.0, False)
    assert best["llm.2"] == (pytest.approx(0.027), True), "two are all: a better one may still lie beyond"
    assert best["llm.0"] == (3.0, False), "beyond it lies one that diverged"
    with pytest.raises(InputError, match="further=-1"):
        taught(monkeypatch, Stub({}), llava, train, shown, ("llm.3",), further=-1)


def test_only_the_best_model_is_kept(llava: Mllm, train: StimulusSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, names = exam_set(2, levels=(5,)), ("projector", "llm.3")
    stub = Stub({"projector": (3.0, 1.0, 2.0), "llm.3": (1.0, 2.0, 3.0)})
    _, measured = taught(monkeypatch, stub, llava, train, shown, names)
    assert stub.alive == [0, 1, 1, 0, 1, 1]
    assert [lr for _, lr, _ in measured] == [stub.made[1][0], stub.made[3][0]]
    stub, opened = Stub({"projector": (3.0, 1.0, 2.0), "llm.3": (1.0, 2.0, 3.0)}), []

    def reopen(mllm: Mllm, folder: Path) -> Any:
        opened.append(folder.name)
        assert not any(made() for _, made in stub.made)
        model = nn.Linear(1, 1)
        stub.made.append((0.0, weakref.ref(model)))
        return SimpleNamespace(mllm=SimpleNamespace(model=model))

    monkeypatch.setattr(teaching, "reopen", reopen)
    _, measured = taught(monkeypatch, stub, llava, train, shown, names, out=tmp_path)
    assert stub.alive == [0] * 6 and opened == ["steps-projector-1", "steps-llm.3-0.3"]
    assert [out.name for out, _, _ in measured] == opened, "another winner has another folder of answers"


def test_without_a_time_nothing_is_taught_at_equal_time(
    llava: Mllm, train: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, how = exam_set(2, levels=(5,)), {"rates": (1.0,), "budgets": ("steps", "seconds")}
    done, _ = taught(monkeypatch, Stub({"llm.3": (None,)}), llava, train, shown, ("llm.3",), **how)
    assert [row["note"] for row in done.matrix] == [
        "every rate diverged", "every run at equal steps diverged, so that no time is known"
    ]  # fmt: skip
    stub = Stub({"llm.3": (1.0, 1.0), "llm.2": (None, 1.0)})
    taught(monkeypatch, stub, llava, train, shown, ("llm.3", "llm.2"), **how)
    assert stub.seconds == [0.0, 0.0, 2.0, 2.0]


def test_replays_are_asked_for_as_the_runs_are(llava: Mllm, train: StimulusSet, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        teaching, "own_words", lambda m, s, count, seed, progress, batch_size, **_: asked.append((count, seed, batch_size))
    )

    class Asking(Stub):
        def __call__(self, *arguments: Any, **how: Any) -> Any:
            how["replays"]()
            return super().__call__(*arguments, **how)

    shown = exam_set(2, levels=(5,))
    for how in ({}, {"replay_images": 3, "micro_batch": 2, "seed": 4}):
        taught(monkeypatch, Asking({"llm.3": (1.0, 1.0, 1.0)}), llava, train, shown, ("llm.3",), **how)
    assert asked == [(512, 0, 64), (3, 4, 8)], "once for all runs"


def wide(sizes: dict[str, tuple[tuple[int, int], ...]]) -> tuple[Any, dict[str, Part]]:
    """Linear layers of these sizes without memory, as parts."""
    model: Any = nn.Module()
    parts = {}
    for name, shapes in sizes.items():
        layers = nn.ModuleList([nn.Linear(*shape, bias=False, device="meta") for shape in shapes])
        model.add_module(name, layers)
        parts[name] = Part(name, (name,), tuple(f"{name}.{i}.weight" for i in range(len(shapes))), None)
    return SimpleNamespace(model=model), parts


def test_equal_parameters_are_equal_on_a_large_model() -> None:
    block = ((4096, 4096),) * 4 + ((4096, 11008), (4096, 11008), (11008, 4096))
    mllm, parts = wide({"projector": ((1024, 4096), (4096, 4096)), "llm": block * 32})  # LLaVA-1.5-7B
    least = {name: count(mllm.model, part, "lora", 1) for name, part in parts.items()}
    assert 8 * least["projector"] == 106_496 and least["llm"] == 2_498_560
    target, ranks = equal_ranks(mllm, parts)
    assert target == 2_498_560 and ranks == {"projector": 188, "llm": 1}
    assert abs(count(mllm.model, parts["projector"], "lora", 188) / target - 1) < 0.005
    with pytest.raises(
        InputError, match=r"Got parameters=106496, but the nearest that LoRA trains in 'llm' is 2498560 \(rank 1\)"
    ):
        equal_ranks(mllm, parts, 106_496)
    assert equal_ranks(mllm, parts, 2_600_000)[1] == {"projector": 195, "llm": 1}
    with pytest.raises(InputError, match="meets within 10%. Give parameters="):
        equal_ranks(mllm, parts, 200_000_000)  # more than the projector can use
    alike, parts = wide({"vision": ((100, 100),), "llm": ((100, 200),)})
    assert equal_ranks(alike, parts)[0] == 1600, "rank 8 of the smallest"


def test_deviation_from_the_target_is_told(llava: Mllm, train: StimulusSet, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("projector", "llm.3")
    stub = Stub({name: (1.0,) for name in names})
    done, _ = taught(monkeypatch, stub, llava, train, exam_set(2, levels=(5,)), names, budgets=("parameters",), rates=(1.0,))
    parts = {name: find_part(llava.model, llava.stages, name) for name in names}
    for row in done.matrix:
        trained = count(llava.model, parts[row["component"]], "lora", row["rank"])
        assert row["deviation"] == pytest.approx(trained / done.config["parameters"] - 1)
        assert abs(trained - done.config["parameters"]) <= trained / row["rank"] / 2, "half of what one rank trains"
        assert row["n_trained"] == 7, "what the audit counted"


def test_large_models_get_the_rates_of_their_kind() -> None:
    mllm: Any = SimpleNamespace(model=nn.Linear(20_000, 20_000, device="meta"))
    rate = lambda method, *components: default_rate(mllm, Part("", components, (), None), method)  # noqa: E731
    assert (rate("full", "vision"), rate("full", "projector"), rate("full", "llm")) == (1e-5, 1e-3, 2e-5)
    assert rate("full", "projector", "llm") == 2e-5 and rate("lora", "vision", "llm") == rate("dora", "projector") == 2e-4


@pytest.mark.parametrize(
    "option", [("--method", "full"), ("--rank", "8"), ("--only", "norm"), ("--lr", "0.1"), ("--patience", "2")]
)
def test_options_of_one_component_are_refused_for_several(option: tuple[str, str]) -> None:
    found = CliRunner().invoke(app, ["tune", "vision", "llm", *option]).exception
    assert isinstance(found, InputError) and f"Got {option[0]} with several components (vision, llm)" in str(found)
    assert "Leave it out, or tune one component at a time" in str(found)


def test_a_constraint_that_no_component_has_is_refused() -> None:
    found = CliRunner().invoke(app, ["tune", "vision", "llm", "--constraint", "align"]).exception
    assert isinstance(
        found, InputError
    ) and "Got --constraint align with vision, llm, none of which ends in +constraint" in str(found)
    found = CliRunner().invoke(app, ["tune", "vision+constraint", "llm", "--constraint", "align", "--test", "7"]).exception
    assert isinstance(found, InputError) and "Got --test 7.0" in str(found), "it goes on"


def test_several_processes_do_not_compare(llava: Mllm, train: StimulusSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = CliRunner().invoke(app, ["tune", "vision", "llm"]).exception
    assert isinstance(found, InputError) and "Got 2 processes (WORLD_SIZE) to compare components" in str(found)
    with pytest.raises(InputError, match="tune them one by one: torchrun"):
        teach(llava, train, exam_set(2, levels=(5,)), **OPTIONS)


@pytest.mark.parametrize("name", ["method", "lora_rank", "lr", "evaluate_every", "patience", "only", "colour"])
def test_arguments_that_are_compared_or_chosen_are_refused(llava: Mllm, train: StimulusSet, name: str) -> None:
    with pytest.raises(InputError, match=f"Got {name}=1 for several components. Expected of tune's arguments only batch_size"):
        teach(llava, train, exam_set(2, levels=(5,)), **{**OPTIONS, name: 1})


def test_refusals_are_in_words(llava: Mllm, train: StimulusSet) -> None:
    shown = exam_set(2, levels=(5,))
    with pytest.raises(InputError, match=r"Got the budgets \['money'\]. Expected some of steps, parameters, seconds"):
        teach(llava, train, shown, budgets=("money",), **OPTIONS)
    with pytest.raises(InputError, match="Got the budget 'seconds' without a number"):
        teach(llava, train, shown, budgets=("seconds",), **OPTIONS)
    with pytest.raises(InputError, match="Expected factors above 0"):
        teach(llava, train, shown, rates=(0.0,), **OPTIONS)
    with pytest.raises(InputError, match="Got validation=0. Expected the share"):
        teach(llava, train, shown, **{**OPTIONS, "validation": 0})
    with pytest.raises(InputError, match="'llm' is given twice"):
        teach(llava, train, shown, ("llm", "llm"), **OPTIONS)
    with pytest.raises(InputError, match="held out for the exam"):
        teach(llava, shown, shown, **OPTIONS)
    with pytest.raises(InputError, match="shapes visual tokens"):
        teach(llava, train, shown, ("llm+constraint",), **OPTIONS)
