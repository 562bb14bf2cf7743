import warnings

import numpy as np
import pytest

from bayesmixed._compat import import_arviz
from bayesmixed.diagnostics import convergence


def autoregressive(rho, chains, draws, seed=0):
    """Chains of an AR(1) process per entry of rho, shape (chain, draw, len(rho))."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(chains, draws, len(rho)))
    for t in range(1, draws):
        x[:, t] += np.asarray(rho) * x[:, t - 1]
    return x


@pytest.mark.parametrize("chains", [2, 4])
@pytest.mark.parametrize("draws", [4, 5, 7, 10, 51, 100, 1000])
def test_equals_arviz(chains, draws):
    x = autoregressive([-0.9, -0.3, 0.0, 0.5, 0.9, 0.99], chains, draws)
    x[..., 2] = np.round(x[..., 2])  # ties
    result = convergence(x)

    az = import_arviz()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(x.shape[2]):
            one = x[..., k]
            expected = [
                float(np.asarray(az.rhat(one))),
                float(np.asarray(az.ess(one, method="bulk"))),
                float(np.asarray(az.ess(one, method="tail", prob=(0.05, 0.95)))),
            ]
            np.testing.assert_allclose([result.r_hat[k], result.ess_bulk[k], result.ess_tail[k]], expected, rtol=1e-9)


def test_shape_follows_the_variable():
    result = convergence(np.random.default_rng(0).normal(size=(4, 100, 70, 3)))

    assert result.r_hat.shape == result.ess_bulk.shape == result.ess_tail.shape == (70, 3)
    assert convergence(np.random.default_rng(0).normal(size=(4, 100))).r_hat.shape == ()


def test_chains_that_disagree_have_a_large_r_hat():
    x = np.random.default_rng(0).normal(size=(4, 500, 1)) + np.arange(4)[:, None, None]

    assert convergence(x).r_hat[0] > 1.5


def test_chains_of_different_scale_have_a_large_r_hat():
    x = np.random.default_rng(0).normal(size=(4, 500, 1)) * np.array([1, 1, 1, 5])[:, None, None]

    assert convergence(x).r_hat[0] > 1.05


def test_constant_and_not_finite_draws():
    x = np.random.default_rng(0).normal(size=(2, 50, 3))
    x[..., 1] = 3.0
    x[0, 0, 2] = np.inf
    result = convergence(x)

    assert np.isfinite(result.r_hat[0])
    assert np.isnan(result.r_hat[1])
    assert result.ess_bulk[1] == result.ess_tail[1] == 100
    assert np.isnan([result.r_hat[2], result.ess_bulk[2], result.ess_tail[2]]).all()


def test_too_few_draws_have_no_diagnostics():
    assert np.isnan(convergence(np.zeros((2, 3, 1))).ess_bulk[0])
