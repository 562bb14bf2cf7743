"""The density of every row given all others, with the effects integrated out, at the draws of the parameters.

Given the parameters of a draw, the effects roughly have the working Gaussian's distribution, under which the linear
predictor of row i is N(m_i, v_i). Removing the row's own quadratic leaves its cavity

    lin_i | y_-i ~ N(m_c, v_c),    1 / v_c = 1 / v_i - kappa W_i,    m_c / v_c = m_i / v_i - kappa a_i,

over which the row's exact density is integrated numerically, at nodes lin_i = m_i + u v_i^(1/2). With s = 1 - v_i
kappa W_i the cavity's exponent there is -(u + v_i^(1/2) kappa (a_i - W_i m_i) / s)^2 s / 2, which divides by no
variance: that of a row whose columns are all zero is also zero (Vehtari, Mononen, Tolvanen, Sivula & Winther, 2016,
Bayesian leave-one-out cross-validation approximations for Gaussian latent variable models, Journal of Machine Learning
Research 17(103), section 3). A frequency weight stands for w_i equal rows, which are left out together.

The quadratic of the other rows is still the one made with row i among them. On the 56 rows of the cbpp data, the sum
over all rows is 0.6 above that of 56 fits without the row (no row by more than 0.4), while that of densities given
the effects is 1.9 above (0.76), with a k-hat of 0.94.

If the draws given all rows say too little about the posterior without the row, the other rows are fitted, and the row's
density is the ratio of two normalising constants, which draws of both posteriors estimate better than a mean over
either (`bridge`). An example is a count of 10 (25) among others of about 3, whose log density is -8.7 (-26.6) by
integrating over fits in which the row has a weight from 0 to 1: four pairs of fits of 4,000 draws give -8.7 to -8.8
(-26.9 to -27.4), the mean over draws given all others -8.8 to -8.9 (-29.5 to -31.8), and importance sampling from
those given all rows -8.1 to -9.7 (-21.8 to -24.8).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

from bayesmixed.chunks import allowed, chunks
from bayesmixed.sampling.transport.constants import NODES, REACH
from bayesmixed.sampling.transport.coordinates import Parameters
from bayesmixed.sampling.transport.target import transport
from bayesmixed.sampling.transport.working.factorised import Factorised, by_group
from bayesmixed.sampling.transport.working.products import WorkingGaussian
from bayesmixed.sampling.transport.working.rows import Reference, Rows

_MIN_KEPT = 1e-12  # lower bound of s, which is positive except for rounding


def leave_one_out(rows: Rows, parameters: Parameters, reference: Reference, x: np.ndarray) -> np.ndarray:
    """Log densities of the rows, each given all others, at parameters (d, S); returns (S, n).

    Parameters
    ----------
    rows : Rows
        All rows, with identical ones kept separate.
    parameters : Parameters
    reference : Reference
        Of these rows.
    x : numpy.ndarray of shape (d, S)
    """
    gaussian, found = WorkingGaussian.of(rows, reference), np.empty((x.shape[1], rows.n))
    nodes, step = np.linspace(-REACH, REACH, NODES, retstep=True)
    width = rows.layout.size + rows.n * (len(rows.Z) + rows.layout.n_shared + NODES)
    for some in chunks(x.shape[1], width, allowed().points):
        points = parameters.at(x[:, some])
        factorised = transport(rows, gaussian, points)
        mean = rows.linear(factorised.effects(np.zeros((rows.layout.size, some.stop - some.start))))
        variance = variances(rows, factorised)
        kappa = np.square(factorised.scale)
        kept = np.maximum(1 - variance * kappa * reference.W[:, None], _MIN_KEPT)
        sd = np.sqrt(variance)
        pull = reference.linear_term(points.auxiliary) - reference.W[:, None] * mean
        shift = sd * kappa * pull / kept
        each = [rows.each(mean + node * sd, points.auxiliary) - 0.5 * np.square(node + shift) * kept for node in nodes]
        found[some] = (logsumexp(each, axis=0) + np.log(step) + 0.5 * np.log(kept / (2 * np.pi))).T
    return found


def bridge(whole: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Log density of a row given all others, and its standard error, as if draws were independent.

    If r is that log density, the mean of p / (p + e^r) over draws given all others equals the mean of e^r / (p + e^r)
    over as many given all rows (Meng & Wong, 1996, Simulating ratios of normalizing constants via a simple identity,
    Statistica Sinica 6, 831-860, section 3; p is the row's density at a draw).

    Parameters
    ----------
    whole, others : numpy.ndarray of shape (S,)
        Log densities of the row at draws given all rows, and given all others.
    """
    known = np.concatenate([whole, others])
    known = known[np.isfinite(known)]
    r = brentq(lambda r: expit(others - r).mean() - expit(r - whole).mean(), known.min() - 1, known.max() + 1)
    parts = expit(others - r), expit(r - whole)
    return r, float(np.sqrt(sum(part.var() / part.mean() ** 2 for part in parts) / len(whole)))


def variances(rows: Rows, factorised: Factorised) -> np.ndarray:
    """Variance of each row's linear predictor under the working Gaussian, (n, N).

    The transport's adjoint is applied to the row's columns, factor by factor; it only involves the row's own levels.
    """
    layout, N = factorised.layout, len(factorised.scale)
    left = [np.repeat(rows.Z[i].T[..., None], N, axis=2) for i in range(layout.nested)]  # (q, n, N)
    columns = rows.shared_columns()
    dense = columns if isinstance(columns, np.ndarray) else columns.toarray()
    shared = np.repeat(dense.T[..., None], N, axis=2)  # (m, n, N)
    total = np.zeros((rows.n, N))
    for i in range(layout.nested):
        codes, factor = rows.codes[i], factorised.nested[i]
        F = factor.F[:, :, codes]
        turned = (F * left[i][:, None]).sum(axis=0)
        total += np.square(turned).sum(axis=0)
        t = (F * turned[None]).sum(axis=1)
        for k, products in enumerate(factor.above, start=i + 1):
            left[k] = left[k] - (products[:, :, codes] * t[:, None]).sum(axis=0)
        shared -= (by_group(factor.shared, len(F))[:, :, codes] * t[:, None]).sum(axis=0)
    return (total + np.square(factorised.shared.adjoint(shared)).sum(axis=0)) / np.square(factorised.scale)
