"""No code from data: nothing of ours unpickles, evaluates or trusts; the exceptions are named here, each with its reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("stimuli", "hooks", "probes", "tuning", "analysis", "snellen")
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}
NAMES = {"eval", "exec", "compile", "__import__", "literal_eval", "unsafe_load", "full_load", "load_all"}
ALLOWED = {
    ("hooks/ahead.py", "import pickle"): "asks whether an object can be sent to a worker of our own (dumps alone)",
    ("stimuli/readers/listed.py", "literal_eval"): "values alone, of a cell",
    ("stimuli/mcq_task.py", "literal_eval"): "values alone, of a list of choices",
}


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def risky(tree: ast.AST) -> Iterator[str]:
    """What may run code that data bring, as ``import pickle`` or the name of a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names if alias.name.split(".")[0] in MODULES)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield f"import {node.module}"
        if not isinstance(node, ast.Call):
            continue
        name, given = name_of(node), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        last = name.rpartition(".")[2]
        if name in NAMES or (last in NAMES and last not in ("eval", "compile", "exec")):
            yield last
        if name in ("torch.load", "torch.serialization.load") and given.get("weights_only") != "True":
            yield name
        if last == "load" and name in ("np.load", "numpy.load", "joblib.load", "yaml.load") and not safe_yaml(name, node):
            yield name if given.get("allow_pickle", "False") != "False" or name in ("joblib.load", "yaml.load") else ""
        if given.get("trust_remote_code") == "True" or given.get("allow_pickle") == "True" or given.get("shell") == "True":
            yield f"{name} trusts"


def safe_yaml(name: str, node: ast.Call) -> bool:
    return name == "yaml.load" and len(node.args) == 2 and ast.unparse(node.args[1]) in ("loader", "Loader", "_Loader")


def found_in(text: str) -> list[str]:
    return [what for what in risky(ast.parse(text)) if what]


def test_our_code_runs_nothing_that_data_bring() -> None:
    found = {
        (str(path.relative_to(ROOT)), what)
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        for what in found_in(path.read_text(encoding="utf-8"))
    }
    assert found == set(ALLOWED), found ^ set(ALLOWED)


def test_of_pickle_nothing_but_the_question_whether_it_could_is_used() -> None:
    tree = ast.parse((ROOT / "hooks" / "ahead.py").read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle"}
    assert used == {"dumps"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import pickle", "import pickle"),
        ("from dill import loads", "import dill"),
        ("torch.load(f)", "torch.load"),
        ("torch.load(f, weights_only=False)", "torch.load"),
        ("np.load(f, allow_pickle=True)", "np.load"),
        ("eval(text)", "eval"),
        ("exec(text)", "exec"),
        ("yaml.load(text, yaml.Loader)", "yaml.load"),
        ("yaml.unsafe_load(text)", "unsafe_load"),
        ("joblib.load(f)", "joblib.load"),
        ("A.from_pretrained(p, trust_remote_code=True)", "A.from_pretrained trusts"),
        ("subprocess.run(c, shell=True)", "subprocess.run trusts"),
    ],
)
def test_the_search_finds_what_it_looks_for(text: str, what: str) -> None:
    assert what in found_in(text)


def test_the_search_lets_safe_calls_be() -> None:
    for text in (
        "torch.load(f, weights_only=True)",
        "np.load(f)",
        "model.eval()",
        "re.compile(p)",
        "yaml.load(t, Loader)",
        "json.loads(t)",
    ):
        assert found_in(text) == []
