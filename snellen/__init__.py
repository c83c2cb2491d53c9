"""Snellen: an eye exam for multimodal LLMs.

Where, between pixel and answer, does a model lose low-level distortion information, and does teaching that stage bring it
back? ``import snellen as sn``; heavy libraries load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from snellen.neighbours import check as _check
from snellen.version import VERSION

_check()

__version__ = VERSION

_PUBLIC = {
    "load": "snellen.models",
    "load_result": "stimuli.result_files",
    "find_stages": "hooks.resolve",
    "capture": "hooks.capture",
    "edit": "hooks.edit",
    "replace": "hooks.edit",
    "ablate": "hooks.edit",
    "steer": "hooks.edit",
    "extract": "hooks.extract",
    "repair": "hooks.repair",
    "export": "hooks.export",
    "read_features": "hooks.foreign",
    "random_weights": "hooks.blank",
    "sweep": "probes.sweep",
    "severity_sweep": "probes.severity",
    "type_sweep": "probes.per_type",
    "distortion_maps": "probes.spatial",
    "transfer_sweep": "probes.generalise",
    "control_task": "probes.control_task",
    "equal_dimension": "probes.dimension",
    "sample_size": "probes.sample_size",
    "description_length": "probes.information",
    "usable_information": "probes.usable",
    "fit_eraser": "probes.erasure",
    "load_erasure": "probes.erasure",
    "erased": "analysis.erased",
    "erasing": "analysis.erased",
    "ask": "analysis.perception",
    "blind": "analysis.perception",
    "compare_answers": "analysis.perception",
    "blind_controls": "analysis.blind",
    "consistency": "analysis.consistency",
    "quality": "analysis.quality",
    "score_consistency": "analysis.quality",
    "preference": "analysis.preference",
    "psychometric": "analysis.psychometric",
    "unsaid": "analysis.unsaid",
    "interview": "analysis.interview",
    "ask_mcq": "analysis.mcq",
    "read_mcq": "stimuli.mcq",
    "write_questions": "stimuli.mcq_written",
    "Ask": "hooks.asks",
    "respond": "hooks.respond",
    "captions_kept": "analysis.captions",
    "tune": "tuning.tune",
    "teach": "snellen.teaching",
    "knowledge": "analysis.forgetting",
    "forgotten": "analysis.forgetting",
    "geometry": "analysis.geometry",
    "processed_survival": "analysis.processed",
    "input_statistics": "analysis.inputs",
    "semantic_distance": "analysis.semantic_distance",
    "patch": "analysis.patching",
    "knockout": "analysis.knockout",
    "attention_shares": "analysis.attention_shares",
    "lens": "analysis.lens",
    "compare_lenses": "analysis.lens",
    "tune_lens": "analysis.tuned_lens",
    "patch_map": "analysis.patch_map",
    "attribute": "analysis.attribution.run",
    "conductance": "analysis.attribution.stages",
    "sanity": "analysis.attribution.sanity",
    "dose_response": "analysis.steering",
    "steering_directions": "analysis.steering",
    "loss_by_arms": "analysis.mediation_shares",
    "mediation": "analysis.mediation",
    "decide": "analysis.verdict",
    "read_inputs": "analysis.verdict_inputs",
    "exam": "snellen.runs",
    "rerun": "snellen.repeat",
    "compare_folders": "snellen.runcompare",
    "SnellenError": "stimuli.errors",
    "InputError": "stimuli.errors",
}
__all__ = ["__version__", "stimuli", *_PUBLIC]

if TYPE_CHECKING:
    from analysis.attention_shares import attention_shares
    from analysis.attribution.run import attribute
    from analysis.attribution.sanity import sanity
    from analysis.attribution.stages import conductance
    from analysis.blind import blind_controls
    from analysis.captions import captions_kept
    from analysis.consistency import consistency
    from analysis.erased import erased, erasing
    from analysis.forgetting import forgotten, knowledge
    from analysis.geometry import geometry
    from analysis.inputs import input_statistics
    from analysis.interview import interview
    from analysis.knockout import knockout
    from analysis.lens import compare_lenses, lens
    from analysis.mcq import ask_mcq
    from analysis.mediation import mediation
    from analysis.mediation_shares import loss_by_arms
    from analysis.patch_map import patch_map
    from analysis.patching import patch
    from analysis.perception import ask, blind, compare_answers
    from analysis.preference import preference
    from analysis.processed import processed_survival
    from analysis.psychometric import psychometric
    from analysis.quality import quality, score_consistency
    from analysis.semantic_distance import semantic_distance
    from analysis.steering import dose_response, steering_directions
    from analysis.tuned_lens import tune_lens
    from analysis.unsaid import unsaid
    from analysis.verdict import decide
    from analysis.verdict_inputs import read_inputs
    from hooks.asks import Ask
    from hooks.blank import random_weights
    from hooks.capture import capture
    from hooks.edit import ablate, edit, replace, steer
    from hooks.export import export
    from hooks.extract import extract
    from hooks.foreign import read_features
    from hooks.repair import repair
    from hooks.resolve import find_stages
    from hooks.respond import respond
    from probes.control_task import control_task
    from probes.dimension import equal_dimension
    from probes.erasure import fit_eraser, load_erasure
    from probes.generalise import transfer_sweep
    from probes.information import description_length
    from probes.per_type import type_sweep
    from probes.sample_size import sample_size
    from probes.severity import severity_sweep
    from probes.spatial import distortion_maps
    from probes.sweep import sweep
    from probes.usable import usable_information
    from snellen.models import load
    from snellen.repeat import rerun
    from snellen.runcompare import compare_folders
    from snellen.runs import exam
    from snellen.teaching import teach
    from stimuli import sets as stimuli
    from stimuli.errors import InputError, SnellenError
    from stimuli.mcq import read_mcq
    from stimuli.mcq_written import write_questions
    from stimuli.result_files import load_result
    from tuning.tune import tune


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name == "stimuli":
        value = import_module("stimuli.sets")
    elif name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
    else:
        raise AttributeError(f"module 'snellen' has no attribute '{name}'; public names are {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
