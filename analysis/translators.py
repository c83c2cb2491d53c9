"""Translators from the states of inner sites to those of the last block, and how they are kept on disk (Belrose et al. 2023)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hooks.checksum import weights_checksum
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.tables import Table, read_json, write_json

FILE, RECORD = "tuned_lens.safetensors", "tuned_lens.json"


@dataclass(frozen=True)
class Translator:
    """h → h + A h + b."""

    left: torch.Tensor
    """float32 (d, d): A; or (d, r) where A is ``left @ right``."""
    right: torch.Tensor | None
    """float32 (r, d); None for a whole A."""
    bias: torch.Tensor
    """float32 (d,)."""

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Translate states (…, d), in float32 on their device."""
        own = states.float()
        left, bias = self.left.to(own.device), self.bias.to(own.device)
        inner = own if self.right is None else own @ self.right.to(own.device).T
        return own + inner @ left.T + bias


@dataclass(frozen=True)
class TunedLens:
    """Translators by site, with what they gained on references that they were not trained with."""

    translators: Mapping[str, Translator] = field(repr=False)
    table: Table
    """A row per ``site`` and ``position`` (``image``, ``last``): KL in nats on the test references ``before`` (the logit lens) and ``after``,
    ``change`` with ``low``, ``high`` and ``p`` over references, ``p_holm`` over sites; ``steps`` until the translator that is kept (0 is the
    logit lens), chosen on the validation references; ``n`` and ``references`` of the test."""
    provenance: Mapping[str, Any]
    """``model`` (checksum of its weights), ``name``, ``references`` by part, ``taxonomy`` (of the question), ``rank``, ``steps``, ``tokens``,
    ``seed``."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Those with a translator."""
        return tuple(self.translators)

    def __call__(self, site: str, states: torch.Tensor) -> torch.Tensor:
        """Translate the states (…, d) of a site; those of a site without a translator stay as they are."""
        return self.translators[site](states) if site in self.translators else states

    def check(self, mllm: Mllm, references: Collection[str] = ()) -> None:
        """Refuse another model, and references that the translators know.

        Raises:
            InputError: the weights are others, or a reference was trained or chosen with.
        """
        if self.provenance["model"] != weights_checksum(mllm.model):
            raise InputError(
                f"The tuned lens was made for '{self.provenance['name']}', and the weights of '{mllm.name}' are others. Expected the same "
                "model. Train one for it with tune_lens, or read it with the logit lens."
            )
        known = {*self.provenance["references"]["train"], *self.provenance["references"]["validation"]}
        if both := sorted(known & set(references)):
            raise InputError(
                f"The tuned lens was trained with {len(both)} of the references to be read ({', '.join(both[:3])}). Expected others. Split the "
                "stimuli by reference (stimuli.split) before tune_lens."
            )

    def save(self, folder: str | Path) -> Path:
        """Write ``tuned_lens.safetensors`` and ``tuned_lens.json``; 4 · d² bytes per site of a whole A."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        parts = {
            f"{site}/{name}": value.contiguous()
            for site, own in self.translators.items()
            for name, value in (("left", own.left), ("right", own.right), ("bias", own.bias))
            if value is not None
        }
        save_file(parts, folder / FILE)
        write_json({"table": self.table, "provenance": dict(self.provenance), "sites": list(self.sites)}, folder / RECORD)
        return folder

    @staticmethod
    def load(folder: str | Path) -> TunedLens:
        """Read what ``save`` wrote.

        Raises:
            InputError: the folder holds no tuned lens, or half of one.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder)
        if not (folder / RECORD).is_file() or not (folder / FILE).is_file():
            raise InputError(
                f"The folder {folder} holds no tuned lens ({FILE} and {RECORD}). Expected what TunedLens.save wrote."
            )
        record = read_json(folder / RECORD, "what TunedLens.save wrote")
        try:
            parts = load_file(folder / FILE)
            found = {s: Translator(parts[f"{s}/left"], parts.get(f"{s}/right"), parts[f"{s}/bias"]) for s in record["sites"]}
            return TunedLens(found, record["table"], record["provenance"])
        except (KeyError, TypeError, SafetensorError) as error:
            raise InputError(
                f"{folder} holds a damaged tuned lens ({type(error).__name__}: {error}). Expected the translators in {FILE} that {RECORD} "
                "names. Train anew."
            ) from error
