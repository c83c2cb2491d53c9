"""How far each parameter and layer moved, and a proof of what did not."""

import json
import math
from typing import Any

import pytest
import torch

from hooks.load import Mllm
from tuning import audit as audit_module
from tuning.adapters import trainable
from tuning.audit import Audit, audited, combined, digests, moves, of_part, outside
from tuning.copies import copy_for
from tuning.parts import find_part


def test_moves_are_l2_norms_and_the_audit_sums_up() -> None:
    before = {"a": torch.zeros(4), "b": torch.zeros(1)}
    found = moves(before, {"a": torch.full((4,), 0.5), "b": torch.zeros(1)})
    assert found == {"a": 1.0, "b": 0.0}
    audit = Audit("llm", ("a", "b"), 5, 9, found, "x", "x")
    assert audit.unchanged and audit.as_dict()["largest_move"] == {"name": "a", "norm": 1.0}
    assert not Audit("llm", (), 5, 9, {}, "x", "y").unchanged
    assert audit.as_dict()["part"] == "llm" and audit.as_dict()["layers"] == []


def run(llava: Mllm, component: str, method: Any, stray: str | None = None) -> tuple[Audit, Any]:
    """A run in which every trainable number grows by 0.01, and with it perhaps one parameter that should not."""
    part = find_part(llava.model, llava.stages, component)
    twin = copy_for(llava.model, part)
    if stray is not None:  # of its own memory, or the original would move too
        twin.get_parameter(stray).data = twin.get_parameter(stray).data.clone()
    before, checksum = of_part(llava.model, part), outside(twin, part)
    strayed = None if stray is None else twin.get_parameter(stray)
    student, chosen = trainable(twin, part, method, 2)
    with torch.no_grad():
        for value in [*chosen.values(), *([] if strayed is None else [strayed])]:
            value.add_(0.01)
    model = student if method == "full" else student.merge_and_unload()
    return audited(model, llava.stages, part, method, chosen, before, checksum), model


def test_layers_say_how_far_each_moved(llava: Mllm) -> None:
    audit, model = run(llava, "vision+llm.1", "full")
    rows = audit.layers()
    sites = [*(f"vision.{i}" for i in range(6))]
    assert [row["site"] for row in rows] == ["vision.embed", *sites, "other", "llm.1"]
    assert [row["component"] for row in rows] == ["vision"] * 8 + ["llm"]
    assert sum(row["parameters"] for row in rows) == audit.n_trained == sum(row["trained"] for row in rows)
    layer = llava.model.get_submodule(llava.stages.sites["vision.2"])
    before = torch.cat([p.detach().flatten() for p in layer.parameters()])
    row = next(row for row in rows if row["site"] == "vision.2")
    assert row["parameters"] == before.numel()
    assert math.isclose(row["before"], float(before.norm()), rel_tol=1e-5)
    assert math.isclose(row["change"], 0.01 * math.sqrt(before.numel()), rel_tol=1e-3)
    assert math.isclose(row["relative"], row["change"] / row["before"], rel_tol=1e-9)
    about = audit.as_dict()
    assert (about["component"], about["part"], about["method"]) == ("vision+llm", "vision+llm.1", "full")
    assert about["layers"] == rows and json.loads(json.dumps(about)) == about
    assert audit.n_total == sum(p.numel() for p in model.parameters())
    assert Audit(**{**vars(audit), "trained": tuple(audit.trained)}) == audit


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_adapters_are_measured_by_the_merged_weights(llava: Mllm, method: Any) -> None:
    audit, model = run(llava, "llm.0-1", method)
    after = dict(model.named_parameters())
    for name, value in llava.model.named_parameters():
        assert audit.moved.get(name, 0.0) == pytest.approx(float((after[name] - value).detach().norm()), rel=1e-5)
    rows = audit.layers()
    assert [row["site"] for row in rows] == ["llm.0", "llm.1"] and all(row["change"] > 0 for row in rows)
    assert all(0 < row["trained"] < row["parameters"] for row in rows)
    assert sum(row["trained"] for row in rows) == audit.n_trained and audit.unchanged and audit.method == method


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize(
    ("component", "stray"),
    [
        ("llm", "model.vision_tower.post_layernorm.bias"),
        ("llm.0-1", "model.language_model.layers.2.mlp.up_proj.weight"),
        ("vision.1", "model.vision_tower.embeddings.patch_embedding.weight"),
    ],
)
def test_a_stray_parameter_is_noticed_inside_the_component_too(llava: Mllm, component: str, stray: str, method: Any) -> None:
    assert run(llava, component, method)[0].unchanged
    assert not run(llava, component, method, stray)[0].unchanged


