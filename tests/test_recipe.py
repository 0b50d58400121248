"""Recipes: read, refused, changed."""

from pathlib import Path

import pytest

from onelook.errors import DataError
from onelook.recipe import Recipe, override, read_recipe, recipe_names

PUBLISHED = {
    "att-contrastive",
    "att-contrastive-dropout",
    "lfw19-bce",
    "lfw19-contrastive",
    "koch-2015",
    "omniglot-compact",
    "triplet-omniglot",
    "strokes-pseudo",
    "sick-malstm",
    "digits",
    "class-folder",
    "class-folder-scratch",
}


def test_every_published_system_has_a_recipe():
    assert set(recipe_names()) >= PUBLISHED


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_is_valid_and_carries_its_own_name(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert recipe.about and recipe.published


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_is_headed_by_what_it_reproduces(name):
    text = (Path("src/onelook/recipes") / f"{name}.yaml").read_text()
    assert text.startswith("# Reproduces: ")


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(DataError, match="no recipe 'koch'.*koch-2015"):
        read_recipe("koch")


def test_an_unknown_key_names_the_known_ones(tmp_path):
    text = Path("src/onelook/recipes/digits.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("schedule:", "shedule:"))
    with pytest.raises(
        DataError, match="unknown key 'optimizer.shedule'; known: .*schedule"
    ):
        read_recipe(path)


def test_a_bad_value_is_named_with_what_was_given():
    with pytest.raises(
        DataError, match="optimizer.learning_rate: .*greater than 0, got -1"
    ):
        override(read_recipe("digits"), {"optimizer.learning_rate": -1})


def test_a_file_that_is_not_yaml_says_so(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("name: [1, 2")
    (tmp_path / "deep.yaml").write_text("a: " + 3000 * "[")
    with pytest.raises(DataError, match="deep.yaml is nested too deeply to be a recipe"):
        read_recipe(tmp_path / "deep.yaml")
    with pytest.raises(DataError, match="broken.yaml is not valid YAML"):
        read_recipe(path)


def test_override_changes_one_setting_and_nothing_else():
    recipe = read_recipe("digits")
    changed = override(recipe, {"epochs": 3, "loss.arguments.temperature": 0.5})
    assert changed.epochs == 3
    assert changed.loss.arguments == {"temperature": 0.5}
    unchanged = {"epochs", "loss"}
    assert changed.model_dump(exclude=unchanged) == recipe.model_dump(exclude=unchanged)


def test_a_recipe_survives_its_json():
    recipe = read_recipe("koch-2015")
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
