import warnings

import numpy as np
import pytest

from bayesmixed._compat import import_arviz
from bayesmixed.posterior import diagnostics
from bayesmixed.posterior.diagnostics import convergence, pareto_k, suspects


def autoregressive(rho, chains, draws, seed=0):
    """Chains of an AR(1) process per entry of rho, shape (chain, draw, len(rho))."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(chains, draws, len(rho)))
    for t in range(1, draws):
        x[:, t] += np.asarray(rho) * x[:, t - 1]
    return x


def with_rejections(x, seed=0):
    """The chains x, of shape (chain, draw, ...), as if Metropolis-Hastings had rejected three draws in five."""
    rejected = np.random.default_rng(seed).uniform(size=x.shape[:2]) < 0.6
    rejected[:, 0] = False
    last = np.maximum.accumulate(np.where(rejected, 0, np.arange(x.shape[1])), axis=1)
    return x[np.arange(x.shape[0])[:, None], last]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("chains", [2, 4])
@pytest.mark.parametrize("draws", [4, 5, 7, 10, 51, 100, 1000])
def test_equals_arviz(chains, draws, ties):
    x = autoregressive([-0.9, -0.3, 0.0, 0.5, 0.9, 0.99], chains, draws)
    if ties:
        x[..., 2] = np.round(x[..., 2])
        x[..., 3:] = with_rejections(x[..., 3:])
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


@pytest.mark.parametrize("draws", [500, 501])
def test_a_parameter_does_not_depend_on_its_neighbours(draws):
    x = autoregressive(np.linspace(-0.9, 0.9, 40), 4, draws)
    x[..., 7] = with_rejections(x[..., 7])
    x[..., 8] = 1.0
    x[1, 2, 9] = np.nan
    before = x.copy()
    together = convergence(x)
    alone = [convergence(x[..., k]) for k in range(x.shape[2])]

    for name in ("r_hat", "ess_bulk", "ess_tail"):
        np.testing.assert_allclose(getattr(together, name), [getattr(one, name) for one in alone], rtol=1e-12)
    np.testing.assert_array_equal(x, before)


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


def arviz_pareto_k(log_weights):
    """ArviZ's k of a tail that is as long as ours."""
    az = import_arviz()
    if hasattr(az, "psislw"):  # 0.x: log weights
        return float(az.psislw(log_weights)[1])
    from arviz_stats.base import array_stats

    # 1.x: log likelihoods, the negatives of log weights. It rounds the length of a tail down where 0.x and we round
    # up; r_eff, which we leave at 1, makes up for that.
    length = np.ceil(3 * np.sqrt(len(log_weights)))
    r_eff = 9 * len(log_weights) / (length + 0.5) ** 2
    return float(array_stats.psislw(-log_weights, r_eff=r_eff)[1])


LOG_WEIGHTS = {
    "bounded": lambda rng, n: np.log(rng.uniform(size=n)),
    "nearly equal": lambda rng, n: 1e-3 * rng.normal(size=n),
    "lognormal": lambda rng, n: rng.normal(size=n),
    "Pareto, k = 0.3": lambda rng, n: 0.3 * rng.exponential(size=n),
    "Pareto, k = 0.7": lambda rng, n: 0.7 * rng.exponential(size=n) - 1e3,
    "Pareto, k = 1.2": lambda rng, n: 1.2 * rng.exponential(size=n) + 1e3,
    "hopeless": lambda rng, n: 100 * rng.normal(size=n),
}


@pytest.mark.parametrize("n", [50, 400, 4000, 8000])
@pytest.mark.parametrize("weights", LOG_WEIGHTS)
def test_pareto_k_equals_arviz(weights, n):
    log_weights = LOG_WEIGHTS[weights](np.random.default_rng(n), n)

    np.testing.assert_allclose(pareto_k(log_weights), arviz_pareto_k(log_weights), rtol=1e-9)


def test_pareto_k_of_zero_weights_equals_arviz():
    log_weights = np.random.default_rng(0).normal(size=4000)
    log_weights[::2] = -np.inf

    np.testing.assert_allclose(pareto_k(log_weights), arviz_pareto_k(log_weights), rtol=1e-9)


@pytest.mark.parametrize("k", [0.3, 0.7, 1.2])
def test_pareto_k_of_a_pareto_sample(k):
    n = 100_000
    log_weights = k * np.random.default_rng(1).exponential(size=n)  # of weights with P(w > x) = x^(-1 / k)
    tail = 3 * np.sqrt(n)
    standard_error = (1 + k) / np.sqrt(tail)  # of the maximum likelihood estimate

    assert abs(pareto_k(log_weights) - (tail * k + 10 * 0.5) / (tail + 10)) < 3 * standard_error


