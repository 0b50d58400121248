"""Begin a training with the weights of another one instead of with random ones."""

from onelook.errors import CheckpointError
from onelook.loading import load
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.verifier import Verifier


def start_from(name: str, model: Siamese | PseudoSiamese) -> str:
    """Give ``model``'s encoder the weights of a trained one, and return its fingerprint.

    The images may be of another size if the encoder takes any. The similarity, the loss and
    the optimizer start fresh.
    """
    other = load(name, runtime="torch")
    _check_kind(name, model, other)
    assert isinstance(model, Siamese) and isinstance(other.model, Siamese)
    try:
        model.encoder.load_state_dict(other.model.encoder.state_dict())
    except RuntimeError as error:
        # PyTorch's message: a headline, then one line for each tensor.
        first = str(error).splitlines()[1:2] or [str(error)]
        raise CheckpointError(
            f"start: the encoder of {name} does not fit the recipe's: {first[0].strip()}; "
            f"set the recipe's encoder to {(other.network or {}).get('encoder')}"
        ) from error
    return other.fingerprint


def _check_kind(name: str, model: Siamese | PseudoSiamese, other: Verifier) -> None:
    if not (isinstance(model, Siamese) and isinstance(other.model, Siamese)):
        raise CheckpointError(
            f"start: {name} and the recipe must both be twins of one encoder, not two"
        )
    # The same row of a text encoder's table is another word in another vocabulary.
    if not other.input.subject:
        raise CheckpointError(
            f"start: {name} does not take images; only image encoders can be started from"
        )
    kinds = [type(m.encoder).__name__ for m in (model, other.model)]
    if kinds[0] != kinds[1]:
        raise CheckpointError(
            f"start: {name} is a {kinds[1]}, the recipe's encoder is a {kinds[0]}; set the "
            f"recipe's encoder to {(other.network or {}).get('encoder')}"
        )
