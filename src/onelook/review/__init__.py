"""Review a folder of images: duplicates, labels that look wrong, strangers, groups."""

from onelook.review.review import Review, review

__all__ = ["Review", "review"]
