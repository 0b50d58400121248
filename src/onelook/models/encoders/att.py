"""The encoder of the published AT&T faces system: 3 convolutions, 3 linear layers."""

import torch.nn.functional as F
from torch import Tensor, nn


class AttEncoder(nn.Module):
    """Convolutional encoder of the AT&T system, for grey images of 100 x 100 pixels.

    The map keeps its size: there is no pooling, and the first linear layer holds nearly all
    of the 40.25 million parameters.

    Args:
        dropout: Share of the channels dropped after each batch norm, in [0, 1): 0 in one of
            the two published variants, 0.2 in the other.
    """

    embedding_size = 5
    input_shape = (1, 100, 100)  # channels, height, width

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect")
        self.norm1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect")
        self.norm2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.norm3 = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout2d(dropout)
        self.fc1 = nn.Linear(8 * 100 * 100, 500)
        self.fc2 = nn.Linear(500, 500)
        self.fc3 = nn.Linear(500, self.embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 1, 100, 100) to embeddings (N, 5)."""
        x = self.dropout(self.norm1(F.relu(self.conv1(images))))  # (N, 4, 100, 100)
        x = self.dropout(self.norm2(F.relu(self.conv2(x))))  # (N, 8, 100, 100)
        x = self.dropout(self.norm3(F.relu(self.conv3(x))))  # (N, 8, 100, 100)
        x = F.relu(self.fc1(x.flatten(1)))  # (N, 500)
        x = F.relu(self.fc2(x))  # (N, 500)
        embeddings: Tensor = self.fc3(x)  # (N, 5)
        return embeddings
