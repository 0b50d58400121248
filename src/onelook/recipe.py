"""Recipe: what to train, on what, and how; read from YAML, saved with the model."""

import reprlib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from onelook.errors import DataError, one_line


class Settings(BaseModel):
    """Base of every settings block: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(Settings):
    # A name from onelook.data.sources.SOURCES: "onelook data list" prints them.
    source: str
    # Part of the source that is trained on, as the source names it ("" = its default).
    part: str = ""
    # Pair file of the training pairs, relative to the data folder; "" = pairs are sampled.
    pair_file: str = ""
    # pair-table only: the columns of the CSV file, what its sides are, what its label says.
    left_column: str = "left"
    right_column: str = "right"
    label_column: str = "label"
    left_side: Literal["path", "text"] = "path"
    right_side: Literal["path", "text"] = "path"
    label: Literal["is_same", "target"] = "is_same"
    # Class folders only: number of folders above an image's class folder (0 = CLASS/IMAGE).
    depth: int = Field(0, ge=0)
    # Share of the training classes (or groups) held out to choose epochs and thresholds.
    validation_fraction: float = Field(0.15, gt=0, lt=1)
    # What is held out whole: classes, groups such as alphabets, or classes by a hash of
    # their names: the same ones whatever part of the data they are in.
    validation_by: Literal["class", "group", "name"] = "class"
    # 4 makes quarter-turned images new classes, 1 does not.
    rotations: Literal[1, 4] = 1


class InkSettings(Settings):
    """How a drawing becomes bright strokes of one width on black, centred in its frame."""

    # What the longer side of the drawing fills of the frame.
    fill: float = Field(0.8, gt=0, le=1)
    # Width of the strokes, as a share of the frame's shorter side.
    pen: float = Field(0.05, gt=0, le=0.25)
    # Smallest and largest size against a plain resize of the whole picture, so that small
    # drawings stay smaller; None: every drawing fills the same share.
    zoom: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _check(self) -> "InkSettings":
        if self.pen > self.fill / 2:
            raise ValueError(f"pen must be at most half of fill, {self.fill / 2:g}")
        if self.zoom is not None and not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError("zoom must be the smallest and the largest size, above 0")
        return self


class ImageSettings(Settings):
    """How an image file becomes a (channels, height, width) tensor."""

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    channels: Literal[1, 3] = 1
    # Side of the centred square that is kept before resizing, as a fraction of the shorter
    # side. 0 keeps the whole image.
    crop: float = Field(0.0, ge=0, le=1)
    # "stretch" ignores the aspect ratio; "pad" keeps it, filling with the border's median.
    fit: Literal["stretch", "pad"] = "stretch"
    resample: Literal["bilinear", "box", "bicubic", "lanczos"] = "bilinear"
    # 255 - pixel: dark ink becomes large values.
    invert: bool = False
    # For drawings from anywhere: the ink is found, centred and drawn again with one pen.
    # fit and resample then play no part; the ink is bright with invert, else dark.
    ink: InkSettings | None = None
    # Per channel, on pixels in [0, 1]; applied after augmentation.
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


class SequenceSettings(Settings):
    """How a text or a stroke file becomes a padded sequence."""

    kind: Literal["text", "strokes"]
    # Longest sequence kept: words or characters of a text, pen points of a drawing.
    max_length: int = Field(128, gt=0)
    # What one token of a text is.
    unit: Literal["word", "character"] = "word"
    # Words rarer than this in the training texts become the unknown word.
    min_count: int = Field(1, gt=0)


class NamedSettings(Settings):
    """A name from a known table and the arguments that its class takes."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class SamplingSettings(Settings):
    # classes = P x K batches; pairs = balanced pairs; pair-list = the data's own pairs;
    # triplets = random (anchor, positive, negative).
    name: Literal["classes", "pairs", "pair-list", "triplets"]
    classes_per_batch: int = Field(32, gt=0)
    samples_per_class: int = Field(2, gt=1)
    # For pairs and pair lists: pairs a batch. For triplets: triplets a batch.
    batch_size: int = Field(64, gt=0)
    # Share of the negatives (or P x K batches) drawn within one group, such as an alphabet.
    within_group: float = Field(0.0, ge=0, le=1)
    # Items, pairs or triplets an epoch; 0 = one for each training item.
    per_epoch: int = Field(0, ge=0)


