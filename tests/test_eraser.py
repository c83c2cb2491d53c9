"""An eraser does the same to arrays and tensors, and its controls remove what they are said to remove."""

import numpy as np
import pytest
import torch

from probes.eraser import Eraser, controls, projection, share
from stimuli.errors import InputError


def eraser(d: int = 6) -> Eraser:
    rng = np.random.default_rng(0)
    return Eraser("own", rng.normal(size=d), rng.normal(size=(d, 2)), rng.normal(size=(2, d)), 0.5)


def skewed(d: int = 40) -> np.ndarray:
    """A covariance whose variances fall from 1 to 0.0001, in a basis of its own."""
    axes = np.linalg.qr(np.random.default_rng(5).normal(size=(d, d)))[0]
    return (axes * np.geomspace(1, 1e-4, d)) @ axes.T


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4), (torch.bfloat16, 0.3), (torch.float16, 0.05)]
)
def test_tensors_keep_shape_and_type_and_every_token_is_treated_alike(dtype: torch.dtype, tolerance: float) -> None:
    own, x = eraser(), torch.randn(3, 5, 6).to(dtype)
    found = own(x)
    assert (found.shape, found.dtype, found.device) == (x.shape, x.dtype, x.device)
    expected = own.apply(x.double().numpy())
    np.testing.assert_allclose(found.double().numpy(), expected, atol=tolerance)
    np.testing.assert_allclose(own.apply(x.double().numpy()[1, 2]), expected[1, 2])
    by_hand = x.double().numpy() - (x.double().numpy() - own.mean) @ (own.left @ own.right).T
    np.testing.assert_allclose(expected, by_hand)
    assert own.apply(x.float().numpy()).dtype == np.float32


def test_gradients_pass_also_after_a_first_use_without() -> None:
    own = eraser()
    with torch.inference_mode():
        own(torch.ones(2, 6))
    x = torch.ones(2, 6, requires_grad=True)
    own(x).sum().backward()
    expected = np.tile((np.eye(6) - own.left @ own.right).sum(0), (2, 1))
    np.testing.assert_allclose(x.grad.numpy(), expected, atol=1e-5)


def test_another_width_is_refused() -> None:
    for given in (torch.ones(2, 5), torch.tensor(1.0)):
        with pytest.raises(InputError, match=r"eraser \(own\) got features of shape .*; expected 6 numbers on the last axis"):
            eraser()(given)
    with pytest.raises(InputError, match="Use it at the site that it was fitted at"):
        eraser().apply(np.ones((2, 7)))


def test_the_checksum_tells_erasers_apart() -> None:
    one = eraser()
    other = Eraser(one.method, one.mean + 1e-9, one.left, one.right, one.variance_removed)
    assert one.checksum == eraser().checksum != other.checksum


def test_the_share_is_what_rows_lose() -> None:
    own, rng = eraser(), np.random.default_rng(1)
    x = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) + own.mean
    x += own.mean - x.mean(0)
    lost = ((own.apply(x) - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert share(own.left, own.right, np.cov(x.T, bias=True)) == pytest.approx(lost)
    assert share(own.left, own.right, np.zeros((6, 6))) == 0


@pytest.mark.parametrize("removed", [0.02, 0.1, 0.4, 0.6])
def test_controls_have_the_rank_and_the_share_that_they_are_said_to_have(removed: float) -> None:
    sigma, mean = skewed(), np.arange(40.0)
    found = controls(mean, sigma, 4, removed, range(2))
    assert list(found) == ["random-0", "matched-0", "random-1", "matched-1", "principal"]
    for name, own in found.items():
        assert own.rank == 4 and own.method == name
        np.testing.assert_allclose(own.right @ own.left, np.eye(4), atol=1e-10)
        np.testing.assert_allclose(own.left, own.right.T)
        assert own.variance_removed == pytest.approx(share(own.left, own.right, sigma))
        np.testing.assert_allclose(own.apply(mean), mean)
    for seed in (0, 1):
        assert found[f"matched-{seed}"].variance_removed == pytest.approx(removed, abs=1e-4)
    assert np.abs(found["matched-0"].left.T @ found["matched-1"].left).max() < 0.999
    top = np.sort(np.linalg.eigvalsh(sigma))[-4:].sum() / np.trace(sigma)
    assert found["principal"].variance_removed == pytest.approx(top)


def test_even_directions_remove_rank_over_width_on_average() -> None:
    found = controls(np.zeros(40), skewed(), 4, 0.1, range(200))
    shares = [own.variance_removed for name, own in found.items() if name.startswith("random")]
    assert np.mean(shares) == pytest.approx(4 / 40, abs=4 * np.std(shares) / np.sqrt(200))
    assert np.std(shares) > 0


def test_more_than_can_be_removed_is_matched_as_far_as_possible() -> None:
    found = controls(np.zeros(40), skewed(), 4, 1.0, [0])
    most = found["principal"].variance_removed
    assert 0.95 * most < found["matched-0"].variance_removed <= most


def test_a_projection_is_one() -> None:
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 2)))[0]
    own = projection("own", np.ones(6), basis, np.eye(6))
    x = np.random.default_rng(1).normal(size=(9, 6))
    np.testing.assert_allclose(own.apply(own.apply(x)), own.apply(x), atol=1e-12)
    np.testing.assert_allclose((own.apply(x) - 1) @ basis, 0, atol=1e-12)
    assert own.variance_removed == pytest.approx(2 / 6)
