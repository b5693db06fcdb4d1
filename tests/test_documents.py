"""Documents agree with the code: links, commands, options, recipes, names, rooms, flags."""

import ast
import inspect
import re
import shlex
import tomllib
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import nn

import tempering
from tempering.app.cli.entry import app
from tempering.app.recipe import load_recipe, recipes
from tempering.attacks import ATTACKS, parse_attack
from tempering.core.errors import RecipeError
from tempering.core.threat_checks import check_threat
from tempering.core.threats import parse_threat
from tempering.data import SPLITS
from tempering.data.sources.registered import find_source
from tempering.data.splits import Splits
from tests.architecture.sources import FILES, ROOT, SOURCE, tree

README, METHOD = ROOT / "README.md", ROOT / "docs" / "method.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
DOCUMENTS = [README, *OTHERS]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")

each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def prose(text: str) -> str:
    return FENCE.sub("", text)


def blocks(text: str, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(text) if kind == language]


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower().strip())
    return kept.replace(" ", "-")


# Links


def anchors(target: Path) -> set[str]:
    """What a link can point at within a page."""
    return {slug(heading) for heading in HEADING.findall(target.read_text("utf-8"))}


def broken_links(path: Path, text: str) -> list[str]:
    """Targets within the repository that are not there."""
    broken = []
    for link in LINK.findall(prose(text)):
        file, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@each_document
def test_links_point_at_what_is_there(path: Path) -> None:
    assert broken_links(path, path.read_text("utf-8")) == []


def test_a_broken_link_is_seen() -> None:
    text = "[a](CHANGELOG.md) [b](nowhere.md) ![c](docs/none.png) [d](docs/method.md#nowhere) "
    assert broken_links(README, text) == ["nowhere.md", "docs/none.png", "docs/method.md#nowhere"]


def test_the_readme_links_every_document() -> None:
    links = {(ROOT / link.partition("#")[0]).resolve() for link in LINK.findall(README.read_text())}
    assert {ROOT / "CONTRIBUTING.md", ROOT / "LICENSE", METHOD, ROOT / "docs/choices.md"} <= links


# Commands


