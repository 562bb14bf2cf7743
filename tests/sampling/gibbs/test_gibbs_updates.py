"""Every step of a sweep against the dense conditional distribution that it draws from."""

import numpy as np
import pytest

from helpers.gibbs_twins import Dense, arranged, random_chains, user_effects

MODELS = {  # formula, effects that may be shared, options
    "two crossed": ("x + (1 | pupil) + (1 | item)", 0, {}),
    "slopes": ("x + (z | pupil) + (1 + x | item)", 0, {}),
    "independent slopes": ("0 + x + (z || pupil) + (0 + x | item)", 0, {}),
    "small factor": ("x + (1 | pupil) + (1 | item) + (1 | small)", 3, {}),
    "small factor with slopes": ("x + (z | pupil) + (1 | item) + (z | small)", 6, {}),
    "three large": ("x + (1 | pupil) + (z | item) + (1 | task)", 0, {}),
    "one large": ("x + (z | pupil) + (1 | item)", 7, {}),
    "nothing shared": ("0 + (1 | pupil) + (1 | item)", 0, {}),
    "weights": ("x + (1 | pupil) + (z | item)", 0, {"weights": np.arange(60) % 4 + 1.0}),
}


@pytest.fixture(params=MODELS)
def prepared(request, monkeypatch):
    formula, shared, options = MODELS[request.param]
    return arranged(formula, shared=shared, monkeypatch=monkeypatch, **options)


def others(chains, i, c):
    """Effects of the other large factors of chain c, on the user's scale."""
    arrangement = chains.arrangement
    return {
        factor.position: user_effects(arrangement.density, factor.position, chains.effects(j)[:, :, c])
        for j, factor in enumerate(arrangement.factors)
        if j != i
    }


def stay(i, x, log_density):
    return x


def test_the_conditional_density_is_the_dense_one(prepared):
    model, arrangement = prepared
    chains = random_chains(arrangement)
    rng = np.random.default_rng(2)
    for i, conditional in enumerate(arrangement.conditionals):
        points = chains.point(i)[:, :, None] + rng.normal(size=(conditional.dimension, 3, 4)) * 0.4
        found = conditional.log_density(chains.given(i), points)
        for c in range(3):
            dense = []
            for n in range(4):
                theta = chains.theta[:, c].copy()
                theta[conditional.index] = points[:-1, c, n]
                dense.append(Dense(model, theta, points[-1, c, n]).log_density(others(chains, i, c)))
            np.testing.assert_allclose(np.diff(found[c]), np.diff(dense), rtol=1e-7, atol=1e-7)


def test_effects_are_drawn_from_the_dense_conditional(prepared):
    model, arrangement = prepared
    C = 4000
    for i in range(len(arrangement.factors)):
        one = random_chains(arrangement, C=1)
        chains = random_chains(arrangement, C=C)
        chains.theta, chains.s = np.repeat(one.theta, C, axis=1), np.repeat(one.s, C)
        for j, deviations in enumerate(one.deviations):
            chains.place(j, np.repeat(deviations, C, axis=2))
        known = others(chains, i, 0)
        rng = np.random.default_rng(3)
        updated = chains.update(
            i, stay, rng.standard_normal(chains.shared.shape), rng.standard_normal(chains.deviations[i].shape)
        )
        mean, covariance, _ = Dense(model, one.theta[:, 0], one.s[0]).posterior(known)
        drawn = assembled(arrangement, i, chains.shared, chains.effects(i))
        means = assembled(arrangement, i, updated.shared_mean[:, :1], updated.mean[:, :, :1])[:, 0]
        np.testing.assert_allclose(means, mean, rtol=1e-7, atol=1e-7)
        sd = np.sqrt(np.diag(covariance))
        assert np.abs((drawn.mean(axis=1) - mean) / sd).max() < 5 / np.sqrt(C)
        error = (np.cov(drawn) - covariance) / np.outer(sd, sd)
        assert np.abs(error).max() < 6 / np.sqrt(C)


def assembled(arrangement, i, shared, b):
    """Common effects, then those of factor i and of the small ones in the model's order, on the user's scale."""
    units, columns = arrangement.density.units, arrangement.columns
    intercept, beta = units.common_effects(shared[columns.m :])
    by_factor = {arrangement.factors[i].position: b}
    by_factor |= dict(zip(columns.factors, columns.split(shared[: columns.m]), strict=True))
    rows = [] if intercept is None else [intercept[None]]
    rows.append(beta)
    for f in sorted(by_factor):
        own = units.group_effects(f, by_factor[f])  # (q, J, C)
        rows.append(own.swapaxes(0, 1).reshape(-1, own.shape[2]))
    return np.concatenate(rows)


def test_centres_change_nothing_but_where_deviations_start(monkeypatch):
    formula, shared, options = MODELS["small factor with slopes"]
    _, about = arranged(formula, shared=shared, monkeypatch=monkeypatch, **options)
    _, plain = arranged(formula, shared=shared, monkeypatch=monkeypatch, centres=False, **options)
    a, b = random_chains(about), random_chains(plain)
    for i in range(len(a.deviations)):
        b.place(i, a.effects(i))
    for i, conditional in enumerate(about.conditionals):
        points = a.point(i)[:, :, None]
        first = conditional.log_density(a.given(i), points)
        second = plain.conditionals[i].log_density(b.given(i), points)
        np.testing.assert_allclose(first, second, rtol=1e-9)
