"""The target and its forces, against densities in untransformed coordinates and finite differences."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.transport_twins import MODELS, log_slope, make_model, make_rows, untransformed

from bayesmixed.sampling.transport.model import Prepared
from bayesmixed.sampling.transport.rows import Reference
from bayesmixed.sampling.transport.start import find_start
from bayesmixed.sampling.transport.target import Target

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

    assert np.ptp(expected) > 1
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
