"""Sequence encoders: padding changes nothing, order does, as a plain loop computes."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from onelook.models.encoders.sequence import (
    LstmEncoder,
    PaddedLstm,
    StrokeEncoder,
    masked_mean,
    places,
)
from onelook.training.device import trains_in_bf16

LENGTHS = torch.tensor([7, 1, 4, 0, 5])


def draw_tokens(n_steps=7):
    values = torch.randint(2, 30, (5, n_steps), generator=torch.Generator().manual_seed(0))
    return values * (torch.arange(n_steps) < LENGTHS[:, None]), LENGTHS


def draw_strokes(n_steps=7):
    values = torch.randn(5, n_steps, 3, generator=torch.Generator().manual_seed(0))
    return values * (torch.arange(n_steps) < LENGTHS[:, None])[:, :, None], LENGTHS


def pad(values, n_steps):
    shape = (len(values), n_steps, *values.shape[2:])
    return torch.cat([values, values.new_zeros(shape)], dim=1)


ENCODERS = {
    "last": lambda: LstmEncoder(30, 8, 6),
    "mean": lambda: LstmEncoder(30, 8, 6, pooling="mean"),
    "two-way": lambda: LstmEncoder(30, 8, 6, bidirectional=True),
    "strokes": lambda: StrokeEncoder(10, 8, 6, layers=2),
}


def draw_for(name):
    torch.manual_seed(0)
    return ENCODERS[name](), *(draw_strokes() if name == "strokes" else draw_tokens())


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_and_neighbours_change_nothing(name):
    encoder, values, lengths = draw_for(name)
    embeddings = encoder((values, lengths))
    assert embeddings.shape == (5, encoder.embedding_size)
    torch.testing.assert_close(encoder((pad(values, 6), lengths)), embeddings)
    for i in range(5):
        alone = (values[i : i + 1, : max(1, lengths[i])], lengths[i : i + 1])
        torch.testing.assert_close(encoder(alone)[0], embeddings[i])


def test_what_lies_behind_the_length_is_never_read():
    for name in ("last", "mean", "two-way", "strokes"):
        encoder, values, lengths = draw_for(name)
        dirty = values.clone()
        dirty[2, 4:] = 9
        torch.testing.assert_close(encoder((dirty, lengths)), encoder((values, lengths)))


def test_lstm_matches_a_plain_loop_over_an_lstm_cell():
    encoder, values, lengths = draw_for("last")
    mean = LstmEncoder(30, 8, 6, pooling="mean")
    mean.load_state_dict(encoder.state_dict())
    cell = torch.nn.LSTMCell(8, 6)
    cell.load_state_dict(
        {
            name.removesuffix("_l0"): v
            for name, v in encoder.lstm.ahead[0].state_dict().items()
        }
    )
    for i, length in enumerate(lengths.clamp(min=1).tolist()):
        state, states = (torch.zeros(1, 6), torch.zeros(1, 6)), []
        for token in values[i, :length]:
            state = cell(encoder.tokens(token)[None], state)
            states.append(state[0])
        one = (values[i : i + 1], lengths[i : i + 1])
        torch.testing.assert_close(encoder(one), states[-1])
        torch.testing.assert_close(mean(one), torch.stack(states).mean(0))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padded_lstm_matches_the_lstm_of_pytorch_on_packed_sequences(bidirectional):
    values, lengths = draw_strokes()
    ours = PaddedLstm(3, 6, 2, bidirectional)
    theirs = torch.nn.LSTM(3, 6, 2, batch_first=True, bidirectional=bidirectional)
    for suffix, layers in (("", ours.ahead), ("_reverse", ours.back)):
        for i, layer in enumerate(layers):
            for name, value in layer.named_parameters():
                getattr(theirs, name.replace("l0", f"l{i}") + suffix).data = value.data
    packed = pack_padded_sequence(values, lengths.clamp(min=1), True, enforce_sorted=False)
    output, (hidden, _) = theirs(packed)
    expected, _ = pad_packed_sequence(output, batch_first=True)
    states, last = ours(values, lengths)
    mask = (torch.arange(7) < lengths.clamp(min=1)[:, None])[:, :, None]
    torch.testing.assert_close(states * mask, expected)
    torch.testing.assert_close(last, torch.cat(list(hidden[-1 - bidirectional :]), dim=1))


def test_malstm_has_the_published_sizes():
    encoder = LstmEncoder(vocabulary_size=100)
    assert encoder.embedding_size == 50
    n_weights = sum(p.numel() for p in encoder.parameters())
    assert n_weights == 100 * 300 + 4 * 50 * (300 + 50 + 2)
    total = encoder.lstm.ahead[0].bias_ih_l0 + encoder.lstm.ahead[0].bias_hh_l0
    assert (total[50:100] == 2.5).all()  # the forget gate
    assert (total[:50] != 2.5).all()


def test_lstm_says_which_pooling_it_takes():
    with pytest.raises(ValueError, match="pooling must be 'last' or 'mean', got 'max'"):
        LstmEncoder(30, pooling="max")


def test_places_are_the_sums_of_the_steps_about_their_mean():
    points = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [2.0, 0.0, 1.0], [9, 9, 9]]])
    expected = torch.tensor([[[1.0, 0.0], [1.0, 2.0], [3.0, 2.0]]])
    expected = expected - expected.mean(1)
    torch.testing.assert_close(places(points, torch.tensor([3]))[:, :3], expected)


def test_masked_mean_matches_a_plain_loop():
    states = torch.randn(5, 7, 3)
    means = masked_mean(states, LENGTHS)
    for row, length, mean in zip(states, LENGTHS, means, strict=True):
        torch.testing.assert_close(mean, row[: max(1, length)].mean(0))


@pytest.mark.parametrize("name", ENCODERS)
def test_every_weight_learns_and_half_precision_works(name):
    encoder, values, lengths = draw_for(name)
    # Some processors have no LSTM in bf16; trainings are then in float32.
    bf16 = trains_in_bf16("bf16", torch.device("cpu"), encoder)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        embeddings = encoder((values, lengths))
    embeddings.float().square().sum().backward()
    for weight, parameter in encoder.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), weight
        # A shift of all attention logits changes nothing.
        assert parameter.grad.any() or weight == "attention.bias", weight


def test_the_order_of_a_sequence_counts():
    for name in ENCODERS:
        encoder, values, _ = draw_for(name)
        one, full = values[:1], torch.tensor([7])
        there, back = encoder((one, full)), encoder((one.flip(1), full))
        assert (there - back).abs().max() > 1e-4


def test_padding_stays_a_zero_vector_and_tokens_start_small():
    encoder = LstmEncoder(1000)
    assert not encoder.tokens.weight[0].any()
    assert encoder.tokens.weight[1:].std().item() == pytest.approx(0.1, rel=0.02)
