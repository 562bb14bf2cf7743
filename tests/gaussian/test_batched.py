"""Batched small matrices against NumPy, one matrix at a time."""

import numpy as np
import pytest

from bayesmixed.gaussian.batched import (
    back_substitute,
    conditional_effects,
    conditional_root,
    eliminate,
    gram,
    inverse_above_identity,
    log_det,
    lower,
    pack,
    packed_size,
    unpack,
)

SIZES = [1, 2, 3, 4, 5, 6]
BATCH = (4, 5)


def each(array):
    """The batch of an array (..., 4, 5), one after the other."""
    flat = array.reshape(*array.shape[: array.ndim - 2], 20)
    return [flat[..., n] for n in range(20)]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, *BATCH))


def positive(q, rank=None, seed=0):
    """Positive semi-definite matrices, (q, q, 4, 5)."""
    root = random(q, rank or q, seed=seed)
    return np.einsum("ik...,jk...->ij...", root, root)


@pytest.mark.parametrize("q", SIZES)
def test_packing_keeps_the_lower_triangle(q):
    matrix = positive(q)
    packed = pack(matrix)

    assert packed.shape == (packed_size(q), *BATCH)
    for at, (i, j) in enumerate(lower(q)):
        assert at == i * (i + 1) // 2 + j
        np.testing.assert_array_equal(packed[at], matrix[i, j])
    np.testing.assert_array_equal(unpack(packed, q), matrix)


@pytest.mark.parametrize("q", SIZES)
def test_gram(q):
    root = random(q, q)

    for found, one in zip(each(unpack(gram(root), q)), each(root), strict=True):
        np.testing.assert_allclose(found, one @ one.T, atol=1e-12)


@pytest.mark.parametrize("rank", ["full", "one"])
@pytest.mark.parametrize("q", [*SIZES, 9, 17])
def test_inverse_and_determinant_above_the_identity(q, rank):
    A = np.eye(q)[:, :, None, None] + positive(q, rank=None if rank == "full" else 1)
    inverse, log_determinant = inverse_above_identity(pack(A), q)
    for one, found, value in zip(each(A), each(unpack(inverse, q)), log_determinant.ravel(), strict=True):
        np.testing.assert_allclose(found, np.linalg.inv(one), atol=1e-12)
        assert value == pytest.approx(np.linalg.slogdet(one)[1], rel=1e-12)


def test_a_determinant_that_is_known_is_used():
    A = np.eye(2)[:, :, None, None] + positive(2)
    inverse, value = inverse_above_identity(pack(A), 2, det=np.full(BATCH, 4.0))

    np.testing.assert_allclose(value, np.log(4))
    np.testing.assert_allclose(inverse[0], A[1, 1] / 4)


@pytest.mark.parametrize("q", [2, 3, 5])
def test_rounding_below_the_identity_is_mended(q):
    """Sigma of rank one and 1e12 large: no eigenvalue of A is below 1, whatever rounding says."""
    v = 1e6 * random(q)
    A = np.eye(q)[:, :, None, None] + v[:, None] * v[None]
    inverse, value = inverse_above_identity(pack(A), q)

    assert np.isfinite(inverse).all()
    assert (value >= 0).all()
    expected = np.log1p(np.square(v).sum(axis=0))
    assert np.abs(value - expected).max() < 30  # rounding costs log(eps 1e12 / 1) a pivot at most


@pytest.mark.parametrize("q", [8, 9, 16, 24])
def test_determinants_beyond_floats_have_a_logarithm(q):
    A = np.eye(q)[:, :, None, None] * 1e36 * np.ones(BATCH)

    np.testing.assert_allclose(inverse_above_identity(pack(A), q)[1], q * 36 * np.log(10))


