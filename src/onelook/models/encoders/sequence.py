"""Encoders of sequences: a text's words or characters (MaLSTM), a drawing's pen strokes.

Inputs are ``(values, lengths)``, padded at the end; the padding never changes an embedding.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SequenceInputs = tuple[Tensor, Tensor]
PADDING_TOKEN = 0


class PaddedLstm(nn.Module):
    """An LSTM that reads each sequence up to its length, in one or both directions.

    The same as ``nn.LSTM`` on packed sequences, which is half as fast on a CPU and, on
    other devices, waits for the lengths. Here the backward direction reads each sequence
    turned about within its length, so that padding always comes last. A larger bias of the
    forget gates lets memory last longer.
    """

    def __init__(
        self,
        size_in: int,
        hidden_size: int,
        n_layers: int = 1,
        bidirectional: bool = False,
        forget_bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.output_size = hidden_size * (2 if bidirectional else 1)
        sizes = [size_in] + [self.output_size] * (n_layers - 1)
        self.ahead = nn.ModuleList(_lstm(size, hidden_size, forget_bias) for size in sizes)
        self.back = nn.ModuleList(
            _lstm(size, hidden_size, forget_bias) for size in sizes if bidirectional
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map steps (N, T, size_in) to states (N, T, D) and each direction's last (N, D).

        What stands behind the length in the states means nothing. An empty sequence counts
        as one step of padding.
        """
        ends = lengths.clamp(min=1) - 1  # (N,)
        steps = torch.arange(x.shape[1], device=x.device)[None, :]
        turned = torch.where(steps <= ends[:, None], ends[:, None] - steps, steps)  # (N, T)
        for layer, ahead in enumerate(self.ahead):
            states = ahead(x)[0]  # (N, T, hidden)
            last = _at(states, ends[:, None])[:, 0]
            if len(self.back):
                backward = self.back[layer](_at(x, turned))[0]
                last = torch.cat([last, _at(backward, ends[:, None])[:, 0]], dim=1)
                states = torch.cat([states, _at(backward, turned)], dim=2)
            x = states
        return x, last


class LstmEncoder(nn.Module):
    """LSTM over the tokens of a text, words or characters as the preprocessing says.

    Args:
        vocabulary_size: Number of tokens, with padding (0) and unknown (1).
        pooling: ``"last"`` gives the state after the last token, as published; ``"mean"``
            the mean of all states.
        dropout: Share of the numbers in the tokens' vectors that training sets to 0.
        forget_bias: What the forget gate's bias starts at; the paper's 2.5 lets memory
            last.

    Reference:
        Mueller, Thyagarajan. Siamese Recurrent Architectures for Learning Sentence
        Similarity. AAAI 2016. The paper's token vectors are pretrained; these are learned.
    """

    input_shape = None

    def __init__(
        self,
        vocabulary_size: int,
        token_size: int = 300,
        hidden_size: int = 50,
        bidirectional: bool = False,
        pooling: Literal["last", "mean"] = "last",
        dropout: float = 0.0,
        forget_bias: float = 2.5,
    ) -> None:
        super().__init__()
        if pooling not in ("last", "mean"):
            raise ValueError(f"pooling must be 'last' or 'mean', got {pooling!r}")
        self.pooling = pooling
        self.tokens = nn.Embedding(vocabulary_size, token_size, padding_idx=PADDING_TOKEN)
        # PyTorch's N(0, 1) saturates the gates: 0.3 Pearson on SICK where this gives 0.7.
        nn.init.normal_(self.tokens.weight, 0.0, 0.1)
        nn.init.zeros_(self.tokens.weight.data[PADDING_TOKEN])
        self.dropout = nn.Dropout(dropout)
        self.lstm = PaddedLstm(token_size, hidden_size, 1, bidirectional, forget_bias)
        self.embedding_size = self.lstm.output_size

    def forward(self, sequences: SequenceInputs) -> Tensor:
        """Map tokens (N, T) int64 and lengths (N,) to embeddings (N, embedding_size)."""
        values, lengths = sequences
        x = self.dropout(self.tokens(values))  # (N, T, token_size)
        states, last = self.lstm(x, lengths)  # (N, T, D), (N, D)
        return last if self.pooling == "last" else masked_mean(states, lengths)


