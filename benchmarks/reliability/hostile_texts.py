"""Settings, taxonomies, prompts, tasks, records, what models say and what browsers ask: tags that run, anchors that explode, endless depth."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.reliability.hostile_images import seeds
from benchmarks.reliability.mutate import mutated
from benchmarks.reliability.watch import CANARY, Case, Parser, command

Read = Callable[[Path, Path], Any]
RUN = f"import os; open(os.environ['{CANARY}'], 'w').close()"


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """By hand, and so many that were good."""
    for name, text in _yaml().items():
        for kind, (file, _, read) in _yaml_files().items():
            yield Case("YAML", f"{kind}: {name}", _writer(file, text.encode("utf-8", "surrogatepass")), read)
    for name, pair in _pairs().items():
        yield Case(
            "YAML",
            f"--set: {name}",
            _writer("a.yaml", b""),
            lambda _, out, pair=pair: command("exam", "--print-config", "--set", pair),
        )
    for name, text in _json().items():
        for kind, (file, read) in _records().items():
            yield Case("records", f"{kind}: {name}", _writer(file, text.encode()), read)
    for name, text in _said().items():
        yield Case("answers", name, _writer("a.txt", text.encode()), _parsed)
    rng = random.Random(seed)
    good = [(kind, *about) for kind, about in _yaml_files().items()]
    for i in range(count):
        kind, file, text, read = good[i % len(good)]
        yield Case("YAML", f"{i}-{kind}", _writer(file, mutated(text, rng)), read)
    for i in range(count // 2):
        yield Case("answers", f"{i}", _writer("a.txt", mutated(ANSWER * rng.choice((1, 1, 200)), rng)), _parsed)


def parsers() -> dict[str, Parser]:
    """What reads texts, each with the name of its file and good ones."""
    made: dict[str, Parser] = {kind: (file, [text], read) for kind, (file, text, read) in _yaml_files().items()}
    return {**made, "reply": ("a.txt", [ANSWER], _parsed)}


def _writer(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "a.png").write_bytes(seeds()["rgb.png"])
        (folder / "data.json").write_text(
            json.dumps([{"id": "q", "image": "a.png", "question": "How?", "choices": ["a", "b"], "answer": "A"}])
        )
        (folder / name).write_bytes(content)
        return folder / name

    return write


# ---- YAML ------------------------------------------------------------------------------------------------------------


def _yaml_files() -> dict[str, tuple[str, bytes, Read]]:
    """Per kind a name, a good one, and how it is read."""
    from stimuli.taxonomy import FOLDER

    settings = b"model: embedded\nreferences: 8\nlevels: [1, 5]\nprior: {blur: 0.3}\nstages: {vision: 'v.*'}\ninterview: off\nseed: 3\n"
    prompt = b"text: |\n  Is it {wording}?\noptions: ['yes', 'no']\nweights: [1, 0]\nsource: mine\n"
    task = (
        b"task: mine\ndataset_path: json\ndataset_kwargs: {data_files: {test: data.json}}\ntest_split: test\ndoc_to_visual: image\n"
        b"doc_to_text: question\ndoc_to_choice: '{{choices}}'\ndoc_to_target: answer\n"
    )
    return {
        "settings": ("a.yaml", settings, lambda path, out: command("exam", "--config", path, "--print-config")),
        "taxonomy": ("a.yaml", (FOLDER / "paper8.yaml").read_bytes(), _taxonomy),
        "prompt": ("a.yaml", prompt, _prompt),
        "task": ("a.yaml", task, _task),
    }


def _taxonomy(path: Path, out: Path) -> None:
    from stimuli.taxonomy import taxonomy

    taxonomy(path)


def _prompt(path: Path, out: Path) -> None:
    from stimuli.prompts import paraphrases, prompt

    prompt(path) if b"text:" in path.read_bytes() else paraphrases(path)


def _task(path: Path, out: Path) -> None:
    from stimuli.mcq import read_mcq

    [stimulus.image for stimulus in read_mcq(path).stimuli]


def _bomb(levels: int = 9, width: int = 9) -> str:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels + 1)]
    return "\n".join(lines) + f"\nlevels: *a{levels}\nclasses: *a{levels}\ntext: *a{levels}\n"


def _yaml() -> dict[str, str]:
    return {
        "empty": "",
        "a number": "5",
        "a list": "[1, 2]",
        "bomb": _bomb(),
        "bomb as key": "? " + _bomb(7).replace("\n", "\n  "),
        "anchor of itself": "levels: &a [*a]\ntypes: &b {x: *b}\n",
        "deep": "levels: " + "[" * 5000,
        "deep blocks": "".join(" " * i + "a:\n" for i in range(800)),
        "python name": "model: !!python/name:os.system\n",
        "python apply": f'model: !!python/object/apply:builtins.exec ["{RUN}"]\n',
        "python new": f'model: !!python/object/new:builtins.exec ["{RUN}"]\n',
        "python module": "model: !!python/module:antigravity\n",
        "function": "doc_to_text: !function utils.f\nmodel: !function utils.f\n",
        "odd date": "seed: 2001-99-99\n",
        "odd number": "seed: !!int x\n",
        "odd binary": "seed: !!binary '!!!'\n",
        "long number": "seed: " + "9" * 5000,
        "infinite": "references: .inf\n",
        "not a number": "lr: .nan\n",
        "key twice": "seed: 1\nseed: 2\n",
        "key a list": "? [a, b]\n: 1\n",
        "key a number": "1: 2\n",
        "merge": "<<: {seed: 1}\n<<: [1]\n",
        "unknown key": "sede: 1\n",
        "budget a list": "budget: [demo]\n",
        "budget a mapping": "budget: {a: 1}\n",
        "model a list": "model: [a]\n",
        "words for numbers": "references: many\nlevels: [a]\n",
        "negative": "references: -5\nfolds: 0\nbatch_size: 0\n",
        "NUL": "model: a\0b\n",
        "tabs": "\tmodel: a\n",
        "control": "model: \x07\n",
        "surrogate": "model: \ud800\n",
        "two documents": "seed: 1\n---\nseed: 2\n",
        "long": "model: " + "x" * 2_000_000,
        "long list": "classes: [" + "x, " * 60_000 + "]\n",
        "equals": "seed: =\n",
        "huge anchor": "&" + "a" * 100_000 + " b",
        "include itself": "include: a.yaml\n",
        "include outside": "include: ../../../etc/passwd\n",
        "include device": "include: /dev/zero\n",
        "path": "model: ../../../etc\nimages: /etc/passwd\n",
        "level 9": "name: n\nclasses: [a]\ntypes: {jpeg: {9: a}}\n",
    }


def _pairs() -> dict[str, str]:
    return {
        "open": "levels=[1,",
        "tag": f'model=!!python/object/apply:builtins.exec ["{RUN}"]',
        "deep": "levels=" + "[" * 3000,
        "odd date": "seed=2001-99-99",
        "no value": "seed",
        "dots": "prior...=x",
        "mapping": "model.a=b",
        "empty": "=",
    }


# ---- records, answers ------------------------------------------------------------------------------------------------


def _json() -> dict[str, str]:
    return {
        "empty": "",
        "half": '{"provenance": {',
        "a list": "[1]",
        "a number": "5",
        "nothing in it": "{}",
        "deep": '{"a":' * 50_000,
        "NaN": '{"a": NaN}',
        "wrong kinds": '{"provenance": 1, "stimuli": [], "survival": "x", "config": null, "sites": 4, "of": 2}',
        "long number": '{"a": %s}' % ("9" * 9000),
        "script": '{"provenance": {"model": {"name": "<script>alert(1)</script>"}}}',
    }


def _records() -> dict[str, tuple[str, Read]]:
    """Files of our own that a command reads again."""
    return {
        "results": ("results.json", _redrawn),
        "exam": ("exam.json", _examined),
        "store": ("config.json", lambda path, out: command("verify", path.parent)),
        "stimuli": ("set.json", _made),
        "saved": ("a.json", _saved),
        "questions": ("q.json", _task),
    }


def _copied(path: Path, out: Path) -> Path:
    """The folder of a file where it may be written to."""
    return Path(shutil.copytree(path.parent, out / "run"))


def _redrawn(path: Path, out: Path) -> None:
    command("report", _copied(path, out))


def _examined(path: Path, out: Path) -> None:
    command("exam", "--out", _copied(path, out), "--set", "references=2", "--no-progress")


def _made(path: Path, out: Path) -> None:
    command("stimuli", _copied(path, out), "--references", "2", "--no-progress")


def _saved(path: Path, out: Path) -> None:
    from stimuli.result_files import load_result

    load_result(path)


ANSWER = b"<think>No blur.</think> <answer>The answer is (B) noise, 75 out of 100: "
ANSWER += b'{"distortion_class": "noise", "severity": "slight"}</answer>\n'


def _parsed(path: Path, out: Path) -> None:
    """Everything that is read from a model's reply."""
    from analysis import parsing

    text, asked = path.read_text("utf-8", "replace"), _question()
    parsing.named(text, asked)
    parsing.exact(text, asked)
    parsing.yes_no(text)
    parsing.letter(text, 4, ("blur", "noise", "jpeg", "none"))
    parsing.score(text, 0, 100)
    parsing.json_reply(text)
    parsing.distortion_json(text, asked, ("slight", "strong"))
    parsing.level(text, ("bad", "poor", "fair", "good"))


@cache
def _question() -> Any:
    from stimuli.questions import question

    return question("distortion", "paper8")


def _said() -> dict[str, str]:
    return {
        "empty": "",
        "braces": "{" * 20_000,
        "brackets": '{"a":' + "[" * 20_000,
        "quotes": '"' * 20_000,
        "blanks": " " * 50_000,
        "answers": "answer: " * 5000,
        "thinking": "<think>" * 5000,
        "tags": "<answer>" * 5000,
        "digits": "9" * 50_000,
        "numbers": "1 " * 20_000,
        "letters": "(A) " * 10_000,
        "denials": "no not never " * 4000,
        "fences": "```json\n{" * 4000,
        "fractions": "1/" * 10_000,
        "backslashes": '{"' + "\\" * 20_000,
        "rating": "rating " * 5000,
        "of": "score" + " of the" * 8000,
        "lines": "\n" * 50_000,
    }
