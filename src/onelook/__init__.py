"""onelook: tell from a single example whether two images show the same thing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from onelook.extras import import_extra

if TYPE_CHECKING:
    from onelook.batch import compare_files, compare_folders, write_comparisons
    from onelook.calibration.calibrate import calibrate
    from onelook.comparison import Comparison
    from onelook.data.inputs import ImageInput
    from onelook.data.items import Dataset, Pairs
    from onelook.data.sources.class_folders import class_folder
    from onelook.data.sources.pair_files import read_pairs, write_pairs
    from onelook.decision import Decision, fit_decision
    from onelook.errors import (
        CheckpointError,
        DataError,
        GalleryError,
        OnelookError,
        TrainingError,
    )
    from onelook.evaluation.protocols import evaluate
    from onelook.gallery.answers import Identification
    from onelook.gallery.gallery import Gallery
    from onelook.loading import load
    from onelook.models.siamese import PseudoSiamese, Siamese
    from onelook.recipe import ImageSettings, Recipe, read_recipe, recipe_names
    from onelook.training.loop import Interrupted
    from onelook.training.train import Run, train
    from onelook.vectors import embed_files, write_vectors
    from onelook.verifier import Verifier, from_function, from_model

__all__ = [
    "CheckpointError",
    "Comparison",
    "DataError",
    "Dataset",
    "Decision",
    "Gallery",
    "GalleryError",
    "Identification",
    "ImageInput",
    "ImageSettings",
    "Interrupted",
    "OnelookError",
    "Pairs",
    "PseudoSiamese",
    "Recipe",
    "Run",
    "Siamese",
    "TrainingError",
    "Verifier",
    "calibrate",
    "class_folder",
    "compare_files",
    "compare_folders",
    "embed_files",
    "evaluate",
    "fit_decision",
    "from_function",
    "from_model",
    "load",
    "read_pairs",
    "read_recipe",
    "recipe_names",
    "train",
    "write_comparisons",
    "write_pairs",
    "write_vectors",
]

# Each module is imported when one of its names is first used: `import onelook` stays quick.
_HOMES = {
    "onelook.batch": ("compare_files", "compare_folders", "write_comparisons"),
    "onelook.calibration.calibrate": ("calibrate",),
    "onelook.comparison": ("Comparison",),
    "onelook.data.items": ("Dataset", "Pairs"),
    "onelook.data.inputs": ("ImageInput",),
    "onelook.data.sources.pair_files": ("read_pairs", "write_pairs"),
    "onelook.data.sources.class_folders": ("class_folder",),
    "onelook.decision": ("Decision", "fit_decision"),
    "onelook.errors": (
        "CheckpointError",
        "DataError",
        "GalleryError",
        "OnelookError",
        "TrainingError",
    ),
    "onelook.evaluation.protocols": ("evaluate",),
    "onelook.gallery.answers": ("Identification",),
    "onelook.gallery.gallery": ("Gallery",),
    "onelook.models.siamese": ("PseudoSiamese", "Siamese"),
    "onelook.recipe": ("ImageSettings", "Recipe", "read_recipe", "recipe_names"),
    "onelook.training.loop": ("Interrupted",),
    "onelook.training.train": ("Run", "train"),
    "onelook.vectors": ("embed_files", "write_vectors"),
    "onelook.loading": ("load",),
    "onelook.verifier": ("Verifier", "from_function", "from_model"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            if module.startswith(("onelook.models", "onelook.training")):
                import_extra("torch", "train", f"onelook.{name}")
            value = globals()[name] = getattr(import_module(module), name)
            return value
    raise AttributeError(f"module 'onelook' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