@pytest.mark.parametrize("constant", [-1e6, 700.0, 1e6])
def test_pareto_k_does_not_depend_on_a_constant(constant):
    log_weights = 0.7 * np.random.default_rng(0).exponential(size=1000)

    assert pareto_k(log_weights + constant) == pytest.approx(pareto_k(log_weights), rel=1e-6)


def test_pareto_k_of_repeated_draws_is_near_that_of_distinct_ones():
    log_weights = 0.7 * np.random.default_rng(0).exponential(size=4000)

    assert abs(pareto_k(np.repeat(log_weights, 3)) - pareto_k(log_weights)) < 0.15


def with_entry(value):
    log_weights = np.random.default_rng(0).normal(size=1000)
    log_weights[3] = value
    return log_weights


@pytest.mark.parametrize(
    "log_weights",
    [
        np.zeros(1000),
        np.full(1000, -np.inf),
        with_entry(np.nan),
        with_entry(np.inf),
        with_entry(1e4),  # all but one are negligible
        np.arange(1000) % 5.0,
        np.repeat(np.arange(250.0), [1] * 246 + [200] * 4),
        np.random.default_rng(0).normal(size=20),
        np.zeros(1),
        np.zeros(0),
    ],
)
def test_pareto_k_is_infinite_without_a_tail_to_fit(log_weights):
    assert pareto_k(log_weights) == np.inf


def test_pareto_k_where_a_point_of_the_grid_is_the_exponential_limit():
    # of the 34 points for 20 excesses, that of sqrt(34 / 8.5) = 2 is 0 if the largest is thrice the quartile, here 1
    excess = np.repeat([0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0], [2, 2, 4, 4, 4, 3, 1])
    log_weights = np.log1p(np.concatenate([np.zeros(80), excess]))
    nearly = np.append(log_weights[:-1], np.log1p(3.0 + 1e-6))

    assert pareto_k(log_weights) == pytest.approx(pareto_k(nearly), abs=0.01)


def many_chains(P=3000, seed=0):
    """Autoregressive draws of many parameters, each with its own correlation."""
    rng = np.random.default_rng(seed)
    draws = rng.normal(size=(4, 500, P))
    phi = rng.uniform(0, 0.5, P)
    for t in range(1, 500):
        draws[:, t] = phi * draws[:, t - 1] + np.sqrt(1 - phi**2) * draws[:, t]
    return draws


@pytest.mark.parametrize(("P", "looked_at"), [(3000, 500), (400, 200), (120, 100)])
def test_the_worst_of_many_parameters_are_among_the_suspects(P, looked_at):
    draws = many_chains(P)
    every, some = convergence(draws), suspects(draws)

    assert len(some) < looked_at
    for exact, worst in ((every.r_hat, np.max), (every.ess_bulk, np.min), (every.ess_tail, np.min)):
        assert worst(exact[some]) == worst(exact)


def spoil_level(draws):
    draws[0] += 1.0


def spoil_scale(draws):
    draws[1] *= 2.5


def spoil_trend(draws):
    draws += np.linspace(-1, 1, draws.shape[1])


def spoil_mixing(draws):
    draws[:] = np.repeat(draws[:, ::25], 25, axis=1)


def spoil_tail(draws):
    draws[:, :25] = np.abs(draws[:, :25]) + 3


def spoil_constant(draws):
    draws[:] = 1.0


def spoil_one_chain(draws):
    draws[2] = draws[2, 0]


def spoil_value(draws):
    draws[2, 17] = np.nan


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_level,
        spoil_scale,
        spoil_trend,
        spoil_mixing,
        spoil_tail,
        spoil_constant,
        spoil_one_chain,
        spoil_value,
    ],
)
def test_a_stuck_parameter_among_many_is_suspected(spoil):
    draws = many_chains(1500)
    spoil(draws[:, :, 1234])

    assert 1234 in suspects(draws)


def test_an_autocorrelation_that_ends_late_is_summed_to_its_end(monkeypatch):
    """Most sums end within the first few lags; those of these chains do not, or some do and some do not."""
    draws = many_chains(30)
    slow = np.random.default_rng(1).normal(size=(4, 500, 3))
    for t in range(1, 500):
        slow[:, t] += 0.95 * slow[:, t - 1]
    draws[:, :, 5:8] = slow
    found = convergence(draws)
    for lags in (6, 500):  # nearly none of the sums end there, and all do
        monkeypatch.setattr(diagnostics, "_LAGS", lags)
        again = convergence(draws)
        np.testing.assert_allclose(again.ess_bulk, found.ess_bulk, rtol=1e-12)
        np.testing.assert_allclose(again.ess_tail, found.ess_tail, rtol=1e-12)


def test_of_few_parameters_all_are_suspects():
    assert len(suspects(np.random.default_rng(0).normal(size=(4, 100, 30, 2)))) == 60
    assert len(suspects(np.random.default_rng(0).normal(size=(4, 100)))) == 1