def commands(text: str) -> list[list[str]]:
    """Calls of `temper` in shell blocks, without the program."""
    calls = []
    for line in "\n".join(blocks(text, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["torchrun"]:
            words = ["temper", *words[words.index("tempering") + 1 :]]
        if words[:1] == ["temper"]:
            calls.append(words[1:])
    return calls


def spoken(text: str) -> Iterator[list[str]]:
    """Calls and options of `temper` within sentences."""
    for span in SPAN.findall(prose(text)):
        if span.startswith("temper "):
            yield shlex.split(span)[1:]
        elif span.startswith("--"):
            yield shlex.split(span)


def walk(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words begin with, and the words after it."""
    command, rest = typer.main.get_command(app), list(words)
    while rest and not rest[0].startswith("-") and hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, f"no command {name!r} in {' '.join(words)}"
        command = command.commands[name]
    return command, rest


def options(command: Any) -> set[str]:
    """Names of a command's options, and of those of all commands below it."""
    below = getattr(command, "commands", {}).values()
    own = {option for parameter in command.params for option in parameter.opts}
    return own.union({"--help"}, *map(options, below))


def check_call(words: list[str]) -> None:
    """Parse a whole call as `temper` would, and read its values."""
    command, rest = walk(words)
    given = command.make_context("temper", rest).params
    recipe = given.get("recipe") or "default"
    load_recipe(recipe if recipe in recipes() else "default", given.get("settings") or ())
    for attack in given.get("attacks") or ():
        parse_attack(attack)
    if given.get("threat"):
        parse_threat(given["threat"])
    if given.get("split"):
        assert given["split"] in SPLITS
    if address := given.get("data") or given.get("source"):
        find_source(address)


def check_spoken(words: list[str]) -> None:
    """Look for the command and the options, and read overrides."""
    command, rest = walk(words)
    for word in rest:
        if word.startswith("--"):
            assert word in options(command), f"no option {word} of temper {' '.join(words)}"
    values = [value for word, value in pairwise(rest) if word == "--set"]
    load_recipe("default", values)


@each_document
def test_commands_and_options_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    for words in commands(text):
        check_call(words)
    for words in spoken(text):
        check_spoken(words)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("temper hardn", "no command 'hardn'"),
        ("temper harden --recipies paper", "--recipies"),
        ("temper list weights", "weights"),
        ("temper reproduce --budget 20m", "20m"),
        ("temper certify", "Missing"),
        ("temper harden --set training.hardened.stoping.max_iterations=5", "unknown key"),
        ("temper harden --threat linf:8", "did you mean 8/255"),
        ("temper evaluate runs/latest --attack pgd:step=4", "unknown parameter of pgd"),
        ("temper data inspect mnits", "unknown data source"),
    ],
)
def test_a_wrong_call_is_seen(call: str, message: str) -> None:
    (words,) = commands(f"```sh\n{call}\n```")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - typer brings its own kinds
        check_call(words)
    assert message in getattr(raised.value, "message", "") + str(raised.value)


@pytest.mark.parametrize("span", ["--recipies", "temper hardn", "temper report --samples 3"])
def test_a_wrong_word_is_seen(span: str) -> None:
    with pytest.raises(AssertionError, match=r"no (option|command)"):
        check_spoken(next(spoken(f"Say `{span}`.")))


def test_the_readme_shows_every_command_and_every_recipe() -> None:
    text = README.read_text("utf-8")
    shown = {words[0] for words in commands(text)}
    assert shown == set(typer.main.get_command(app).commands)
    assert set(recipes()) <= set(SPAN.findall(text))


def test_the_page_of_attacks_names_every_attack() -> None:
    shown = set(SPAN.findall((ROOT / "docs" / "attacks.md").read_text("utf-8")))
    assert set(ATTACKS) <= shown


@each_document
def test_make_targets_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    lines = "\n".join(blocks(text, "sh")).splitlines() + SPAN.findall(prose(text))
    wanted = {line.split()[1] for line in lines if line.startswith("make ")}
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert wanted <= targets


def test_the_readme_opens_with_two_commands_and_a_picture() -> None:
    text = README.read_text("utf-8")
    opening = [line.split("#")[0].split() for line in blocks(text, "sh")[0].splitlines()]
    assert opening == [["make", "harden"], ["make", "test"]]
    assert text.index("make test") < text.index("docs/images/report.png") < text.index("\n## ")


# Recipes and Python


def test_recipes_in_documents_can_be_read(tmp_path: Path) -> None:
    shown = [block for path in DOCUMENTS for block in blocks(path.read_text("utf-8"), "toml")]
    assert shown
    for number, block in enumerate(shown):
        file = tmp_path / f"{number}.toml"
        file.write_text(block, encoding="utf-8")
        load_recipe(str(file))
        file.write_text(block.replace("budget_seconds", "budget_second"), encoding="utf-8")
        with pytest.raises(RecipeError, match="unknown key"):
            load_recipe(str(file))


@dataclass(frozen=True)
class Of:
    """Some value of a type."""

    kind: Any


class Names:
    """Follows an example by types: what it calls and reads must be there."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def run(self, source: str) -> None:
        for statement in ast.parse(source).body:
            match statement:
                case ast.Import(names=[ast.alias(name="tempering", asname=str(name))]):
                    self.known[name] = tempering
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.known[name] = self.of(value)
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if (
                    len(names) == len(values)
                ):
                    for name, value in zip(names, values, strict=True):
                        self.known[ast.unparse(name)] = self.of(value)
                case ast.Expr(value=value):
                    self.of(value)
                case _:
                    raise AssertionError(f"cannot follow {ast.unparse(statement)}")

    def of(self, node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name):
                return self.known[name]
            case ast.Constant(value=value):
                return Of(type(value))
            case ast.Subscript(value=value):
                return self.of(value)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return Of([self.of(element) for element in elements])
            case ast.Attribute(value=value, attr=name):
                owner = self.of(value)
                return (
                    self.read(owner.kind, name) if isinstance(owner, Of) else getattr(owner, name)
                )
            case ast.Call(func=function, args=args, keywords=keywords):
                given = [self.of(arg) for arg in args]
                named = {str(keyword.arg): self.of(keyword.value) for keyword in keywords}
                return self.call(self.of(function), given, named)
        raise AssertionError(f"cannot follow {ast.unparse(node)}")

    @staticmethod
    def read(kind: Any, name: str) -> Of:
        fields = typing.get_type_hints(kind)
        if name in fields:
            return Of(fields[name])
        member = inspect.getattr_static(kind, name)
        if isinstance(member, property | cached_property):
            getter = member.fget if isinstance(member, property) else member.func
            return Of(typing.get_type_hints(getter)["return"])
        return member

    @staticmethod
    def call(function: Any, given: list[Any], named: dict[str, Any]) -> Of:
        if isinstance(function, Of):
            function, given = function.kind.__call__, [function, *given]
        inspect.signature(function).bind(*given, **named)
        if isinstance(function, type):
            return Of(function)
        return Of(typing.get_type_hints(function)["return"])


def test_examples_in_python_use_what_is_there() -> None:
    names = Names()
    for block in blocks(README.read_text("utf-8"), "python"):
        names.run(block)
    assert {"data", "result", "record"} <= names.known.keys()


def test_the_example_of_an_own_threat_and_attack_works() -> None:
    page = (ROOT / "docs" / "attacks.md").read_text("utf-8")
    classes, calls = blocks(page, "python")[-2:]
    own: dict[str, Any] = {}
    exec(classes, own)
    mask = torch.arange(8) < 4
    threat, x = own["Masked"](0.3, mask), torch.rand(5, 1, 8, 8)
    check_threat(threat, x)
    x_adv = own["Noise"]()(nn.Flatten(), x, torch.zeros(5, dtype=torch.int64), threat)
    assert torch.equal((x_adv != x).any(0), mask.expand(1, 8, 8))
    names = Names()
    names.known = own | {"mask": Of(torch.Tensor), "model": Of(nn.Module), "data": Of(Splits)}
    names.run(calls)
    assert {"result", "record"} <= names.known.keys()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("tp.hardn(tp.models.paper_cnn())", AttributeError),
        ("tp.models.paper_cn()", AttributeError),
        ("tp.Linf()", TypeError),
        ("tp.data.load('mnist', splits='paper')", TypeError),
        ("tp.harden().models", AttributeError),
        ("tp.harden().record.robust_accuracy.uper", AttributeError),
        ("tp.attacks.PGD(steps=4)(1, 2)", TypeError),
    ],
)
def test_a_wrong_example_is_seen(line: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Names().run(f"import tempering as tp\n{line}")


# Rooms and flags


def test_architecture_lists_every_room_on_its_floor() -> None:
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", ARCHITECTURE.read_text("utf-8"), re.MULTILINE)
    drawn: dict[str, set[str]] = {}
    for floor, room in rows:
        drawn.setdefault(floor, set()).add(room)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    built = [
        {room.strip().removeprefix("tempering.") for room in layer.split("|")} for layer in layers
    ]
    assert [drawn[floor] for floor in sorted(drawn, reverse=True)] == built
    rooms = {room for _, room in rows}
    assert rooms == {file.parent.name for file in SOURCE.glob("*/__init__.py")}
    picture = (ROOT / "docs" / "images" / "architecture.svg").read_text("utf-8")
    assert rooms == set(re.findall(r'class="name" [^>]*text-anchor="middle">(\w+)<', picture))


def flag_names() -> set[str]:
    """Names of all flags that the source raises: of kinds, and those made on the spot."""
    names = set()
    for path in FILES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            given = [keyword.value for keyword in node.keywords if keyword.arg == "name"]
            if node.func.id == "FlagKind":
                given = node.args[:1]
            elif node.func.id != "Flag":
                continue
            names |= {str(value.value) for value in given if isinstance(value, ast.Constant)}
    return names


def test_every_flag_is_explained() -> None:
    raised = flag_names()
    assert {
        "gradient masking by a stage",
        "single-step beats iterative",
        "leaks between splits",
    } <= raised
    section = METHOD.read_text("utf-8").partition("### Flags")[2]
    explained = set(re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)) - {"flag", "---"}
    page = (ROOT / "docs" / "flags.md").read_text("utf-8")
    entries = set(re.findall(r"^### (.+)$", page, re.MULTILINE))
    assert not explained & entries
    assert explained | entries == raised
