"""Recipes: those that come along, how one builds on another, and what is refused."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tempering.app.recipe import Recipe, load_recipe, parse_recipe, recipes
from tempering.attacks import FGSM, parse_attack
from tempering.core.errors import RecipeError, ThreatError, UnknownNameError, UsageError
from tempering.core.threats import L0, Linf
from tests.app.running import TINY, temper

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def one(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return one


def tree() -> dict[str, Any]:
    return load_recipe().model_dump(mode="json", exclude_none=True)


def specs(value: Any, key: str = "") -> Iterator[str]:
    """Everything in a recipe that names an attack."""
    if isinstance(value, dict):
        for inner, each in value.items():
            yield from specs(each, inner)
    elif key == "attacks":
        yield from value
    elif key in ("attack", "fgsm", "pgd", "bim", "cw", "cw_gray"):
        yield value


def test_the_recipes_that_come_along_are_these() -> None:
    names = ["default", "paper", "paper-10m", "paper-90m", "paper-full"]
    assert set(names) <= set(recipes())


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_that_comes_along_loads_and_names_real_attacks(name: str) -> None:
    recipe = load_recipe(name)
    attacks = list(specs(recipe.model_dump(mode="json", exclude_none=True)))
    assert len(attacks) > 8
    for spec in attacks:
        assert parse_attack(spec).label()
    assert recipe.threat == Linf(0.3)
    first = recipes()[name].read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")


def test_paper_follows_the_paper() -> None:
    recipe = load_recipe("paper")
    mixture, stopping = recipe.training.hardened.mixture, recipe.training.hardened.stopping
    assert recipe.model.name == "paper_cnn"
    assert recipe.model.options.get("adversarial_class", True)
    assert recipe.data.split == "paper"
    assert recipe.data.augmentation.flip is not True
    for share in (mixture.clean, mixture.noisy, mixture.adversarial):
        assert share == pytest.approx(1 / 3, abs=1e-3)
    assert [attack.name for attack in mixture.attacks] == ["fgsm", "pgd", "bim", "cw-linf"]
    assert (mixture.sigma, mixture.alpha) == (0.1, 0.5)
    assert mixture.label_smoothing > 0
    assert (stopping.gain_at_least, stopping.max_iterations) == (0.1, 3000)


def test_a_recipe_written_out_reads_back_equal() -> None:
    for name in recipes():
        recipe = load_recipe(name)
        assert parse_recipe(recipe.model_dump(mode="json", exclude_none=True)) == recipe


def test_every_number_stands_in_a_file() -> None:
    def leaves(value: dict[str, Any], above: str = "") -> set[str]:
        found = set()
        for key, each in value.items():
            nested = isinstance(each, dict)
            found |= leaves(each, f"{above}{key}.") if nested else {f"{above}{key}"}
        return found

    written = leaves(tomllib.loads(recipes()["default"].read_text(encoding="utf-8")))
    filled_in = leaves(tree()) - written
    defaults = {"training.checkpoint_seconds", "evaluation.spread", "evaluation.subset"}
    rest = {key for key in filled_in if "augmentation" not in key} - defaults
    unused = ("plateau_gain", "optimizer", "momentum", "milestones", "swa_every", "accumulation")
    assert {key for key in rest if not key.endswith(unused)} == set()


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("seed=3", "seed", 3),
        (" seed = 3 ", "seed", 3),
        ("threat=linf:8/255", "threat", Linf(8 / 255)),
        ("data.split=paper", "data.split", "paper"),
        ('data.split="paper"', "data.split", "paper"),
        ("data.address=npz:my=faces.npz", "data.address", "npz:my=faces.npz"),
        ("evaluation.surrogate=false", "evaluation.surrogate", False),
        ("training.validation.attacks=['fgsm']", "training.validation.attacks", (FGSM(),)),
        ("training.hardened.optimisation.learning_rate=1e-4",
         "training.hardened.optimisation.learning_rate", 1e-4),
        ("training.hardened.stopping.gain_at_least=0.1",
         "training.hardened.stopping.gain_at_least", 0.1),
        ("training.hardened.stopping.plateau_rounds=none",
         "training.hardened.stopping.plateau_rounds", None),
        ("evaluation.curve=none", "evaluation.curve", None),
        ("evaluation.paper=none", "evaluation.paper", None),
        ("model.options.width=8", "model.options", {"width": 8}),
    ],
)  # fmt: skip
def test_values_are_overridden(override: str, key: str, value: Any) -> None:
    found: Any = load_recipe("default", [override])
    for name in key.split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    assert found == value if not isinstance(value, dict) else value.items() <= found.items()


def test_an_override_changes_nothing_else() -> None:
    changed = load_recipe("default", ["training.hardened.optimisation.batch_size=64"])
    before, after = tree(), changed.model_dump(mode="json", exclude_none=True)
    assert after["training"]["hardened"]["optimisation"].pop("batch_size") == 64
    before["training"]["hardened"]["optimisation"].pop("batch_size")
    assert before == after


def test_the_last_override_wins() -> None:
    assert load_recipe("default", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sed=3", "unknown key sed in the recipe: did you mean seed"),
        ("training.hardened.optimisation.learning_rat=1",
         r"unknown key training\.hardened\.optimisation\.learning_rat in the recipe: "
         r"did you mean training\.hardened\.optimisation\.learning_rate"),
        ("evaluation.curve.sample=3", r"did you mean evaluation\.curve\.samples"),
        ("whatever.it.is=3", "unknown key whatever in the recipe$"),
        ("base=paper", "unknown key base in the recipe"),
        ("seed", r"'seed' is not KEY=VALUE: write data\.split=paper or seed=3"),
        ("=3", "is not KEY=VALUE"),
        ("training..judge=3", "is not KEY=VALUE"),
        ("seed=soon", r"recipe: seed = 'soon': input should be a valid integer"),
        ("seed=none", r"recipe: seed: field required"),
        ("seed=1.5", "recipe: seed = 1.5: input should be a valid integer"),
        ("precision=16", "recipe: precision = 16: input should be 'auto', '32-true' or"),
        ("evaluation.samples=0", r"evaluation\.samples = 0: .*greater than or equal to 1"),
        ("evaluation.attacks=[]", r"evaluation\.attacks = \[\]"),
        ("evaluation.curve.shares=[-1.0]", r"evaluation\.curve\.shares\.0 = -1\.0"),
        ("evaluation.curve.shares=[]", r"evaluation\.curve\.shares"),
        ("evaluation.minimum_norm.attack=cw-linf", "'cw-linf' looks for no smallest change"),
        ("evaluation.minimum_norm.norm=l7", r"minimum_norm\.norm = 'l7'"),
        ("evaluation.minimum_norm.bounds=[-1.0]", r"bounds\.0 = -1\.0"),
        ("training.hardened.mixture.clean=0.9", r"shares clean \+ noisy \+ adversarial = \d"),
        ("training.hardened.stopping.max_iterations=0", r"max_iterations = 0"),
        ("training.hardened.optimisation.learning_rate=nan", "finite number"),
        ("training.checkpoint_seconds=-1", r"checkpoint_seconds = -1"),
        ("training=3", "recipe: training = 3"),
        ("data.augmentation.rotation=-3", r"data\.augmentation\.rotation"),
    ],
)  # fmt: skip
def test_bad_settings_are_named(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe("default", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "kind", "message"),
    [
        ("threat=linf:8", ThreatError, "did you mean 8/255"),
        ("threat=loo:1", ThreatError, "is not NORM:EPS"),
        ("threat=l0:5", ThreatError, "does not attack in l0"),
        ("evaluation.attacks=['pdg']", UnknownNameError, "'pdg': did you mean pgd"),
        (
            "training.validation.attacks=['pgd:step=3']",
            UnknownNameError,
            "'step': did you mean steps",
        ),
        ("training.hardened.mixture.attacks=['bam']", UnknownNameError, "'bam': did you mean bim"),
        ("training.hardened.mixture.attacks=['cw-l2']", ThreatError, "cw-l2 does not attack in"),
        ("evaluation.curve.attacks=['cw-l2']", ThreatError, "cw-l2 does not attack in linf"),
        ("evaluation.minimum_norm.norm=linf", ThreatError, "cw-l2 does not attack in linf"),
        ("evaluation.minimum_norm.attack=cw", UnknownNameError, "unknown attack 'cw'"),
        ("evaluation.paper.cw=cw-l3", UnknownNameError, "'cw-l3': did you mean cw-l2"),
        ("evaluation.attacks=['pgd:steps=many']", UsageError, "a whole number"),
    ],
)
def test_threats_and_attacks_are_checked_at_once(
    override: str, kind: type[UsageError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        load_recipe("default", [override])
    assert caught.value.exit_code == 2


def test_the_norms_of_all_attacks_are_checked_before_anything_starts() -> None:
    # each of the four lists decides alone: the others know l0
    only = [
        "threat=l0:5",
        "evaluation.attacks=['sigma-zero']",
        "evaluation.curve.attacks=['sigma-zero']",
        "training.validation.attacks=['sigma-zero']",
        "training.hardened.mixture.attacks=['sigma-zero']",
    ]
    assert load_recipe("default", only).threat == L0(5)
    for number in range(1, 5):
        other = [*only[:number], only[number].replace("sigma-zero", "pgd"), *only[number + 1 :]]
        setting = only[number].partition("=")[0]
        with pytest.raises(ThreatError, match=f"give {setting} others, such as sigma-zero"):
            load_recipe("default", other)
    with pytest.raises(ThreatError, match=", ".join(text.partition("=")[0] for text in only[1:4])):
        load_recipe("default", ["threat=l0:5"])


def test_an_unknown_recipe_is_offered_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown recipe 'papr': did you mean paper"):
        load_recipe("papr")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = ", r"my\.toml is not TOML"),
        ("\x00", r"my\.toml is not TOML"),
        ("seed = 3", r"recipe: threat: field required"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(write: Write, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write("my.toml", text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read recipe .*none\.toml"):
        load_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(RecipeError, match=r"cannot read recipe .*latin\.toml"):
        load_recipe(str(tmp_path / "latin.toml"))


def test_a_recipe_changes_its_base(write: Write) -> None:
    path = write("my.toml", 'base = "default"\nseed = 9\n[training.validation]\nsamples = 7\n')
    recipe, base = load_recipe(path), load_recipe("default")
    assert (recipe.seed, recipe.training.validation.samples) == (9, 7)
    assert recipe.training.validation.attacks == base.training.validation.attacks
    assert recipe.training.hardened == base.training.hardened


def test_none_takes_away_what_the_base_has(write: Write) -> None:
    text = """