class AugmentSettings(Settings):
    """Random changes drawn for each image on its own; 0 or False switches a change off."""

    # Each of the geometric parts is applied with this probability.
    probability: float = Field(1.0, ge=0, le=1)
    rotation_degrees: float = Field(0.0, ge=0)  # uniform in +- this
    shear: float = Field(0.0, ge=0)  # x and y shear factors, uniform in +- this
    scale: tuple[float, float] = (1.0, 1.0)  # x and y factors, uniform between
    shift: float = Field(0.0, ge=0)  # uniform in +- this share of the side
    flip: bool = False  # left-right with probability 0.5
    invert: bool = False  # 1 - image with probability 0.5
    # Standard deviation of the displacement, and its wavelength; shares of the side.
    elastic: float = Field(0.0, ge=0)
    elastic_smoothing: float = Field(0.1, gt=0)
    brightness: float = Field(0.0, ge=0)  # factor in 1 +- this
    contrast: float = Field(0.0, ge=0)  # factor in 1 +- this
    saturation: float = Field(0.0, ge=0)  # factor in 1 +- this, colour images only
    erasing: float = Field(0.0, ge=0, le=1)  # probability of one erased rectangle
    stroke_width: float = Field(0.0, ge=0, le=1)  # probability of thicker or thinner ink
    # What lies outside after a geometric change: a value in [0, 1], or the repeated border.
    fill: float | Literal["border"] = 0.0


