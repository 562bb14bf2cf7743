"""The target and its forces, against densities in untransformed coordinates and finite differences."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from bayesmixed.chunks import allow
from bayesmixed.sampling.transport.model import Prepared
from bayesmixed.sampling.transport.start import find_start
from bayesmixed.sampling.transport.target import Target
from bayesmixed.sampling.transport.working import shared
from bayesmixed.sampling.transport.working.products import _first_terms
from bayesmixed.sampling.transport.working.rows import Reference
from helpers.transport_twins import MODELS, log_slope, make_model, make_rows, untransformed

FRAME = make_rows()
WEIGHTS = np.random.default_rng(5).integers(1, 4, len(FRAME)).astype(float)


def prepare(name, weights=None):
    model, design = make_model(*MODELS[name], FRAME, weights=weights)
    prepared = Prepared.of(model, design)
    return model, design, prepared, find_start(prepared.rows, prepared.parameters)


def points(target, n, seed=1, scale=1.0):
    size = target.rows.layout.size + target.coordinates.parameters.dimension
    return scale * np.random.default_rng(seed).standard_normal((size, n))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
def test_the_target_is_the_density_in_untransformed_coordinates(name, weights):
    model, design, prepared, target = prepare(name, weights)
    x = points(target, 6)
    state = target.evaluate(x)
    expected = [
        untransformed(prepared, design, model.priors, state.w[:, k], state.points.x[:, k]) + log_slope(target, x[:, k])
        for k in range(x.shape[1])
    ]
    difference = state.log_density - np.array(expected)

    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(difference, difference[0], atol=2e-7)


@pytest.mark.parametrize("name", MODELS)
def test_forces_are_derivatives_of_the_residual(name):
    _, _, _, target = prepare(name)
    x, h = points(target, 4), 1e-5
    state = target.evaluate(x)
    d = target.coordinates.parameters.dimension
    found = np.empty_like(x)
    for k in range(len(x)):
        plus, minus = x.copy(), x.copy()
        plus[k] += h
        minus[k] -= h
        found[k] = (target.evaluate(plus).residual - target.evaluate(minus).residual) / (2 * h)

    size = len(x) - d
    np.testing.assert_allclose(state.force[:size], found[:size], atol=2e-6)
    np.testing.assert_allclose(state.force[size:], found[size:], atol=2e-2)


@pytest.mark.parametrize("name", MODELS)
def test_the_transport_has_an_inverse_and_an_adjoint(name):
    _, _, _, target = prepare(name)
    size = target.rows.layout.size
    x = points(target, 5)
    factorised = target.transport(target.coordinates.at(x[size:]))
    z, by_effect = x[:size], points(target, 5, seed=2)[:size]
    w = factorised.effects(z)
    origin = factorised.effects(np.zeros_like(z))

    np.testing.assert_allclose(factorised.noise(w), z, atol=1e-9)
    # <by_effect, A z> = <A' by_effect, z>
    forward, back = (by_effect * (w - origin)).sum(axis=0), (factorised.adjoint(by_effect) * z).sum(axis=0)
    np.testing.assert_allclose(forward, back, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_the_noise_is_that_of_the_working_gaussians_exact_draws(name):
    """Mean and covariance of w given the parameters, and what the Gaussian integrates to, from dense matrices."""
    _, _, _, target = prepare(name)
    rows, layout, size = target.rows, target.rows.layout, target.rows.layout.size
    x = points(target, 2, seed=4)
    at = target.coordinates.at(x[size:])
    factorised = target.transport(at)
    M = np.column_stack([rows.linear(column[:, None])[:, 0] for column in np.eye(size)])
    for k in range(2):
        kappa = factorised.scale[k] ** 2
        root = np.zeros((size, size))
        for i, f in enumerate(layout.factors):
            own = slice(layout.offsets[i], layout.offsets[i + 1])
            root[own, own] = np.kron(at.roots[f][..., k], np.eye(layout.n_levels[i]))
        root[layout.offsets[-1] :, layout.offsets[-1] :] = np.eye(layout.p)
        A = np.eye(size) + kappa * root.T @ (M.T * target.reference.W) @ M @ root
        a = target.reference.linear_term({name: own[[k]] for name, own in at.auxiliary.items()})[:, 0]
        right = kappa * root.T @ M.T @ a
        origin = factorised.effects(np.zeros((size, 2)))[:, k]
        by_z = (
            np.column_stack([factorised.effects(np.tile(c[:, None], 2))[:, k] for c in np.eye(size)]) - origin[:, None]
        )

        np.testing.assert_allclose(origin, root @ np.linalg.solve(A, right), rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(by_z @ by_z.T, root @ np.linalg.solve(A, root.T), rtol=1e-7, atol=1e-9)
        integral = 0.5 * (right @ np.linalg.solve(A, right) - np.linalg.slogdet(A)[1])
        assert factorised.log_integral[k] == pytest.approx(integral, rel=1e-9, abs=1e-9)


def test_many_shared_columns_one_by_one_and_few_by_their_inverses_agree(monkeypatch):
    _, _, _, target = prepare("poisson, crossed, q=2 and q=2")
    x = points(target, 4)
    state = target.evaluate(x)
    assert 0 < target.rows.layout.n_shared <= shared.FEW_SHARED
    monkeypatch.setattr(shared, "FEW_SHARED", 0)
    other = target.evaluate(x)

    np.testing.assert_allclose(other.residual, state.residual, rtol=1e-10)
    np.testing.assert_allclose(other.force, state.force, rtol=1e-6, atol=1e-6)


def test_a_point_without_a_factor_is_ruled_out_and_leaves_the_others_as_they_are():
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(5, 3, 3))
    matrices = halves @ halves.transpose(0, 2, 1) + np.eye(3)
    matrices[1, 0, 0], matrices[3] = -1.0, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lower, log_det = shared._root(matrices)
        alone = [shared._root(matrices[k : k + 1]) for k in (0, 2, 4)]

    assert not np.isfinite(log_det[[1, 3]]).any()
    np.testing.assert_array_equal(lower[::2], np.concatenate([one for one, _ in alone]))
    np.testing.assert_array_equal(log_det[::2], np.concatenate([one for _, one in alone]))
    np.testing.assert_allclose(lower[::2] @ lower[::2].transpose(0, 2, 1), matrices[::2])


def test_sparse_and_dense_products_of_the_first_factor_agree():
    _, _, _, target = prepare("poisson, crossed, q=2 and q=2")
    gaussian = target.gaussian
    nested = [replace(own, shared=own.shared.toarray()) for own in gaussian.nested]
    dense = replace(gaussian, nested=tuple(nested), first_terms=_first_terms(nested[0], target.rows.layout.n_shared))
    x = points(target, 4)

    np.testing.assert_allclose(gaussian.first_terms.toarray(), dense.first_terms, rtol=1e-12)
    expected, found = target.evaluate(x), replace(target, gaussian=dense).evaluate(x)
    np.testing.assert_allclose(found.residual, expected.residual, rtol=1e-10)


def test_a_zero_weight_leaves_the_linear_term():
    """A row without curvature, as a probit's far out: no working response a / W exists, and none is formed."""
    _, _, _, target = prepare("binomial, probit, q=2")
    W = target.reference.W.copy()
    W[::3] = 0.0
    other = Target.of(target.rows, target.coordinates, Reference(W, target.reference.a))
    x = points(target, 3)
    difference = target.evaluate(x).log_density - other.evaluate(x).log_density

    assert np.isfinite(difference).all()
    assert np.ptp(difference) > 1e-3  # another place for each noise
    w = target.evaluate(x).w
    z = other.transport(other.coordinates.at(x[len(w) :])).noise(w)
    there = other.evaluate(np.concatenate([z, x[len(w) :]]))
    np.testing.assert_allclose(there.w, w, atol=1e-9)


@pytest.mark.parametrize("together", [1, 500])
@pytest.mark.parametrize("name", MODELS)
def test_results_do_not_depend_on_how_much_is_evaluated_together(name, together):
    _, _, _, target = prepare(name)
    x = points(target, 4)
    expected = target.evaluate(x)
    with allow(rows=together, points=together):
        found = target.evaluate(x)

    np.testing.assert_array_equal(found.residual, expected.residual)
    np.testing.assert_array_equal(found.force, expected.force)


@pytest.mark.parametrize(
    "name", [name for name in MODELS if name.startswith("cumulative") and name != "cumulative K=2"]
)
def test_the_approximation_of_ordered_responses_follows_the_gaps(name):
    """So that less force is left of the density."""
    _, _, prepared, target = prepare(name)
    assert tuple(target.reference.slopes) == tuple(target.gaussian.at) == prepared.rows.family.auxiliary
    fixed = Target.of(target.rows, target.coordinates, Reference(target.reference.W, target.reference.a))
    x = points(target, 40, seed=6)
    left, without = (np.square(own.evaluate(x).force).sum(axis=0).mean() for own in (target, fixed))

    assert left < 0.75 * without