@pytest.mark.parametrize("k", [2, 4, 6])
@pytest.mark.parametrize("m", [0, 1, 2])
def test_elimination_is_cholesky_and_schur_complement(k, m):
    matrix = positive(k)
    rows, rest = eliminate(matrix.copy(), m)
    for one, R, schur in zip(each(matrix), each(rows), each(rest), strict=True):
        upper = np.linalg.cholesky(one).T
        np.testing.assert_allclose(R, upper[:m], atol=1e-8)
        A, B = one[:m, :m], one[:m, m:]
        np.testing.assert_allclose(schur, one[m:, m:] - B.T @ np.linalg.solve(A, B), atol=1e-8)
    for one, value in zip(each(matrix), np.broadcast_to(log_det(rows), BATCH).ravel(), strict=True):
        assert value == pytest.approx(np.linalg.slogdet(one[:m, :m])[1], abs=1e-9)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_back_substitution(m):
    rows, _ = eliminate(positive(m + 2), m)
    right = random(m, seed=1)
    for R, b, x in zip(each(rows), each(right), each(back_substitute(rows, right)), strict=True):
        np.testing.assert_allclose(R[:, :m] @ x, b, atol=1e-9)


def test_back_substitution_of_nothing():
    assert back_substitute(np.empty((0, 1, 7)), np.empty((0, 7))).shape == (0, 7)


@pytest.mark.parametrize("q", SIZES)
def test_conditional_root_and_determinant(q):
    """F F' = (Sigma^-1 + S)^-1 and log |I + S Sigma|."""
    S, root = positive(q, seed=1), random(q, q, seed=2)
    F, log_determinant = conditional_root(S, root)
    for s, L, f, value in zip(each(S), each(root), each(F), log_determinant.ravel(), strict=True):
        sigma = L @ L.T
        expected = sigma @ np.linalg.inv(np.eye(q) + s @ sigma)
        np.testing.assert_allclose(f @ f.T, expected, atol=1e-7)
        assert value == pytest.approx(np.linalg.slogdet(np.eye(q) + s @ sigma)[1], rel=1e-7)


@pytest.mark.parametrize("q", SIZES)
def test_conditional_root_of_no_variance_and_of_no_data(q):
    S, root = positive(q), random(q, q)
    none, zero = conditional_root(S, 0 * root)
    prior, also_zero = conditional_root(0 * S, root)

    np.testing.assert_array_equal(none, np.zeros_like(root))
    np.testing.assert_allclose(prior, root)
    np.testing.assert_array_equal([zero, also_zero], np.zeros((2, *BATCH)))


@pytest.mark.parametrize("q", [2, 3])
def test_conditional_root_of_a_singular_covariance(q):
    S, v = positive(q), random(q)
    root = np.zeros((q, q, *BATCH))
    root[:, 0] = v  # correlations of +-1
    F, log_determinant = conditional_root(S, root)
    for s, x, f, value in zip(each(S), each(v), each(F), log_determinant.ravel(), strict=True):
        np.testing.assert_allclose(f @ f.T, np.outer(x, x) / (1 + x @ s @ x), atol=1e-12)
        assert value == pytest.approx(np.log1p(x @ s @ x))


@pytest.mark.parametrize("q", [1, 2, 4])
def test_broadcasting_is_that_of_single_points(q):
    """Groups along one axis, points along another; a point's numbers are the same alone, to the last bit."""
    S = positive(q)[..., :1]
    root = random(q, q)[:, :, :1]
    F, value = conditional_root(S, root)

    assert F.shape == (q, q, *BATCH)
    for i in range(4):
        for j in range(5):
            one, one_value = conditional_root(S[:, :, i, 0], root[:, :, 0, j])
            np.testing.assert_array_equal(one, F[:, :, i, j])
            assert one_value == value[i, j]


@pytest.mark.parametrize("q", SIZES)
def test_conditional_effects(q):
    F, t, noise = random(q, q), random(q, seed=1), random(q, seed=2)
    for f, a, z, b in zip(each(F), each(t), each(noise), each(conditional_effects(F, t, noise)), strict=True):
        np.testing.assert_allclose(b, f @ (f.T @ a + z), atol=1e-12)


def test_the_least_pivot_is_kept():
    rows, rest = eliminate(np.zeros((2, 2, 3)), 1, least=1.0)

    np.testing.assert_array_equal(rows[0, 0], np.ones(3))
    np.testing.assert_array_equal(rest, np.zeros((1, 1, 3)))
