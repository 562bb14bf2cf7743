"""Pictures of predictive checks: the observed response over rows, next to responses replicated from the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmixed.plots.shared import (
    BLACK,
    BLUE,
    GREY,
    SKY,
    finish,
    panels,
    percent,
    read_rows,
    response_ticks,
)
from bayesmixed.posterior.tables import tails

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmixed.estimators.regressor import MixedModelRegressor

_MAX_BARS = 150  # most bars of a legible rootogram
_REPLICATIONS = 1000  # enough for stable 5 % and 95 % quantiles of frequencies


def posterior_predictive(
    est: MixedModelRegressor, X: Any, y: Any = None, *, n_draws: int = 50, ax: Axes | None = None
) -> Axes:
    """Draw the distribution of the response over rows: the observed one, and replications from the fit.

    Parameters
    ----------
    est : MixedModelRegressor
        Fitted.
    X : DataFrame or array of shape (n, k)
    y : array-like of shape (n,), optional
        The response; with a two-sided formula None takes the left-hand column of X.
    n_draws : int, default=50
        Number of replications, evenly spread over the posterior draws.
    ax : Axes, optional
        Default: that of a new figure.

    Returns
    -------
    Axes
        A thin line for each replication (a draw of ``est.predict_draws`` for all rows) and a thick one for the data.

    Raises
    ------
    ValueError
        `n_draws` is not a positive integer, or exceeds the number of draws; `y` does not hold one number per row.
    ImportError
        matplotlib is not installed.

    Notes
    -----
    The lines are empirical distribution functions, shares of rows up to a value. They need neither bandwidth nor bins,
    which may hide what should be seen: rounded or bounded values, a gap, a tail [1]_. For counts there is also
    `rootogram`.

    References
    ----------
    .. [1] Säilynoja, Johnson, Martin & Vehtari (2025), Recommendations for visual predictive checks in Bayesian
       workflow, arXiv:2503.01509.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> from bayesmixed import plots
    >>> df = bm.datasets.load_sleepstudy()
    >>> est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(df)
    >>> ax = plots.posterior_predictive(est, df)
    >>> len(ax.lines)
    51
    >>> import matplotlib.pyplot as plt
    >>> plt.close(ax.figure)
    """
    _, observed, _, response = read_rows(est, X, y)
    replicated = _replications(est, X, n_draws)
    (ax,), figure = panels(ax, 1, (5.5, 4))
    margin = 0.5 if est._posterior.family.discrete else 0.0  # the lowest count has a step too
    low, high = (limit([limit(observed), limit(replicated)]) for limit in (np.min, np.max))
    low, high = low - margin, high + margin
    grid = np.linspace(low, high, 1000)
    label = f"{n_draws} replications" if n_draws > 1 else "1 replication"
    for values in replicated:
        ax.plot(grid, _share_up_to(grid, values), color=SKY, linewidth=0.6, alpha=0.7, label=label)
        label = "_"  # one legend entry for all
    ax.plot(grid, _share_up_to(grid, observed), color=BLACK, linewidth=1.8, label="observed")
    ax.set(xlim=(low, high), ylim=(-0.01, 1.01))
    response_ticks(ax.xaxis, est._posterior.family)
    finish(np.array([ax]), figure, response, "share of rows up to this value")
    return ax


def rootogram(
    est: MixedModelRegressor,
    X: Any,
    y: Any = None,
    *,
    coverage: float = 0.9,
    n_draws: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many rows have each count, hung from the number the fit expects, on the square-root scale.

    If a bar ends below the line at zero, more rows than expected have that count; if it ends above, fewer do. The band
    about zero is where the bars of replications end: the fit describes the counts whose bars end within it.

    Parameters
    ----------
    est : MixedModelRegressor
        Fitted, with a family of counts.
    X : DataFrame or array of shape (n, k)
    y : array-like of shape (n,), optional
        The response; with a two-sided formula None takes the left-hand column of X.
    coverage : float, default=0.9
        Share of the replications that each part of the band covers, in (0, 1).
    n_draws : int, optional
        Number of replications, evenly spread over the posterior draws. Default: 1,000, or all draws if there are fewer.
    ax : Axes, optional
        Default: that of a new figure.

    Returns
    -------
    Axes
        If the counts have a wide range, a bar stands for several successive counts, as the horizontal label then says.

    Raises
    ------
    ValueError
        The family's response, or `y`, does not hold counts; `n_draws` is not a positive integer, or exceeds the number
        of draws; `coverage` is outside (0, 1).
    ImportError
        matplotlib is not installed.

    Notes
    -----
    The hanging rootogram [1]_: square roots of frequencies vary about equally whether the frequencies are large or
    small. The expected frequency is the mean over replications, draws of ``est.predict_draws`` for all rows. Too many
    zeros, or a variance above the family's, show as bars at both ends that reach below the band.

    References
    ----------
    .. [1] Kleiber & Zeileis (2016), Visualizing count data regressions using rootograms, The American Statistician 70,
       296-303.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> from bayesmixed import plots
    >>> df = bm.datasets.load_grouseticks()
    >>> est = bm.MixedModelRegressor("TICKS ~ cHEIGHT + (1 | LOCATION)", family="poisson", draws=250, random_state=0)
    >>> ax = plots.rootogram(est.fit(df), df)
    >>> ax.get_xlabel()
    'TICKS'
    >>> import matplotlib.pyplot as plt
    >>> plt.close(ax.figure)
    """
    probabilities = tails(coverage)
    _, observed, _, response = read_rows(est, X, y)
    family = est._posterior.family
    if not family.discrete:
        raise ValueError(
            f"a rootogram needs counts, which family={family.name!r} does not have; use posterior_predictive."
        )
    family.check(observed)
    replicated = _replications(est, X, min(_REPLICATIONS, est._posterior.draws.size) if n_draws is None else n_draws)
    edges = _edges_of_bars(observed, replicated)
    frequencies = np.array([np.histogram(values, edges)[0] for values in replicated])
    top = np.sqrt(frequencies.mean(axis=0))
    length = np.sqrt(np.histogram(observed, edges)[0])
    upper, lower = top - np.sqrt(np.quantile(frequencies, probabilities, axis=0))
    (ax,), figure = panels(ax, 1, (6.5, 4))
    centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    of = f"{percent(coverage)} of {len(replicated):,} replications"
    ax.stairs(upper, edges, baseline=lower, fill=True, color=SKY, alpha=0.4, label=of)
    ax.axhline(0, color=BLACK, linewidth=0.8)
    ax.bar(centres, length, 0.6 * width, top - length, color=GREY, label="observed, hung from the expected")
    ax.plot(centres, top, "o-", color=BLUE, linewidth=1.2, markersize=min(4, 150 / len(top)), label="expected")
    ax.use_sticky_edges = False  # otherwise bars and band would touch the frame
    ax.margins(x=0.01, y=0.04)
    response_ticks(ax.xaxis, family)
    several = f", {width:.0f} counts to a bar" if width > 1 else ""
    finish(np.array([ax]), figure, f"{response}{several}", "square root of the number of rows")
    return ax