class OptimizerSettings(Settings):
    # muon: orthogonal steps for all convolutions but the first, AdamW for the rest.
    name: Literal["adam", "adamw", "muon", "sgd"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    # Rate and decay of Muon's orthogonal steps.
    muon_rate: float = Field(0.05, gt=0)
    muon_decay: float = Field(0.0, ge=0)
    # SGD's momentum at the start and after the last epoch; rises linearly between.
    momentum: tuple[float, float] = (0.9, 0.9)
    # Factors of the learning rate for parameters whose name starts with the key.
    layer_rates: dict[str, float] = Field(default_factory=dict)
    # Layer-wise L2 for parameters whose name starts with the key; others have weight_decay.
    layer_decays: dict[str, float] = Field(default_factory=dict)
    # constant; cosine to 0; linear to 0; exponential: times epoch_decay each epoch.
    schedule: Literal["constant", "cosine", "linear", "exponential"] = "constant"
    epoch_decay: float = Field(0.99, gt=0, le=1)
    warmup_steps: int = Field(0, ge=0)
    # Largest norm of the whole gradient; 0 = not clipped.
    clip_norm: float = Field(0.0, ge=0)
    # Decay of the averaged weights that are evaluated and saved; 0 = none.
    ema: float = Field(0.0, ge=0, lt=1)


class ValidationSettings(Settings):
    # one-shot: error of n_way trials; verification: AUC of pairs; pearson: graded pairs.
    figure: Literal["one-shot", "verification", "pearson"] = "one-shot"
    n_way: int = Field(20, gt=1)
    n_trials: int = Field(2000, gt=0)
    every_epochs: int = Field(1, gt=0)
    # Stop after this many validations without gain; 0 = never.
    patience: int = Field(0, ge=0)


class Recipe(Settings):
    """Everything that decides what a training gives.

    Raises:
        DataError: From ``read_recipe`` when the file, a key or a value is wrong.
    """

    name: str
    # What it reproduces: paper, protocol.
    about: str = ""
    # The published figure, for people.
    published: str = ""
    # Minutes on two CPU cores, as measured.
    minutes: float = Field(0.0, ge=0)
    data: DataSettings
    images: ImageSettings | None = None
    # Left and right sides that are not images. A twin network has the same on both.
    left: SequenceSettings | None = None
    right: SequenceSettings | None = None
    encoder: NamedSettings
    # A model folder or a shipped model whose weights the encoder begins with; "" = random.
    start: str = ""
    # A second encoder for the right side makes the network pseudo-siamese.
    right_encoder: NamedSettings | None = None
    similarity: NamedSettings
    loss: NamedSettings
    sampling: SamplingSettings
    augment: AugmentSettings = AugmentSettings()
    # Whether batch norm sees left and right twins in one batch or in two.
    twins: Literal["together", "apart"] = "together"
    optimizer: OptimizerSettings = OptimizerSettings()
    validation: ValidationSettings = ValidationSettings()
    epochs: int = Field(gt=0)
    # The false-accept rate that the stored threshold is meant for.
    far: float = Field(0.01, gt=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # Most items that pass the encoder together, where the whole batch (0) does not fit into
    # memory: the same gradient for a second pass, but batch norm sees each chunk alone.
    chunk: int = Field(0, ge=0)
    seed: int = 0


class HeadSettings(Settings):
    """A linear head after a ready network."""

    # Fewest classes with two images or more: with fewer no threshold means anything.
    fewest_classes: int = Field(5, ge=2)


class HeadRecipe(Settings):
    """A head fitted on the embeddings of a ready network, which stays as it is."""

    name: str
    about: str = ""
    published: str = ""
    minutes: float = Field(0.0, ge=0)
    # All classes fit the head, and each is judged by heads that did not see it.
    data: DataSettings
    # A model folder or a shipped model of images.
    start: str
    head: HeadSettings
    far: float = Field(0.01, gt=0, lt=1)
    seed: int = 0


AnyRecipe = Recipe | HeadRecipe


def recipe_names() -> list[str]:
    """Names of the recipes that ship with onelook, sorted."""
    folder = resources.files("onelook") / "recipes"
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def read_recipe(source: "str | Path | AnyRecipe") -> AnyRecipe:
    """The recipe of a shipped name or a YAML file.

    Args:
        source: A name from ``recipe_names()``, a YAML file, or a Recipe, returned as is.

    Raises:
        DataError: If there is no such recipe, or it has an unknown key or a bad value.
    """
    if isinstance(source, Recipe | HeadRecipe):
        return source
    name = str(source)
    names = recipe_names()
    shipped = resources.files("onelook") / "recipes" / f"{name}.yaml"
    file = shipped if name in names else Path(name)
    if not file.is_file():
        raise DataError(f"no recipe {name!r}: not a file, and known are {', '.join(names)}")
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{name} is not valid YAML: {one_line(error)}") from error
    except RecursionError as error:
        raise DataError(f"{name} is nested too deeply to be a recipe") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{name}: expected a mapping of settings, got {type(content).__name__}"
        )
    return parse_recipe(content, name)


def parse_recipe(content: dict[str, Any], name: str) -> AnyRecipe:
    """A recipe from a plain mapping, of a head if it has one; ``name`` is for messages."""
    kind = HeadRecipe if "head" in content else Recipe
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise DataError(_explain(error, name, kind)) from error
    except RecursionError as error:
        raise DataError(f"{name} is nested too deeply to be a recipe") from error


def override(recipe: AnyRecipe, changes: dict[str, Any]) -> AnyRecipe:
    """The recipe with dotted settings changed: ``{"optimizer.ema": 0.9, "epochs": 3}``."""
    content = recipe.model_dump()
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        block = content
        for parent in parents:
            if not isinstance(block.get(parent), dict):
                raise DataError(f"{dotted}: {recipe.name} has no settings block {parent!r}")
            block = block[parent]
        block[last] = value
    return parse_recipe(content, recipe.name)


def _explain(error: ValidationError, name: str, kind: type[Settings]) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            known = ", ".join(sorted(_known_keys(problem["loc"][:-1], kind)))
            lines.append(f"unknown key {where!r}; known: {known}")
        elif problem["type"] == "missing":
            lines.append(f"{where} is missing")
        else:
            lines.append(f"{where}: {problem['msg']}, got {reprlib.repr(problem['input'])}")
    return f"{name}: " + "; ".join(lines)


def _known_keys(location: tuple[int | str, ...], kind: type[BaseModel]) -> list[str]:
    model = kind
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return list(model.model_fields)
