"""Train, save and use a network of your own: python examples/own_encoder.py PHOTOS OUT.

PHOTOS holds one folder for each class. The saved model names the network by its import
path, own_encoder:Net, so whoever loads it needs this file on the Python path.
Needs onelook[train].
"""

import argparse
from pathlib import Path

from torch import Tensor, nn

import onelook


class Net(nn.Module):
    """A small network; any module that maps images to embeddings will do."""

    input_shape = (3, 64, 64)  # channels, height, width

    def __init__(self, width: int = 32, embedding_size: int = 64) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, width, 5, stride=2, padding=2), nn.ReLU()),
            *(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, embedding_size)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, 64, 64) to embeddings (N, D)."""
        embeddings: Tensor = self.layers(images)
        return embeddings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of CLASS/IMAGE")
    parser.add_argument("out", type=Path, help="the model folder to write")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    run = onelook.train(
        "class-folder-scratch",
        options.photos,
        options.out,
        changes={
            "encoder": {"name": "own_encoder:Net", "arguments": {"width": 32}},
            "data.validation_fraction": 0.4,
            "epochs": options.epochs,
        },
    )
    verifier = onelook.load(run.out)
    first, second = sorted(sorted(options.photos.iterdir())[0].iterdir())[:2]
    print(verifier.compare(first, second).verdict)


if __name__ == "__main__":
    main()
