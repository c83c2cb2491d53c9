"""The lens at the end is the model's own answer; ranks are brute force's; what cannot be read is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis import lens as module
from analysis.choice import choice, images_of
from analysis.lens import compare_lenses, labelled, lens, read
from analysis.lens_words import prompted, states, words
from analysis.translators import Translator, TunedLens
from benchmarks import checkpoints
from hooks.batch import run
from hooks.checksum import weights_checksum
from hooks.head import head
from hooks.load import Mllm, load
from hooks.quiet import quiet
from stimuli.errors import InputError
from stimuli.types import Stimulus, StimulusSet

FAMILIES = ("qwen2_5_vl", "internvl", "idefics3", "gemma3", "mllama")


def last_of(mllm: Mllm) -> str:
    return [site for site in mllm.stages.sites if site.startswith("llm.")][-1]


def quick(mllm: Mllm, stimuli: Any, **how: Any) -> Any:
    return lens(mllm, stimuli, **{"n_boot": 50, "progress": False, "batch_size": 4} | how)


@pytest.mark.parametrize("name", ["llava", "qwen"])
def test_at_the_end_it_says_what_the_model_says(name: str, six: StimulusSet, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(name)
    before = weights_checksum(mllm.model)
    found, asked = quick(mllm, six), choice()
    assert weights_checksum(mllm.model) == before
    own = asked.scores(mllm, asked.prepared(mllm, images_of(list(six))))  # of single tokens, their log-probabilities
    assert np.allclose(found.readings[last_of(mllm), "last"].logp, own, atol=1e-5)
    stream = [site for site in mllm.stages.sites if site.startswith("llm.")]
    assert list(dict.fromkeys(site for site, _ in found.readings)) == ["projector", *stream]
    assert ("projector", "last") not in found.readings and found.row(stream[0])["lens"] == "logit"
    assert found.row(last_of(mllm))["n"] == 6 and found.row(last_of(mllm))["references"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("family", ["florence2", *(pytest.param(name, marks=pytest.mark.heavy) for name in FAMILIES)])
def test_at_the_end_of_every_kind_of_family(family: str, six: StimulusSet, tmp_path: Path) -> None:
    with quiet():
        checkpoints.save(family, tmp_path)
        mllm = load(tmp_path, device="cpu")
    small = StimulusSet([Stimulus(s.id, s.reference, s.type, s.level, pixels=s.image[:112, :112]) for s in six], "small")
    found, said = quick(mllm, small), words(mllm, "paper8")
    with torch.no_grad():
        batch = prompted(mllm, said, images_of(list(small)))
        logits = run(mllm.model, batch.tensors).logits[:, -1].float()  # of one size, so that none is padded
    own, ranks = read(torch.log_softmax(logits, -1), torch.tensor(said.tokens))
    reading = found.readings[last_of(mllm), "last"]
    assert np.allclose(reading.logp, own, atol=1e-4) and np.allclose(reading.rank, ranks)
    assert any("no image tokens" in note for note in found.notes) == (family in ("florence2", "mllama"))
    assert any(position == "image" for _, position in found.readings) == (family not in ("florence2", "mllama"))


def test_ranks_are_brute_force_and_ties_share_them() -> None:
    logp = torch.tensor([[-1.0, -3.0, -2.0, -2.0, -9.0]])
    values, ranks = read(logp, torch.tensor([4, 0, 2, 3]))
    assert values.tolist() == [[-9, -1, -2, -2]] and ranks.tolist() == [[5, 1, 2.5, 2.5]]
    drawn = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    brute = [[1 + sorted(row.tolist(), reverse=True).index(float(row[t])) for t in (3, 40)] for row in drawn]
    assert read(drawn, torch.tensor([3, 40]))[1].tolist() == brute
    with pytest.raises(InputError, match="not numbers.*dtype"):
        read(torch.full((1, 5), float("nan")), torch.tensor([1]))


def test_image_positions_are_the_mean_and_the_maximum_over_tokens(
    llava: Mllm, six: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOM", 10 * head(llava).vocabulary)  # ten tokens at a time
    found, own, said = quick(llava, six, sites=["llm.0"]), head(llava), words(llava, "paper8")
    (_, seen), *_ = states(llava, prompted(llava, said, images_of(list(six))), said, ["llm.0"])
    for i, tokens in enumerate(seen.image or []):
        with torch.no_grad():
            logp = torch.log_softmax(own.logits(tokens), -1)
        for position, value in (("image", logp.mean(0)), ("image max", logp.max(0).values)):
            expected = read(value[None], torch.tensor(said.tokens))
            assert np.allclose(found.readings["llm.0", position].logp[i], expected[0][0], atol=1e-5)
            assert np.allclose(found.readings["llm.0", position].rank[i], expected[1][0], atol=1)


def test_the_identity_as_translator_is_the_logit_lens(llava: Mllm, six: StimulusSet) -> None:
    d = head(llava).width
    provenance = {"model": weights_checksum(llava.model), "name": "x", "references": {"train": ["other"], "validation": []}}
    same = Translator(torch.zeros(d, d), None, torch.zeros(d))
    moved = Translator(torch.zeros(d, d), None, torch.ones(d))
    plain = quick(llava, six, sites=["llm.0", "llm.1"])
    tuned = quick(llava, six, sites=["llm.0", "llm.1"], tuned=TunedLens({"llm.0": same, "llm.1": moved}, [], provenance))
    assert np.array_equal(plain.readings["llm.0", "last"].logp, tuned.readings["llm.0", "last"].logp)
    assert not np.allclose(plain.readings["llm.1", "last"].logp, tuned.readings["llm.1", "last"].logp)
    assert tuned.row("llm.0")["lens"] == "tuned"
    changes = compare_lenses(plain, tuned)
    assert all(row["change"] == 0 for row in changes if row["site"] == "llm.0")
    assert {row["measure"] for row in changes} == {"mrr", "class_rank", "accuracy"} and all("p_holm" in row for row in changes)
    with pytest.raises(InputError, match="6 and 4 stimuli"):
        compare_lenses(plain, quick(llava, six[:4], sites=["llm.0"]))
    stale = {**provenance, "references": {"train": ["r1"], "validation": []}}
    with pytest.raises(InputError, match=r"trained with 1 of the references.*\(r1\)"):
        quick(llava, six, tuned=TunedLens({"llm.0": same}, [], stale))


def test_labels_and_clean_twins(six: StimulusSet) -> None:
    extra = [*six, Stimulus("x", "r9", "no_such_type", 1, pixels=six[0].image)]
    chosen, labels, twins, notes = labelled(extra, "paper8")
    assert [stimulus.id for stimulus in chosen] == [s.id for s in six] and "1 stimuli have no class in 'paper8'" in notes[0]
    assert [choice().classes[label] for label in labels] == ["clean", "compression"] * 3
    assert twins.tolist() == [-1, 0, -1, 2, -1, 4]


def test_what_cannot_be_read_is_refused(llava: Mllm, six: StimulusSet) -> None:
    with pytest.raises(InputError, match=r"positions \['first'\]. Expected a list of some of image, image max, last"):
        quick(llava, six, positions=["first"])
    with pytest.raises(InputError, match="2 have a class in 'paper8', of 1 references. Expected at least 2"):
        quick(llava, six[:2])
    with pytest.raises(InputError, match="cannot read the site 'pixels'|Unknown site 'pixels'"):
        quick(llava, six, sites=["pixels"])
