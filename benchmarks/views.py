"""Views: the same model, looking more than once at every image."""

from onelook.errors import CheckpointError
from onelook.models.network import build_model
from onelook.verifier import Verifier, from_model


def mirrored(verifier: Verifier) -> Verifier:
    """The model, averaging the embeddings of an image and of its mirror image.

    Twice the time, the same size of galleries. Its scores differ a little from those of the
    model itself, so it carries no decision: calibrate it.

    Args:
        verifier: A twin network on images, made by a recipe.

    Raises:
        CheckpointError: If its encoder has no name to build it again by.
    """
    model = verifier.network
    if model is None or not verifier.shared:
        raise CheckpointError(
            f"{verifier.name} cannot be mirrored: it is no twin network made by a recipe"
        )
    twice = {"name": "mirrored", "arguments": {"encoder": model["encoder"]}}
    about = {**model, "encoder": twice}
    twins = build_model(about)
    weights = verifier.model.state_dict()
    twins.load_state_dict(
        {
            f"encoder.{name}" if name.startswith("encoder.") else name: tensor
            for name, tensor in weights.items()
        }
    )
    return from_model(twins, verifier.input, card=verifier.card, network=about)
