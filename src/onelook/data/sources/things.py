"""Things: 15 objects and pets photographed in changing surroundings (Ruiz et al. 2023)."""

from onelook.data.sources.class_folders import class_folder
from onelook.data.sources.source import Source

SOURCE = Source(
    "things",
    "15 objects and pets, 81 photographs in changing surroundings",
    lambda root, settings: class_folder(root, name="things"),
    marks=("backpack", "bear_plushie"),
)
