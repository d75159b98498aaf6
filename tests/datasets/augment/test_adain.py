"""SkeleAdaIN: against the released tensors and against numpy, clip by clip."""

import numpy as np
import pytest
import torch

from skelbench.datasets.augment.adain import adain, draw_style, restyle


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(n=5, frames=6, joints=7, persons=2, dtype=torch.float64):
    x = torch.randn(n, 3, frames, joints, persons, generator=generator(99)).to(dtype)
    spread = torch.arange(1, x[:, :, 0, 0].numel() + 1).view(n, 3, 1, 1, persons)
    return x * spread + spread.flip(0)  # no two statistics alike


@pytest.mark.parametrize("over", ["TV", "V"])
def test_adain_is_the_released(golden, over):
    recorded = golden("moco-family/hiclr_adain.npz")
    out = adain(torch.from_numpy(recorded["content"]), torch.from_numpy(recorded["style"]), over)
    np.testing.assert_allclose(out, recorded[f"out_{over}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("over", ["TV", "V"])
def test_each_coordinate_and_person_takes_the_statistics_of_the_donor(over):
    x, donor = clips(), torch.tensor([2, 3, 4, 0, 1])
    before = x.clone()
    out = restyle(x, donor, over)
    frames = [slice(None)] if over == "TV" else [slice(t, t + 1) for t in range(6)]
    for n, c, m in np.ndindex(5, 3, 2):
        for t in frames:
            own, other = x[n, c, t, :, m].numpy(), x[donor[n], c, t, :, m].numpy()
            deviation, others = (np.sqrt(part.var(ddof=1) + 1e-5) for part in (own, other))
            expected = (own - own.mean()) / deviation * others + other.mean()
            np.testing.assert_allclose(out[n, c, t, :, m], expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(x, before)


def test_a_clip_in_its_own_style_is_itself_and_not_in_another():
    x = clips()
    for over in ("TV", "V"):
        torch.testing.assert_close(restyle(x, torch.arange(5), over), x, rtol=1e-12, atol=1e-12)
        assert (restyle(x, torch.arange(5).roll(1), over) - x).abs().amax(dim=(1, 2, 3, 4)).min() > 0.1


@pytest.mark.parametrize("over", ["TV", "V"])
def test_an_absent_person_becomes_the_mean_of_the_donors_person(over):
    x = clips()
    x[0, ..., 1] = 0
    out = restyle(x, torch.tensor([1, 2, 3, 4, 0]), over)[0, ..., 1]
    mean = x[1, ..., 1].mean(dim=(1, 2) if over == "TV" else 2, keepdim=True)
    torch.testing.assert_close(out, mean.expand_as(out))


@pytest.mark.parametrize("over", ["TV", "V"])
def test_float32_and_turned_views_work(over):
    x, donor = clips(), torch.tensor([2, 3, 4, 0, 1])
    out = restyle(x.float(), donor, over)
    assert (out.dtype, out.shape) == (torch.float32, x.shape)
    torch.testing.assert_close(out.double(), restyle(x, donor, over), rtol=1e-4, atol=1e-3)
    turned = x.transpose(3, 4).contiguous().transpose(3, 4)
    torch.testing.assert_close(restyle(turned, donor, over), restyle(x, donor, over))


@pytest.mark.parametrize("n", [3, 4, 7])
def test_donors_are_the_batch_rolled_by_1_to_n_minus_2(n):
    seen = torch.zeros(n)
    source = generator()
    for _ in range(600):
        donor = draw_style(n, source)["donor"]
        assert (donor.shape, donor.dtype) == ((n,), torch.int64)
        shift = int(-donor[0] % n)
        assert torch.equal(donor, torch.arange(n).roll(shift)), "one shift for the whole batch"
        seen[shift] += 1
    assert seen[0] == seen[n - 1] == 0
    expected = 600 / (n - 2)
    assert (seen[1 : n - 1] - expected).abs().max() < 5 * expected**0.5


def test_donors_come_from_the_generator_alone():
    before = torch.random.get_rng_state()
    first, again, other = ([draw_style(50, g)["donor"] for _ in range(3)] for g in map(generator, (1, 1, 2)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0], first[1]), "the generator moves on"
    assert torch.equal(torch.random.get_rng_state(), before)


def test_neither_drawing_nor_applying_touches_the_host(operations):
    with operations() as drawing:
        donor = draw_style(5, generator())["donor"]
    assert drawing.names and drawing.names.isdisjoint(operations.FROM_HOST)
    x, donor = clips().to("meta"), donor.to("meta")
    with operations() as applying:
        restyle(x, donor, "TV")
        restyle(x, donor, "V")
    assert applying.devices == {torch.device("meta")}
    assert "aten::lift_fresh" not in applying.names
