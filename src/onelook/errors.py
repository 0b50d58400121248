"""What can go wrong, as exceptions that tell a user what to do next."""

# Names come from outside: none may break a line, move a terminal's cursor or colour it.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
CONTROLS |= {9: "\\t", 10: "\\n", 13: "\\r", 0x2028: "\\u2028", 0x2029: "\\u2029"}


class OnelookError(Exception):
    """Base of every error that onelook raises for a user to read.

    Each argument is one line of the message, its line breaks and other control characters
    escaped.
    """

    def __init__(self, *lines: object) -> None:
        super().__init__(*(str(line).translate(CONTROLS) for line in lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


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
