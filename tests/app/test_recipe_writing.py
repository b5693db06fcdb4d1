"""Recipes as files: what is written is read again."""

from pathlib import Path

import pytest

from tempering.app.recipe import load_recipe, recipes
from tempering.app.recipe_writing import write_recipe


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_comes_back(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    path = write_recipe(recipe, tmp_path / "a.toml", ["the first line", "the second"])
    assert path.read_text().startswith("# the first line\n# the second\nseed = 0\n")
    assert load_recipe(str(path)) == recipe


def test_odd_values_come_back(tmp_path: Path) -> None:
    options = {
        "a key": 'quotes " and \\ and é',
        "list": [1, 2.5, True, {"name": "x", "inner": [{"deep": "y"}]}],
        "nested": {"empty": {}, "text": "line\nbreak"},
    }
    recipe = load_recipe("default", ["threat=linf:8/255"], {"model": {"options": options}})
    again = load_recipe(str(write_recipe(recipe, tmp_path / "a.toml")))
    assert again.model.options == recipe.model.options
    assert again == recipe
