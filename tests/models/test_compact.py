import pytest
import torch
from torch import nn

from onelook.models.encoders.compact import CompactEncoder, ResidualBlock


def test_a_residual_block_matches_its_formula_written_out():
    torch.manual_seed(0)
    block = ResidualBlock(4, 6, stride=2)
    nn.init.normal_(block.norm2.weight)
    x = torch.rand(3, 4, 8, 8)

    def norm(y):  # batch norm at its start: mean 0, variance 1 over the batch
        mean, var = (
            y.mean((0, 2, 3), keepdim=True),
            y.var((0, 2, 3), keepdim=True, correction=0),
        )
        return (y - mean) / (var + 1e-5).sqrt()

    y = norm(nn.functional.conv2d(x, block.conv1.weight, stride=2, padding=1)).clamp(min=0)
    y = norm(nn.functional.conv2d(y, block.conv2.weight, padding=1))
    y = y * block.norm2.weight[:, None, None]
    means = x.reshape(3, 4, 4, 2, 4, 2).mean((3, 5))
    short = norm(nn.functional.conv2d(means, block.shortcut[1].weight))
    torch.testing.assert_close(block(x), (y + short).clamp(min=0), atol=1e-5, rtol=1e-4)


def test_a_new_block_is_its_shortcut():
    x = torch.rand(2, 8, 5, 5)
    torch.testing.assert_close(ResidualBlock(8, 8, stride=1)(x), x)


@pytest.mark.parametrize(
    "shape", [(1, 16, 16), (3, 17, 31), (1, 28, 28), (1, 48, 48), (3, 105, 63)]
)
@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_any_input_size_gives_one_embedding_an_image(shape, stem_stride):
    encoder = CompactEncoder(shape, width=8, embedding_size=12, stem_stride=stem_stride)
    assert encoder.input_shape == shape and encoder.embedding_size == 12
    assert encoder(torch.rand(2, *shape)).shape == (2, 12)


@pytest.mark.parametrize("width", [1, 7, 24])
def test_any_width_and_depth_can_be_trained(width):
    encoder = CompactEncoder(
        (1, 20, 20), width, 8, blocks=(1, 2, 1, 1), growth=(1, 1.5, 2, 3)
    )
    encoder(torch.rand(4, 1, 20, 20)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_channels_last_gives_the_same_embeddings():
    encoder = CompactEncoder((1, 32, 32), width=8).eval()
    images = torch.rand(3, 1, 32, 32)
    expected = encoder(images)
    encoder.to(memory_format=torch.channels_last)
    given = encoder(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-4)


def test_an_image_is_embedded_alike_alone_and_in_a_batch():
    encoder = CompactEncoder((3, 24, 24), width=8)
    images = torch.rand(5, 3, 24, 24)
    encoder(images)
    encoder.eval()
    torch.testing.assert_close(
        encoder(images)[2:3], encoder(images[2:3]), atol=1e-5, rtol=1e-4
    )


def test_parameters_are_those_counted_by_hand():
    encoder = CompactEncoder(
        (1, 28, 28), width=4, embedding_size=10, blocks=(1, 1), growth=(1, 2)
    )
    stem = 25 * 4 + 2 * 4
    first = 2 * (9 * 4 * 4 + 2 * 4)
    second = (9 * 4 * 8 + 2 * 8) + (9 * 8 * 8 + 2 * 8) + (4 * 8 + 2 * 8)
    linear = 8 * 10 + 10
    n_parameters = sum(p.numel() for p in encoder.parameters())
    assert n_parameters == stem + first + second + linear


def test_only_cells_tell_where_a_thing_lies():
    image = torch.zeros(1, 1, 32, 32)
    image[:, :, 4:12, 4:12] = torch.rand(8, 8)
    moved = image.roll((16, 16), (2, 3))

    @torch.no_grad()
    def distance(pool: int) -> float:
        torch.manual_seed(0)
        encoder = CompactEncoder((1, 32, 32), width=8, pool=pool).eval()
        assert encoder.linear.in_features == 32 * pool**2
        return float((encoder(image) - encoder(moved)).norm())

    assert distance(2) > 10 * distance(1)


def test_what_cannot_be_built_says_so():
    with pytest.raises(ValueError, match="pool must be at least 1 cell a side, got 0"):
        CompactEncoder((1, 28, 28), pool=0)
    with pytest.raises(ValueError, match="at least 16 pixels a side, got 12 x 40"):
        CompactEncoder((1, 12, 40))
    with pytest.raises(ValueError, match="one entry a stage"):
        CompactEncoder((1, 28, 28), blocks=(1, 1), growth=(1, 2, 4))


def test_standardized_images_lose_their_light():
    encoder = CompactEncoder((1, 32, 32), width=8, standardize=True).eval()
    images = torch.rand(3, 1, 32, 32)
    torch.testing.assert_close(
        encoder(0.4 * images + 0.3), encoder(images), atol=1e-3, rtol=1e-3
    )
    plain = CompactEncoder((1, 32, 32), width=8)
    assert encoder.state_dict().keys() == plain.state_dict().keys()
