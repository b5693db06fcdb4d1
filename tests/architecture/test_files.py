"""What every file of the package keeps to."""

import ast

import pytest

from tests.architecture.sources import FILES, SOURCE, name, tree


def test_the_files_are_found() -> None:
    assert len(FILES) > 40
    assert SOURCE / "core" / "threats.py" in FILES


def test_a_file_holds_one_idea() -> None:
    lines = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {file: count for file, count in lines.items() if count > 400} == {}, "split them"
    vague = ("utils", "util", "helpers", "misc", "common")
    assert [name(path) for path in FILES if path.stem in vague] == []


def _bare(body: list[ast.stmt], where: str) -> list[str]:
    """Public classes and functions without a docstring, nested ones in classes included."""
    violations = []
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and not _completes_another(node):
            violations.append(f"{where}{node.name}")
        if isinstance(node, ast.ClassDef):
            violations += _bare(node.body, f"{where}{node.name}.")
    return violations


def _completes_another(node: ast.AST) -> bool:
    """Whether a decorator says that the docstring stands elsewhere."""
    return any(
        ast.unparse(decorator).endswith((".setter", "overload", "override"))
        for decorator in getattr(node, "decorator_list", [])
    )


def test_everything_public_says_what_it_is() -> None:
    modules = {name(path): tree(path) for path in FILES}
    assert [file for file, module in modules.items() if not ast.get_docstring(module)] == []
    bare = {file: _bare(module.body, "") for file, module in modules.items()}
    assert {file: names for file, names in bare.items() if names} == {}


def test_a_missing_docstring_is_seen() -> None:
    source = 'def good():\n "d"\ndef bad(): 0\ndef _own(): 0\nclass C:\n "d"\n def m(self): 0'
    assert _bare(ast.parse(source).body, "") == ["bad", "C.m"]


def _unsafe(module: ast.Module) -> list[str]:
    """Calls and imports that could run code out of a data file."""
    calls = []
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module in _UNPICKLERS:
            names = {alias.name for alias in node.names}
            calls += [
                f"{node.module}.{name}" for name in sorted(names & {"load", "loads", "Unpickler"})
            ]
        if isinstance(node, ast.Import):
            modules = {alias.name for alias in node.names}
            calls += sorted(modules & (_UNPICKLERS - {"pickle", "torch"}))
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in ("pickle.load", "pickle.loads", "pickle.Unpickler", "pd.read_pickle"):
            calls.append(called)
        if called == "torch.load" and given.get("weights_only") != "True":
            calls.append("torch.load without weights_only=True")
        if (
            called.endswith(("np.load", "numpy.load"))
            and given.get("allow_pickle", "False") != "False"
        ):
            calls.append("np.load with allow_pickle")
        if called in ("eval", "exec", "torch.jit.load", "torch.hub.load"):
            calls.append(called)
    return calls


_UNPICKLERS = {"pickle", "torch", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def test_nothing_unpickles() -> None:
    unsafe = {name(path): _unsafe(tree(path)) for path in FILES}
    assert {file: calls for file, calls in unsafe.items() if calls} == {}


@pytest.mark.parametrize(
    "source",
    [
        "pickle.load(f)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "torch.load(p, weights_only=flag)",
        "np.load(p, allow_pickle=True)",
        "import joblib",
        "from torch import load",
        "from pickle import loads",
        "eval(text)",
    ],
)
def test_what_unpickles_is_seen(source: str) -> None:
    assert len(_unsafe(ast.parse(source))) == 1


@pytest.mark.parametrize(
    "source", ["torch.load(p, weights_only=True)", "import pickle", "np.load(p)"]
)
def test_what_is_safe_passes(source: str) -> None:
    assert _unsafe(ast.parse(source)) == []