def _edges_of_bars(observed: np.ndarray, replicated: np.ndarray) -> np.ndarray:
    """Edges of bars with equally many counts, (n_bars + 1,), over the observed range and a typical replication's."""
    low = np.floor(min(observed.min(), np.median(replicated.min(axis=1))))
    high = np.ceil(max(observed.max(), np.median(replicated.max(axis=1))))
    width = -(-(high - low + 1) // _MAX_BARS)
    return np.arange(low, high + 1 + width, width) - 0.5


def _replications(est: MixedModelRegressor, X: Any, n_draws: int) -> np.ndarray:
    """Responses for all rows at `n_draws` draws, evenly spread over the posterior's, (n_draws, n)."""
    chains, per_chain = est._posterior.draws.shape
    whole = isinstance(n_draws, (int, np.integer)) and not isinstance(n_draws, bool)
    if not whole or not 1 <= n_draws <= chains * per_chain:
        raise ValueError(f"n_draws must be an integer from 1 to {chains * per_chain}, got {n_draws!r}.")
    enough = chains * -(-n_draws // chains)  # predict_draws takes equally many from every chain
    drawn = np.asarray(est.predict_draws(X, n_draws=enough)).reshape(enough, -1)
    replicated: np.ndarray = drawn[np.arange(n_draws) * enough // n_draws]
    if bad := np.count_nonzero(np.isnan(replicated).any(axis=0)):
        raise ValueError(f"{bad} rows of X have no replications (new_groups='nan'); drop them, or pass other rows.")
    return replicated


def _share_up_to(grid: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Empirical distribution function of the values on a grid."""
    return np.searchsorted(np.sort(values), grid, side="right") / len(values)
