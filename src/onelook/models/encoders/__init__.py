"""Encoders: inputs in, embeddings (N, D) out.

Each has ``embedding_size`` and ``input_shape``: (channels, height, width), or None for
sequences.
"""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from onelook.models.encoders.att import AttEncoder
from onelook.models.encoders.compact import CompactEncoder
from onelook.models.encoders.dlib_faces import DlibFaceEncoder
from onelook.models.encoders.external import (
    EfficientNetLite0Encoder,
    EfficientNetLite2Encoder,
    TimmEncoder,
)
from onelook.models.encoders.headed import HeadedEncoder
from onelook.models.encoders.hub import HubEncoder
from onelook.models.encoders.koch import KochEncoder
from onelook.models.encoders.lfw import LfwEncoder
from onelook.models.encoders.mirrored import MirroredEncoder
from onelook.models.encoders.sequence import LstmEncoder, StrokeEncoder
from onelook.models.named import build_named
from onelook.recipe import NamedSettings

ENCODERS: dict[str, type[nn.Module]] = {
    "att": AttEncoder,
    "lfw19": LfwEncoder,
    "koch": KochEncoder,
    "compact": CompactEncoder,
    "lstm": LstmEncoder,
    "stroke-lstm": StrokeEncoder,
    "efficientnet-lite0": EfficientNetLite0Encoder,
    "efficientnet-lite2": EfficientNetLite2Encoder,
    "timm": TimmEncoder,
    "dlib-faces": DlibFaceEncoder,
    "mirrored": MirroredEncoder,
    "headed": HeadedEncoder,
    "hub": HubEncoder,
}


def encoder_class(name: str) -> type[nn.Module]:
    """The class of a name in ``ENCODERS``, or of a path such as "mypackage.nets:Net"."""
    if name in ENCODERS:
        return ENCODERS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        known = ", ".join([*ENCODERS, "package.module:Class"])
        raise ValueError(f"unknown encoder {name!r}; known: {known}")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise ValueError(
            f"the encoder {name!r} cannot be imported ({error}): install its package, or "
            "add its folder to PYTHONPATH"
        ) from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"{name!r} is not a class of torch.nn.Module")
    return found


def encoder_settings(settings: NamedSettings, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Name and arguments of a recipe's encoder, with what the data says of missing ones."""
    chosen = encoder_class(settings.name)
    takes, given = getattr(chosen, "input_shape", None), facts.get("input_shape")
    if given is not None and isinstance(takes, tuple) and takes != tuple(given):
        raise ValueError(
            f"encoder {settings.name!r} takes images of shape {takes} (channels, "
            f"height, width), got {tuple(given)}; change the recipe's images"
        )
    parameters = inspect.signature(chosen).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty]
    given_facts = {name: facts[name] for name in needed if name in facts}
    return {"name": settings.name, "arguments": {**settings.arguments, **given_facts}}


def build_encoder(settings: NamedSettings) -> Any:
    """The encoder that a recipe names, with its ``embedding_size`` and ``input_shape``.

    >>> arguments = {"vocabulary_size": 1000}
    >>> build_encoder(NamedSettings(name="lstm", arguments=arguments)).embedding_size
    50
    """
    known = {settings.name: encoder_class(settings.name)}
    encoder: Any = build_named("encoder", known, settings)
    if not hasattr(encoder, "embedding_size"):
        raise ValueError(
            f"the encoder {settings.name!r} needs an attribute embedding_size, the length "
            "of its embeddings"
        )
    return encoder
