"""The three networks that are timed, their recipes and the files that they train on."""

from dataclasses import dataclass
from pathlib import Path

from onelook.data.reading import read_bytes, split_address
from onelook.recipe import ImageSettings, Recipe, read_recipe
from onelook.training.data import TrainingData
from onelook.training.prepare import prepare

# The network, its data and its batch are those of a recipe.
RECIPES = {
    "att": "att-contrastive",
    "lfw": "lfw19-contrastive",
    "compact": "omniglot-compact",
}
TITLES = {
    "att": "AttEncoder on AT&T",
    "lfw": "LfwEncoder on LFW",
    "compact": "CompactEncoder on Omniglot",
}
# Their names in results.json.
MODELS = {network: title.split()[0] for network, title in TITLES.items()}


@dataclass(frozen=True, eq=False)
class Files:
    """Training images as plain files, and the class of each."""

    paths: list[str]
    labels: list[int]


def recipe_of(network: str) -> Recipe:
    return read_recipe(RECIPES[network])


def material_of(network: str) -> TrainingData:
    """What onelook trains on; decoded once, by the first process that asks."""
    return prepare(recipe_of(network), progress=False)


def plain_images(recipe: Recipe) -> ImageSettings:
    """The recipe's images for a plain loader, which knows nothing of framing ink."""
    assert recipe.images is not None
    return recipe.images.model_copy(update={"ink": None})


def training_files(material: TrainingData, folder: Path) -> Files:
    """The training images out of their archives, each class in a folder of its own.

    A plain loop reads files, so it shall not pay for an archive. Written once.
    """
    store = material.left.store
    addresses = [store.addresses[row] for row in material.left.rows]
    paths = []
    for address in addresses:
        archive, member = split_address(address)
        path = folder / member if archive else Path(address)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(read_bytes(address))
        paths.append(str(path))
    classes = {name: i for i, name in enumerate(sorted({_parent(p) for p in paths}))}
    return Files(paths, [classes[_parent(path)] for path in paths])


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
