"""The folder of a small exam, made by hand: what the report needs, with names that try to break out of a page."""

import base64
import csv
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ["blur", "noise", "clean"]
EVIL = "</script><script>document.title='broken'</script><img src=x onerror=alert(1)>&\"'"
SITES = [("pixels", "input"), ("vision.0", "vision"), ("vision.1", "vision"), ("projector", "projector"), ("llm.0", "llm")]


def answers(right: float) -> dict[str, Any]:
    """Numbers of the answers to a forced choice."""
    shares = {"accuracy": right, "low": right - 0.1, "high": right + 0.1, "balanced_accuracy": right, "balanced_low": right - 0.1,
              "balanced_high": right + 0.1}  # fmt: skip
    told = {"classes": CLASSES, "n": 12, "references": 4, "chance": 1 / 3, "majority": 1 / 3, "unparsed": 0.0}
    return {
        **shares,
        **told,
        "response_distribution": {"blur": 1.0},
        "by_level": [{"level": 3, "n": 8, "accuracy": right, "low": 0, "high": 1}],
    }


def probe(site: str, component: str, score: float) -> dict[str, Any]:
    """A row of a sweep."""
    return {"site": site, "component": component, "score": score, "low": score - 0.1, "high": score + 0.1, "control": 0.3,
            "dim": 8, "dead_end": False, "control_low": 0.25, "control_high": 0.4, "content": 0.9}  # fmt: skip


def arm(name: str, right: float) -> dict[str, Any]:
    """A row of the tuning matrix."""
    numbers = {key: value for key, value in answers(right).items() if isinstance(value, float)}
    return {
        "arm": name, "component": None if name == "base" else name, **numbers, "gain": right - 0.4, "gain_low": right - 0.5,
        "gain_high": right - 0.3, "p": 0.01, "p_holm": 0.02, "captions": {"colour": 0.9, "shape": 0.8, "quality": 0.5}, "steps": 7,
        "best_probe": {"site": "vision.0", "score": 0.8, "low": 0.7, "high": 0.9}, "history": [],
        "projector_probe": {"site": "projector", "score": 0.5, "low": 0.4, "high": 0.6},
        "distance": {"cosine": 1.0, "centred": 0.9, "margin": -0.1}, "audit": {"n_trained": 12, "unchanged": True},
    }  # fmt: skip


def results(model: str = "mine", right: float = 0.4, sites: list[tuple[str, str]] = SITES) -> dict[str, Any]:
    """What ``results.json`` holds."""
    rows = [probe(site, component, 0.9 - 0.1 * i) for i, (site, component) in enumerate(sites)]
    ids = [f"{reference}-{kind}" for reference in "abcd" for kind in CLASSES]
    spots = [{"id": id, "label": id.split("-")[1], "x": i % 4, "y": i // 4} for i, id in enumerate(ids)]
    plane = {
        "method": "PCA", "trustworthiness": 0.9, "note": "", "points": [{**p, "when": when} for when in ("before", "after") for p in spots],
        "words": [{"label": name, "x": i, "y": 1.0} for i, name in enumerate(CLASSES)],
        "arrows": [{"label": "blur", "n": 4, "x0": 0, "y0": 0, "x1": 2, "y1": 2}],
    }  # fmt: skip
    return {
        "provenance": {"snellen": "0", "finished": "today", "commit": "c0ffee", "command": "snellen exam", "seed": 0,
                       "config": {"model": model, "seed": 0, "steps": 7, "taxonomy": "paper8", "n_boot": 200},
                       "model": {"name": model, "checksum": model}},
        "stimuli": {"exam": {"name": "s", "n": 12, "references": 4, "levels": [3], "info": {}}, "train": {"references": 9}, "skipped": [
                    {"id": EVIL, "reason": EVIL}], "severity": [], "examples": []},
        "perception": {"base": answers(right), "open": answers(right), "blind": answers(1 / 3), "arms": {"llm": answers(0.9)}},
        "survival": {"base": rows, "baselines": [{**probe("baseline:pixel-statistics", "baseline", 0.5)}], "arms": {}, "chance": 1 / 3,
                     "majority": 1 / 3, "lost": [], "read_layer": "vision.1"},
        "tuning": {"base": arm("base", right), "arms": {"llm": arm("llm", 0.9)}},
        "distance": {"base": [], "compare": {}, "shown_arm": "llm", "plane": plane},
        "verdict": {"component": "llm", "sentence": f"Lost. {EVIL}", "confidence": "weak", "candidates": ["llm"],
                    "evidence": [{"what": "gain", "value": 0.5, "low": 0.4, "high": 0.6, "p": 0.01, "supports": "llm", "note": "cure"},
                                 {"what": "none", "value": None, "low": None, "high": None, "p": None, "supports": None, "note": "survival"},
                                 {"what": "drop", "value": -0.2, "low": -0.3, "high": -0.1, "p": 0.5, "supports": "vision", "note": "x"}]},
    }  # fmt: skip


def stimuli(right: float) -> list[dict[str, Any]]:
    """Rows of the answers: of three images of each of four references; ``right`` of them as they should be."""
    rows = [
        {"id": f"{reference}-{kind}", "reference": reference, "type": "" if kind == "clean" else f"white_{kind}", "level": "" if kind == "clean"
         else 3 + (reference == "d"), "psnr": 25.123456, "label": kind}
        for reference in "abcd" for kind in CLASSES
    ]  # fmt: skip
    for i, row in enumerate(rows):
        good = i < right * len(rows)
        row |= {
            "answer": row["label"] if good else ("unparsed", "noise")[row["label"] == "blur"],
            "correct": good,
            "confidence": 0.5,
        }
    return rows


def folder(place: Path, model: str = "mine", right: float = 0.4, sites: list[tuple[str, str]] = SITES) -> Path:
    """A finished exam, with pictures, in a folder."""
    (place / "tables").mkdir(parents=True)
    (place / "results.json").write_text(json.dumps(results(model, right, sites)))
    rows = stimuli(right)
    probed = [{"id": row["id"], "probe": EVIL, "cell": ("encoded, not said", "neither")[i % 2]} for i, row in enumerate(rows)]
    for name, own in (("answers_base", rows), ("answers_llm", stimuli(0.9)), ("unsaid_stimuli", probed)):
        with open(place / "tables" / f"{name}.csv", "w", newline="") as handle:
            writer = csv.DictWriter(handle, list(own[0]))
            writer.writeheader()
            writer.writerows(own)
    image = _webp()
    pair = {
        "id": "a-blur",
        "reference": "a" * 60,
        "type": "white_blur",
        "level": 3,
        "distorted": image,
        "clean": "a",
        "shown": "whole",
    }
    told = {"site": "projector", "values": [[0.1, 0.9], [0.2, 0.3]], "mask": [[0, 1], [0, 0]]}
    pairs = [{**pair, "map": None}, {**pair, "map": told}]
    small = {row["id"]: image for row in rows}
    (place / "pictures.json").write_text(json.dumps({"form": "small", "small": small, "clean": {"a": image}, "pairs": pairs}))
    return place


def _webp() -> str:
    buffer = BytesIO()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(buffer, "WEBP")
    return base64.b64encode(buffer.getvalue()).decode()
