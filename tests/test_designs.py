"""Both designs are the same features: scores, gradients and weights agree with standardising by hand."""

import numpy as np
import pytest
import torch

from probes.designs import Block, Own, Shared, design, rows

N, D, K, P = 60, 40, 3, 4
rng = np.random.default_rng(0)
VALUES = rng.normal(size=(N, D)) * rng.uniform(0.1, 30, D) + rng.normal(size=D) * 100
WEIGHTS = (rng.random((P, N)) < 0.5).astype(float)
KEEP = torch.tensor([2, 0])
ALL: list[Block] = [(slice(None), None)]


def made(kind: str) -> Shared | Own:
    given = rows(torch.as_tensor(VALUES), torch.as_tensor(WEIGHTS))
    return Own(given) if kind == "own" else Shared(given, torch.float64)


def by_hand(problem: int) -> np.ndarray:
    train = WEIGHTS[problem] > 0
    return np.asarray((VALUES - VALUES[train].mean(0)) / VALUES[train].std(0))


@pytest.mark.parametrize("kind", ["shared", "own"])
def test_raw_weights_give_the_same_scores_on_standardised_rows(kind: str) -> None:
    made_of = made(kind)
    theta = torch.as_tensor(rng.normal(size=(2, made_of.width, K)))
    scores, raw = made_of.forward(theta, KEEP, ALL)[0], made_of.raw(theta, KEEP)
    for at, problem in enumerate(KEEP.tolist()):
        coef = raw[at].numpy() * VALUES[WEIGHTS[problem] > 0].std(0)[:, None]
        np.testing.assert_allclose(scores[:, at], by_hand(problem) @ coef, atol=1e-8)


@pytest.mark.parametrize("kind", ["shared", "own"])
def test_backward_is_the_transpose_of_forward(kind: str) -> None:
    made_of = made(kind)
    theta = torch.as_tensor(rng.normal(size=(2, made_of.width, K)))
    residual = torch.as_tensor(rng.normal(size=(N, 2, K)))
    left = (made_of.forward(theta, KEEP, ALL)[0] * residual).sum((0, 2))
    right = (theta * made_of.backward([residual], KEEP, ALL)).sum((1, 2))
    torch.testing.assert_close(left, right)


def test_own_coordinates_keep_the_length_of_weights_within_the_training_rows() -> None:
    """So that the penalty is the same: a weight vector in the span of the training rows is as long in either design."""
    made_of = made("own")
    theta = torch.as_tensor(rng.normal(size=(1, made_of.width, K)))
    problem = int(KEEP[0])
    theta[0, int((WEIGHTS[problem] > 0).sum()) - 1 :] = 0  # centred rows have one dimension less
    coef = made_of.raw(theta, KEEP[:1])[0].numpy() * VALUES[WEIGHTS[problem] > 0].std(0)[:, None]
    assert np.linalg.norm(coef) == pytest.approx(float(theta.norm()))


@pytest.mark.parametrize("kind", ["shared", "own"])
def test_the_preconditioner_is_positive_definite_and_near_the_inverse(kind: str) -> None:
    made_of = made(kind)
    made_of.prepare(30.0, 0.2)
    slope = torch.as_tensor(rng.normal(size=(2, made_of.width, K)))
    turned = made_of.precondition(slope, KEEP)
    assert ((slope * turned).sum((1, 2)) > 0).all()
    for at, problem in enumerate(KEEP.tolist()):
        train = WEIGHTS[problem] > 0
        scores = made_of.forward(turned[at : at + 1], KEEP[at : at + 1], ALL)[0] * torch.as_tensor(train)[:, None, None]
        back = made_of.backward([scores], KEEP[at : at + 1], ALL)[0] * 0.2 + 30 * turned[at]
        error = float((back - slope[at]).norm() / slope[at].norm())
        assert error < (1e-8 if kind == "own" else 1.0)


def test_the_dual_is_taken_where_there_are_few_rows() -> None:
    wide = rows(torch.randn(40, 2000, dtype=torch.float64), torch.ones(5, 40, dtype=torch.float64))
    tall = rows(torch.randn(400, 20, dtype=torch.float64), torch.ones(5, 400, dtype=torch.float64))
    assert isinstance(design(wide, 8, 8, torch.float32), Own)
    assert isinstance(design(tall, 8, 8, torch.float32), Shared)


@pytest.mark.parametrize("kind", ["shared", "own"])
def test_blocks_are_parts_of_the_whole(kind: str) -> None:
    made_of = made(kind)
    theta, residual = torch.as_tensor(rng.normal(size=(2, made_of.width, K))), torch.as_tensor(rng.normal(size=(N, 2, K)))
    residual[20:, 1] = 0
    blocks: list[Block] = [(slice(0, 20), None), (slice(20, N), torch.tensor([0]))]
    first, second = made_of.forward(theta, KEEP, blocks)
    whole = made_of.forward(theta, KEEP, ALL)[0]
    torch.testing.assert_close(first, whole[:20])
    torch.testing.assert_close(second, whole[20:, :1])
    parts = made_of.backward([residual[:20], residual[20:, :1]], KEEP, blocks)
    torch.testing.assert_close(parts, made_of.backward([residual], KEEP, ALL))
