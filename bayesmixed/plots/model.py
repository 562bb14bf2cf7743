"""A picture of the whole model: its parameters next to their priors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import betaln

from bayesmixed.distributions import Prior
from bayesmixed.errors import quoted
from bayesmixed.plots.shared import MAX_PANELS, ORANGE, SKY, check_fitted, finish, literal, panels, wrapped
from bayesmixed.posterior.draws import covariance_factor
from bayesmixed.priors.priors import place_of, stated_at
from bayesmixed.priors.swept import swept_effects

if TYPE_CHECKING:
    from bayesmixed.estimators.regressor import MixedModelRegressor

_BINS = 40
_PANEL = 2.6  # width in inches of a panel of a new figure
LogDensity = Callable[[np.ndarray], np.ndarray]


def prior_posterior(est: MixedModelRegressor, *, variables: Any = None, axes: Any = None) -> np.ndarray:
    r"""Draw the posterior of every parameter except the group effects, with the density of its prior.

    Parameters
    ----------
    est : MixedModelRegressor
        Fitted.
    variables : str or list of str, optional
        Variables of the posterior: ``"Intercept"``, ``"beta"``, ``"sd_Subject"``, ``"corr_Subject"``, ``"sigma"``;
        for ordered responses ``"thresholds"``, the middle one, and the ``"gaps"`` between them. Default: all.
    axes : Axes or array-like of Axes, optional
        One for each parameter. Default: those of a new figure.

    Returns
    -------
    numpy.ndarray of Axes, shape (n_parameters,)
        In the posterior's order. The horizontal axis covers the posterior, so that a wide prior looks as flat as it is
        there; for a correlation it is (-1, 1).

    Raises
    ------
    ValueError
        An unknown variable; more than 30 parameters, unless `variables` names them; a wrong number of axes.
    ImportError
        matplotlib is not installed.

    Notes
    -----
    Each parameter is drawn at the place where its prior is stated, named in the title as in ``print(est.priors_)``:
    the intercept at the mean of Days, not at Days = 0. The prior of one correlation of an LKJ(eta) matrix of q
    effects is that of 2 B - 1 with B from Beta(a, a), a = eta - 1 + q / 2 [1]_.

    References
    ----------
    .. [1] Lewandowski, Kurowicka & Joe (2009), Generating random correlation matrices based on vines and extended onion
       method, Journal of Multivariate Analysis 100, 1989-2001.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> from bayesmixed import plots
    >>> df = bm.datasets.load_sleepstudy()
    >>> est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(df)
    >>> axes = plots.prior_posterior(est, variables=["Intercept", "beta", "sigma"])
    >>> [ax.get_title() for ax in axes]
    ['Intercept\nat Days = 4.5', 'beta[Days]', 'sigma']
    >>> import matplotlib.pyplot as plt
    >>> plt.close(axes[0].figure)
    """
    check_fitted(est)
    parameters = list(_parameters(est))
    if variables is not None:
        wanted = [variables] if isinstance(variables, str) or not np.iterable(variables) else list(variables)
        known = dict.fromkeys(parameter.variable for parameter in parameters)
        if not wanted or not set(wanted) <= set(known):
            raise ValueError(f"variables must be a list of some of {quoted(known)}, got {variables!r}.")
        parameters = [parameter for parameter in parameters if parameter.variable in wanted]
    elif len(parameters) > MAX_PANELS:
        names = quoted(dict.fromkeys(parameter.variable for parameter in parameters))
        raise ValueError(
            f"the model has {len(parameters)} parameters, but more than {MAX_PANELS} panels are too small to read; "
            f"pass variables=, a list of some of {names}."
        )
    axes, figure = panels(axes, len(parameters), (_PANEL, 2.1))
    for ax, parameter in zip(axes, parameters, strict=True):
        low, high = _limits(parameter)
        counts, edges = np.histogram(parameter.values, np.linspace(low, high, _BINS + 1))
        # a density over all draws, including those beyond the limits
        heights = counts / (len(parameter.values) * np.diff(edges))
        ax.stairs(heights, edges, fill=True, color=SKY, label="posterior")
        at = np.linspace(low, high, 302)[1:-1]  # a density may be infinite at its ends
        ax.plot(at, np.exp(parameter.log_prior(at)), color=ORANGE, linewidth=1.8, label="prior")
        ax.set(xlim=(low, high), ylim=(0, None), yticks=[])
        ax.locator_params(axis="x", nbins=3)  # tick labels of small numbers take up much room
        width = ax.bbox.width / ax.figure.dpi if figure is None else _PANEL
        title = [wrapped(part, width) for part in parameter.title.replace(" at ", "\nat ").split("\n")]
        ax.set_title(literal("\n".join(title)), fontsize="medium")
    finish(axes, figure, "", "density")
    return axes


class _Parameter(NamedTuple):
    """A number of the model: its variable, draws (S,), and the log density of its prior on a range."""

    variable: str
    title: str
    values: np.ndarray
    log_prior: LogDensity
    low: float
    high: float


def _parameters(est: MixedModelRegressor) -> Iterator[_Parameter]:
    """All parameters except the group effects, in the posterior's order, each where its prior is stated."""
    draws, spec, priors = est._posterior.draws, est.design_spec_, est.priors_

    def stated(variable: str, title: str, values: np.ndarray, prior: Prior) -> _Parameter:
        return _Parameter(variable, title, values, prior.log_density, 0 if prior.positive else -np.inf, np.inf)

    sampled = est._posterior.parameters
    written = [sampled["Intercept"][None]] if priors.intercept else []
    written += [draws.flat("beta").T] if spec.common_names else []
    if written:
        T = priors.common_sweep(spec.common_names)
        swept = swept_effects(np.linalg.inv(T), np.concatenate(written))
        if priors.threshold:  # the intercept is its negative
            swept[0] = -swept[0]
        for at, ((title, prior), values) in enumerate(zip(priors.stated_common(spec.common_names), swept, strict=True)):
            first = "thresholds" if priors.threshold else "Intercept"
            yield stated(first if priors.intercept and not at else "beta", title, values, prior)
    correlations = []
    for group in spec.groups:
        variable, T = f"sd_{group.name}", priors.group_sweep(group.name, group.effect_names)
        # (S, q, q): a root of the covariance as written becomes one of the swept columns' covariance
        root = np.linalg.inv(T) @ covariance_factor(draws, group)
        sds, titles = np.linalg.norm(root, axis=2), stated_at(T, list(group.effect_names), variable)
        for effect, title, values in zip(group.effect_names, titles, sds.T, strict=True):
            yield stated(variable, title, values, priors.group_sd[group.name][effect])
        correlations.append((root / sds[:, :, None], place_of(titles), group))
    for unit, place, group in correlations:
        variable = f"corr_{group.name}"
        sizes = {at: len(block) for block in group.blocks for at in block}
        for (i, j), name in zip(group.pairs, group.pair_names, strict=True):
            log_prior = _lkj_log_prior(priors.lkj_eta[group.name], sizes[i])
            values = (unit[:, i] * unit[:, j]).sum(axis=1)
            yield _Parameter(variable, f"{variable}[{name}]{place}", values, log_prior, -1, 1)
    for name in est._posterior.family.auxiliary:
        yield stated(name.partition("[")[0], name, sampled[name], priors.auxiliary[name])


def _lkj_log_prior(eta: float, q: int) -> LogDensity:
    """One correlation of an LKJ(eta) matrix of q effects: (1 - r^2)^(a - 1), normalised; a = eta - 1 + q / 2."""
    a = eta - 1 + q / 2
    return lambda r: (a - 1) * np.log1p(-np.square(r)) - (2 * a - 1) * np.log(2) - betaln(a, a)


def _limits(parameter: _Parameter) -> tuple[float, float]:
    """Ends of the horizontal axis: the posterior's range with a margin, within that of the prior."""
    if np.isfinite(parameter.high):
        return parameter.low, parameter.high
    low, high = np.quantile(parameter.values, [0.001, 0.999])
    margin = 0.2 * (high - low) or 1.0
    return max(parameter.low, low - margin), high + margin