base = "default"
[evaluation]
curve = "none"
[training.hardened.stopping]
plateau_rounds = "none"
gain_at_least = "none"
"""
    recipe = load_recipe(write("my.toml", text))
    assert load_recipe("default").evaluation.curve is not None
    assert recipe.evaluation.curve is None
    assert recipe.training.hardened.stopping.plateau_rounds is None
    assert recipe.training.hardened.stopping.gain_at_least is None
    assert recipe.evaluation.minimum_norm is not None


def test_bases_stack_and_overrides_come_last(write: Write) -> None:
    first = write("first.toml", 'base = "default"\nseed = 1\n[training.validation]\nsamples = 11\n')
    second = write("second.toml", f'base = "{first}"\nseed = 2\n')
    recipe = load_recipe(second, ["evaluation.samples=5"])
    assert (recipe.seed, recipe.training.validation.samples, recipe.evaluation.samples) == (
        2,
        11,
        5,
    )


def test_a_base_is_found_beside_the_file_that_names_it(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write("inner/first.toml", 'base = "default"\nseed = 4\n')
    path = write("inner/second.toml", 'base = "first.toml"\n')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_recipe(path).seed == 4


def test_a_recipe_that_is_its_own_base_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    write("one.toml", 'base = "one.toml"\n')
    write("two.toml", 'base = "inner/three.toml"\n')
    write("inner/three.toml", 'base = "../two.toml"\n')
    for name in ("one.toml", "./one.toml", "two.toml", "inner/three.toml"):
        with pytest.raises(RecipeError, match=r"recipe .*\.toml is its own base: .* -> "):
            load_recipe(name)


@pytest.mark.parametrize("base", ['"defualt"', "3", '"none.toml"'])
def test_a_base_that_is_none_is_named(write: Write, base: str) -> None:
    with pytest.raises((RecipeError, UnknownNameError), match=base.strip('"')):
        load_recipe(write("my.toml", f"base = {base}\n"))


def test_recipes_do_not_change() -> None:
    recipe = load_recipe(str(TINY))
    assert isinstance(recipe, Recipe)
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3


def test_another_network_does_not_inherit_the_options_of_the_base(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('base = "default"\n[model]\nname = "pipeline"\n')
    model = load_recipe(str(tmp_path / "own.toml")).model
    assert (model.options, model.undefended, model.tonal) == ({}, {}, {})
    (tmp_path / "same.toml").write_text('base = "default"\n[model]\nname = "strided_cnn"\n')
    assert load_recipe(str(tmp_path / "same.toml")).model == load_recipe("default").model


def test_an_option_that_is_asked_for_holds_for_all_images() -> None:
    given = load_recipe("default").model
    asked = load_recipe("default", ["model.options.threshold=0.4"]).model
    assert set(given.tonal) == {"threshold"}
    assert (asked.options["threshold"], asked.tonal) == (0.4, {})
    assert load_recipe("default", ["model.options.width=4"]).model.tonal == given.tonal


@pytest.mark.parametrize("value", ["learn=2", '"threshold:learn=2"', "{learn = 2}"])
def test_a_threshold_to_be_learned_in_a_network_names_the_defense(
    value: str, tmp_path: Path
) -> None:
    words = ["harden", "--data", "digits", "--set", f"model.options.threshold={value}"]
    done = temper(*words, folder=tmp_path)
    assert done.code == 2
    assert done.err.startswith("error: threshold ")
    assert done.err.endswith(
        " in a network: give a number, or one for each channel; values to be learned stand before "
        "it, --defense threshold:learn=2\n"
    )
