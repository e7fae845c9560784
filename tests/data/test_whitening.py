import pytest
import torch

from autodropout.data.whitening import SCALE, Zca, contrast_normalised
from autodropout.errors import ShapeError, UsageError


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_every_image_has_mean_0_and_one_norm():
    images = torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8)
    seen = contrast_normalised(images)
    assert seen.dtype == torch.float32
    torch.testing.assert_close(seen.mean((1, 2, 3)), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.flatten(1).norm(dim=1), torch.full((5,), SCALE))
    flat = contrast_normalised(torch.full((1, 1, 2, 2), 7))
    assert torch.equal(flat, torch.zeros(1, 1, 2, 2))


def test_the_bias_is_large_beside_the_last_directions_of_photographs():
    """.1 is added to variances of images of norm 55; were 55 their deviation, it would do nothing."""
    smooth = torch.nn.functional.interpolate(torch.randn(600, 3, 4, 4), size=(16, 16), mode="bicubic")
    seen = contrast_normalised(smooth + 0.05 * torch.randn(600, 3, 16, 16)).flatten(1).double()
    values = torch.linalg.eigvalsh((seen - seen.mean(0)).t() @ (seen - seen.mean(0)) / 600)
    assert 0.5 < (values < 0.1).double().mean() < 1.0


def test_whitened_pixels_are_uncorrelated_and_the_map_is_symmetric():
    mixing = torch.randn(12, 12)
    images = (torch.randn(4000, 12) @ mixing + 3.0).reshape(4000, 3, 2, 2)
    zca = Zca.fitted(images, bias=1e-9)
    seen = zca(images).flatten(1).double()
    torch.testing.assert_close(seen.mean(0), torch.zeros(12).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(seen.t() @ seen / 4000, torch.eye(12).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(zca.matrix, zca.matrix.t(), atol=1e-5, rtol=1e-4)


def test_the_bias_tames_what_there_is_little_of():
    images = torch.stack([torch.randn(500) * 10, torch.randn(500) * 1e-3], 1).reshape(500, 2, 1, 1)
    spread = Zca.fitted(images, bias=0.1)(images).flatten(1).std(0)
    assert spread[0] == pytest.approx(1.0, abs=0.01)
    assert spread[1] < 0.01


def test_errors():
    with pytest.raises(ShapeError, match=r"images have shape \(2, 2\); expected \(N, channels, H, W\)"):
        contrast_normalised(torch.zeros(2, 2))
    with pytest.raises(ShapeError, match=r"images have shape \(1, 1, 2, 2\); expected at least 2"):
        Zca.fitted(torch.zeros(1, 1, 2, 2))
    with pytest.raises(UsageError, match=r"bias is 0\.0; expected a number above 0"):
        Zca.fitted(torch.zeros(2, 1, 2, 2), bias=0.0)
    with pytest.raises(ShapeError, match=r"images have shape \(2, 1, 3, 3\); expected 4 values each"):
        Zca.fitted(torch.randn(9, 1, 2, 2))(torch.zeros(2, 1, 3, 3))