def test_what_may_move_is_read_off_the_untouched_model(llava: Mllm) -> None:
    part = find_part(llava.model, llava.stages, "projector")
    found = of_part(llava.model, part)
    assert tuple(found) == part.parameters and not any(value.requires_grad for value in found.values())
    assert all(value.data_ptr() == llava.model.get_parameter(name).data_ptr() for name, value in found.items()), (
        "no copy is made"
    )


def test_packed_weights_have_no_norm() -> None:
    about = {"site": "llm.0", "component": "llm", "parameters": 8, "trained": 2, "before": None}
    row = Audit("llm", ("w",), 2, 8, {}, "x", "x", weights={"w": about}).layers()[0]
    assert row["change"] is None and row["relative"] is None and row["trained"] == 2


def test_checksums_tell_names_and_bytes_and_are_read_once_for_any_set_of_names(llava: Mllm) -> None:
    from hashlib import sha256

    pair = torch.nn.Linear(2, 3)
    found = digests(pair)
    assert found["bias"] == sha256(pair.bias.detach().numpy().tobytes()).hexdigest() and list(found) == ["bias", "weight"]
    assert combined(found, ["bias"]) == combined(digests(pair, ["bias"])) != combined(found)
    assert combined({"a": "x"}) != combined({"b": "x"}) != combined({"b": "y"})
    with torch.no_grad():
        pair.weight[1, 1] += 1e-6
    assert digests(pair)["bias"] == found["bias"] and digests(pair)["weight"] != found["weight"]
    part = find_part(llava.model, llava.stages, "llm.1")
    assert combined(digests(llava.model), part.parameters) == outside(llava.model, part)


def test_a_run_reads_each_tensor_once_before_and_once_after(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    from stimuli.sets import exam_set
    from tuning.tune import tune

    real, read = audit_module._digest, []

    def counted(value: torch.Tensor) -> str:
        read.append(value.numel())
        return real(value)

    monkeypatch.setattr(audit_module, "_digest", counted)
    train = exam_set(1, levels=(5,), split="train", measure=False)
    tune(llava, train, "projector", steps=1, batch_size=2, replay=0, progress=False)
    whole = [value.numel() for value in (*llava.model.parameters(), *llava.model.buffers())]
    part = find_part(llava.model, llava.stages, "projector")
    assert len(read) == 2 * len(whole) - len(part.parameters)


def test_offloaded_weights_are_told(llava: Mllm) -> None:
    import copy

    twin = copy.deepcopy(llava.model)
    away = twin.get_submodule(llava.stages.sites["vision.2"]).to("meta")
    part = find_part(twin, llava.stages, "projector")
    student, chosen = trainable(copy_for(twin, part), part, "full", 2)
    audit = audited(student, llava.stages, part, "full", chosen, of_part(twin, part), outside(twin, part))
    count, others = len(list(away.parameters())), len(digests(twin, part.parameters))
    assert audit.unchanged and audit.as_dict()["note"] == audit.note
    assert audit.note.startswith(f"{count} of the {others} tensors outside the part are offloaded: only their names")
    assert run(llava, "projector", "full")[0].note == ""
