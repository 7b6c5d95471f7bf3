"""Exposures: what a camera did to a render is found again, and scored as a density."""

import pytest
import torch
from torch.distributions import Normal

from air3d.models.exposure import Exposure


@pytest.fixture
def exposure():
    torch.manual_seed(0)
    gain, offset = 0.5 + torch.rand(4, 3), 0.3 * torch.rand(4, 3) - 0.1
    return Exposure(gain, offset, torch.tensor([0.02, 0.05, 0.1, 0.2]))


def test_gain_offset_and_noise_are_found_again(exposure):
    renders = torch.rand(4, 3, 64, 64)
    pictures = exposure.exposed(renders, noise_std=0.0)
    found = Exposure.fitted(pictures, renders)
    torch.testing.assert_close(found.gain, exposure.gain, atol=0.03, rtol=0)
    torch.testing.assert_close(found.offset, exposure.offset, atol=0.03, rtol=0)
    torch.testing.assert_close(found.noise_std, exposure.noise_std, atol=0, rtol=0.05)


def test_no_other_line_comes_nearer(exposure):
    renders = torch.rand(4, 3, 8, 8).double()
    pictures = renders.square()
    found = Exposure.fitted(pictures, renders)
    for name in ("gain", "offset"):
        parts = {key: value.clone() for key, value in vars(found).items()}
        parts[name].requires_grad_()
        line = parts["gain"][..., None, None] * renders + parts["offset"][..., None, None]
        (slope,) = torch.autograd.grad((pictures - line).square().mean(), parts[name])
        assert float(slope.abs().max()) < 1e-4  # the ridge's part


def test_an_even_picture_has_gain_one():
    even = torch.full((2, 3, 8, 8), 0.4)
    found = Exposure.fitted(even + 0.1, even)
    torch.testing.assert_close(found.gain, torch.ones(2, 3))
    torch.testing.assert_close(found.offset, torch.full((2, 3), 0.1))


def test_exposing_is_undone_and_adds_the_noise_that_is_missing(exposure):
    renders = torch.rand(4, 3, 64, 64)
    pictures = exposure.exposed(renders, noise_std=0.05)
    left = (exposure.undone(pictures) - renders).flatten(1).std(dim=1)
    wanted = torch.tensor([0.0, 0.0, (0.1**2 - 0.05**2) ** 0.5, (0.2**2 - 0.05**2) ** 0.5])
    torch.testing.assert_close(left, wanted, atol=1e-4, rtol=0.03)


def test_the_density_is_that_of_the_picture(exposure):
    pictures, renders = torch.rand(4, 3, 6, 5), torch.rand(4, 3, 6, 5)
    gain, offset = exposure.gain[..., None, None], exposure.offset[..., None, None]
    std = gain * exposure.noise_std[:, None, None, None]
    expected = Normal(gain * renders + offset, std).log_prob(pictures).sum(dim=(1, 2, 3))
    error = (exposure.undone(pictures) - renders).square().sum(dim=(1, 2, 3))
    found = exposure.log_density(error[:, None], num_pixels=30)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-2)
