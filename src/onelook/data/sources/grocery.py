"""Grocery: products photographed in shops, and one catalogue picture of each.

Half of the Grocery Store data set: Klasson, Zhang, Kjellström. A Hierarchical Grocery Store
Image Dataset with Visual and Semantic Labels. WACV 2019.
"""

from pathlib import Path

import numpy as np

from onelook.data.archives import open_tree
from onelook.data.items import Dataset
from onelook.data.sources.class_folders import class_folder
from onelook.data.sources.source import Source, unknown_part
from onelook.errors import DataError


def grocery(root: str | Path, part: str = "photos") -> Dataset:
    """Products as classes: photographs from shops, or the pictures of a catalogue.

    ``root`` has ``photos/PRODUCT/NNN.jpg`` and ``catalogue/PRODUCT.jpg``; ``part`` is one
    of these folders, or ``"all"``, which names them in ``splits``.
    """
    if part not in SOURCE.parts:
        raise unknown_part(SOURCE, part)
    photos = class_folder(Path(root) / "photos", name="grocery")
    tree = open_tree(Path(root) / "catalogue")
    pictures = [f"{product}.jpg" for product in photos.class_names]
    missing = sorted(set(pictures) - set(tree.names))
    if missing:
        raise DataError(f"{root}/catalogue has no {missing[0]}; is it whole?")
    both = Dataset(
        name="grocery",
        paths=(*photos.paths, *map(tree.address, pictures)),
        labels=np.append(photos.labels, np.arange(len(pictures))),
        class_names=photos.class_names,
        splits=np.repeat(["photos", "catalogue"], [len(photos), len(pictures)]),
    )
    return both if part == "all" else both.of_split(part)


SOURCE = Source(
    "grocery",
    "40 products: 1,597 photographs from shops and 40 catalogue pictures",
    lambda root, settings: grocery(root, settings.part),
    parts=("photos", "catalogue", "all"),
    marks=("catalogue/Anjou.jpg",),
)
