"""What every test of faults begins with: a folder that holds one of each thing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw


def drawing(path: Path, rng: np.random.Generator) -> None:
    image = Image.new("L", (64, 64), 255)
    points = [(float(x), float(y)) for x, y in rng.uniform(8, 56, (4, 2))]
    ImageDraw.Draw(image).line(points, 0, 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture(scope="session")
def known(tmp_path_factory, shapes_folder, shapes_recipe):
    """The environment of scripts: ``$IN`` with images, a recipe, and in ``$IN/disk`` a
    gallery, a model, an older model, tokens and vectors; ``$onelook`` is the command."""
    folder, rng = tmp_path_factory.mktemp("in"), np.random.default_rng(0)
    for name in "ab":
        for i in range(2):
            drawing(folder / "people" / name / f"{i}.png", rng)
    for i in range(24):
        drawing(folder / "place" / f"{i}.png", rng)
    recipe = shapes_recipe.model_dump(mode="json") | {"epochs": 3}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    disk = folder / "disk"
    golden = Path(__file__).parents[1] / "golden" / "model-cosine"
    shutil.copytree(golden, disk / "old")
    environment = os.environ | {
        "IN": str(folder),
        "DISK": str(disk),
        "NAME": "second",
        "SHAPES": str(shapes_folder),
        "onelook": f"{sys.executable} -m onelook",
    }
    script = """
        set -e
        $onelook enroll $IN/people/a -g $DISK/g.db
        $onelook embed $IN/people/a -o $DISK/v.npz
        $onelook token $DISK/tokens.json --name first
        $onelook calibrate omniglot --cohort $IN/place -o $DISK/model
    """
    subprocess.run(["bash", "-c", script], env=environment, check=True)
    return environment
