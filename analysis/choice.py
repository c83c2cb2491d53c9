"""The forced choice as a measure: how likely a model finds each class's wording, plain or with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax

from hooks.answer import Options, loglik, scored
from hooks.batch import Batch, run
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.questions import Question, question
from stimuli.types import Stimulus


@dataclass(frozen=True)
class Choice:
    """A question with a closed list of answers, put as ``sn.ask(protocol="forced-choice")`` puts it."""

    question: Question

    @property
    def classes(self) -> tuple[str, ...]:
        """In the taxonomy's order."""
        return tuple(self.question.options)

    @property
    def wordings(self) -> tuple[str, ...]:
        """One per class."""
        return tuple(self.question.options.values())

    def place(self, label: str) -> int:
        """The column of a class.

        Raises:
            InputError: it is no answer to the question.
        """
        if label not in self.question.options:
            raise InputError(f"Got the class '{label}'; expected one of {', '.join(self.classes)}. Use one of these.")
        return self.classes.index(label)

    def prepared(self, mllm: Mllm, images: Sequence[np.ndarray]) -> Options:
        """The inputs by which images are asked about, made once for any number of passes under different edits."""
        return scored(mllm, images, [self.question.prompt] * len(images), self.wordings)

    def scores(self, mllm: Mllm, prepared: Options) -> np.ndarray:
        """Mean log-likelihood per token of each wording, float64 (n, classes), in nats."""
        total, tokens = loglik(mllm, prepared)
        return total / tokens

    def probabilities(self, mllm: Mllm, prepared: Options) -> np.ndarray:
        """Their softmax over the classes, float64 (n, classes): what ``sn.ask`` gives as ``p_…``."""
        return np.asarray(softmax(self.scores(mllm, prepared), axis=1))

    def said(self, mllm: Mllm, images: Sequence[np.ndarray], label: str) -> Batch:
        """Inputs, on the model's device, in which the model answers with a class's wording, for ``likelihood``."""
        return mllm.inputs(
            list(images), [self.question.prompt] * len(images), [self.wordings[self.place(label)]] * len(images), eos=False
        )

    def likelihood(self, mllm: Mllm, batch: Batch) -> torch.Tensor:
        """Mean log-likelihood per token of the answers in a batch, (n,) in nats, with gradients if they are switched on."""
        if batch.labels is None:
            raise InputError("Got inputs without answers; expected those that Choice.said makes. Use it.")
        labels = batch.labels[:, 1:]
        keep = labels.shape[1] + 1 - int(batch.layout.last_prompt.min())
        logits = run(mllm.model, batch.tensors, keep).logits[:, -keep:-1].float()
        own = labels[:, -logits.shape[1] :].to(logits.device)
        there = own >= 0
        found = torch.log_softmax(logits, -1).gather(2, own.clamp_min(0)[..., None])[..., 0]
        return (found * there).sum(1) / there.sum(1)


def choice(taxonomy: str | Path = "paper8", prompt: str | None = None) -> Choice:
    """The question which distortion an image has.

    Args:
        taxonomy: name or file; its classes are the answers.
        prompt: another question.
    """
    asked = question("distortion", taxonomy)
    return Choice(asked if prompt is None else Question(asked.name, prompt, asked.options, asked.synonyms, asked.source))


def images_of(stimuli: Sequence[Stimulus]) -> list[np.ndarray]:
    """The pixels of stimuli, uint8 (H, W, 3) each."""
    return [stimulus.image for stimulus in stimuli]
