"""The network that a recipe or a model folder describes."""

from typing import Any

from torch import nn

from onelook.models.encoders import build_encoder
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import build_similarity
from onelook.recipe import NamedSettings


def build_model(
    network: dict[str, Any], encoder: nn.Module | None = None
) -> Siamese | PseudoSiamese:
    """The network of the "model" part of ``model.json``, with fresh weights."""
    left: Any = encoder or build_encoder(NamedSettings.model_validate(network["encoder"]))
    similarity_settings = NamedSettings.model_validate(network["similarity"])
    similarity = build_similarity(similarity_settings, left.embedding_size)
    if network.get("right_encoder") is None:
        return Siamese(left, similarity)
    right = build_encoder(NamedSettings.model_validate(network["right_encoder"]))
    return PseudoSiamese(left, right, similarity)
