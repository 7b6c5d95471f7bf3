"""The density of yaw: one in all, and every bin of it can be taught."""

import math

import pytest
import torch

from air3d.models.yaw import YawMixture

BINS = 24
WIDTH = 2 * math.pi / BINS


def mixture(raw: torch.Tensor, order: int = 1) -> YawMixture:
    """Return a density counted from 0.3 rad."""
    origin = raw.new_full(raw.shape[:-2], 0.3)
    return YawMixture.from_raw(raw, origin, torch.full_like(origin, order, dtype=torch.int64))


@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_the_density_integrates_to_one(order):
    torch.manual_seed(0)
    yaw = torch.linspace(-math.pi, math.pi, 4001)[:-1]
    raw = torch.randn(1, BINS, 3).expand(len(yaw), BINS, 3)
    # A k-fold symmetric mesh has the density of the folded angle, which goes round k times.
    total = mixture(raw, order).log_prob(yaw).exp().mean() * 2 * math.pi
    assert total.item() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("order", [1, 4])
def test_teaching_has_the_density_and_teaches_one_bin(order):
    torch.manual_seed(1)
    raw = torch.randn(50, BINS, 3, requires_grad=True)
    yaw = math.pi * (2 * torch.rand(50) - 1)
    density = mixture(raw, order)
    taught = density.teach(yaw)
    torch.testing.assert_close(taught, density.log_prob(yaw))
    taught.sum().backward()
    folded = torch.remainder(order * (yaw - 0.3) + math.pi, 2 * math.pi)
    bin_of = (folded / WIDTH).long()
    assert raw.grad is not None
    assert (raw.grad[..., 1:].abs().sum(dim=-1).argmax(dim=1) == bin_of).all()
    assert ((raw.grad[..., 1:] != 0).any(dim=-1).sum(dim=1) == 1).all()
    assert (raw.grad[torch.arange(50), bin_of, 0] > 0).all()


def test_what_has_no_yaw_is_taught_nothing():
    raw = torch.randn(2, BINS, 3, requires_grad=True)
    mixture(raw, 0).teach(torch.tensor([0.1, 2.0])).sum().backward()
    assert raw.grad is not None and (raw.grad == 0).all()


def test_a_component_that_weighs_nothing_is_taught_all_the_same():
    """A neighbour that reaches as far as it can holds the yaw in its stead, beside the truth."""
    raw = torch.zeros(1, BINS, 3)
    raw[0, :, 0] = -12.0
    raw[0, 9, :2] = torch.tensor([0.0, 6.0])  # its mean lies at the upper edge of bin 9's reach
    raw[0, :, 2] = -4.0
    raw.requires_grad_(True)
    truth = 0.3 + (11.7 * WIDTH - math.pi) * torch.ones(1)
    optimiser = torch.optim.Adam([raw], lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        (-mixture(raw).teach(truth)).sum().backward()
        optimiser.step()
    assert mixture(raw.detach()).modes(1)[0, 0].item() == pytest.approx(truth.item(), abs=0.01)