class StrokeEncoder(nn.Module):
    """Convolutions and a two-way LSTM over pen points, pooled by learned attention.

    A point comes as (dx, dy, pen-up); the encoder adds where it lies, the sums of the
    steps, about the drawing's centre. Two strided convolutions of ``width`` channels
    shorten the sequence four times before the LSTM.
    """

    input_shape = None
    point_size = 3  # dx, dy, pen-up

    def __init__(
        self,
        embedding_size: int = 128,
        width: int = 96,
        hidden_size: int = 128,
        layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        self.conv1 = nn.Conv1d(self.point_size + 2, width, 5, stride=2, padding=2)
        self.norm1 = nn.LayerNorm(width)
        self.conv2 = nn.Conv1d(width, width, 5, stride=2, padding=2)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.lstm = PaddedLstm(width, hidden_size, layers, bidirectional=True)
        self.attention = nn.Linear(2 * hidden_size, 1)
        self.fc = nn.Linear(4 * hidden_size, embedding_size)

    def forward(self, sequences: SequenceInputs) -> Tensor:
        """Map points (N, T, 3) and lengths (N,) to embeddings (N, embedding_size)."""
        points, lengths = sequences
        x = torch.cat([points, places(points, lengths)], dim=2)  # (N, T, 5)
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
            x = x * within(lengths, x.shape[1])[:, :, None]
            x = F.relu(norm(conv(x.transpose(1, 2)).transpose(1, 2)))  # (N, T / 2, width)
            lengths = (lengths + 1) // 2
        states, last = self.lstm(self.dropout(x), lengths)  # (N, T / 4, 2 * hidden)
        logits = self.attention(states)[:, :, 0].float()  # (N, T / 4)
        logits = logits.masked_fill(~within(lengths, states.shape[1]), -torch.inf)
        pooled = (logits.softmax(1)[:, :, None] * states).sum(1)  # (N, 2 * hidden)
        embeddings: Tensor = self.fc(self.dropout(torch.cat([pooled, last], dim=1)))
        return embeddings


def within(lengths: Tensor, n_steps: int) -> Tensor:
    """(N, T) bool: True up to each sequence's length, at least at the first step."""
    steps = torch.arange(n_steps, device=lengths.device)
    return steps[None, :] < lengths.clamp(min=1)[:, None]


def masked_mean(states: Tensor, lengths: Tensor) -> Tensor:
    """The mean (N, D) of the first ``lengths`` (N,) of the states (N, T, D)."""
    mask = within(lengths, states.shape[1])[:, :, None]
    return (states * mask).sum(1) / mask.sum(1)


def places(points: Tensor, lengths: Tensor) -> Tensor:
    """Where the pen is after each step (N, T, 2), about the drawing's mean."""
    # The sum of many small steps needs more than half precision.
    where = points[:, :, :2].float().cumsum(1)
    return (where - masked_mean(where, lengths)[:, None]).to(points.dtype)


def _at(states: Tensor, steps: Tensor) -> Tensor:
    """The states (N, S, D) at steps (N, S), of states (N, T, D)."""
    return states.gather(1, steps[:, :, None].expand(-1, -1, states.shape[2]))


def _lstm(size_in: int, hidden_size: int, forget_bias: float) -> nn.LSTM:
    lstm = nn.LSTM(size_in, hidden_size, batch_first=True)
    if forget_bias:
        # PyTorch has two biases for each gate, in the order input, forget, cell, output.
        forget = slice(hidden_size, 2 * hidden_size)
        biases = dict(lstm.named_parameters())
        nn.init.constant_(biases["bias_ih_l0"].data[forget], forget_bias)
        nn.init.constant_(biases["bias_hh_l0"].data[forget], 0.0)
    return lstm
