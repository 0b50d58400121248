"""What can go wrong, as exceptions that tell a user what to do next."""


class OnelookError(Exception):
    """Base of every error that onelook raises for a user to read."""


class MissingExtraError(OnelookError):
    """A package that is not installed; the message names the extra that brings it."""


class DataError(OnelookError):
    """An unreadable image, a malformed pair file, or too few images for a request."""


class UnfitError(DataError):
    """A readable image of no use: without ink or a face, blurred; quotes nothing of it."""


class TooLargeError(DataError):
    """An image with more pixels than are allowed; found before it is decoded."""


class CheckpointError(OnelookError):
    """A model folder of a wrong format, or weights that do not fit their encoder."""


class TrainingError(OnelookError):
    """A loss that is not a number, or embeddings that have collapsed."""


class GalleryError(OnelookError):
    """A gallery of another model, an unknown identity, or embeddings that do not fit."""


class UnknownIdentityError(GalleryError):
    """An identity that is not in the gallery."""


def one_line(error: object) -> str:
    """What another library says of an error, in one line."""
    return " ".join(str(error).split())
