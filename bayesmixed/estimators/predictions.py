"""What every fitted estimator predicts: intervals, quantiles and draws, for known and new groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from bayesmixed.design.frames import read_column, refuse_repeated, row_labels, to_pandas
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.estimators.chunked import in_chunks
from bayesmixed.estimators.inputs import as_frame
from bayesmixed.posterior.container import container
from bayesmixed.posterior.posterior import Posterior
from bayesmixed.posterior.tables import tails
from bayesmixed.prediction import new_groups as group_modes
from bayesmixed.prediction import predict as prediction
from bayesmixed.prediction.new_groups import NewGroups
from bayesmixed.prediction.prior_draws import prior_draws

if TYPE_CHECKING:
    import xarray as xr


class Predictions:
    """Predictions of an estimator that holds a `Posterior`.

    All methods accept `include_groups`, the grouping factors whose effects are included, and `new_groups`, which
    overrides the constructor's rule for the effects of levels that were not seen in fit.
    """

    new_groups: NewGroups
    design_spec_: DesignSpec
    _posterior: Posterior
    _read_response: Callable[[Any], np.ndarray]

    @in_chunks
    def predict_interval(
        self,
        X: Any,
        coverage: float = 0.9,
        kind: str = "response",
        include_groups: bool | list[str] = True,
        new_groups: NewGroups | None = None,
    ) -> np.ndarray:
        """Equal-tailed posterior interval for each row.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k), or rows that are not in memory
            The result for the latter is as in `predict`, with columns ``lower`` and ``upper``.
        coverage : float, default=0.9
            Probability of the interval, in (0, 1).
        kind, include_groups, new_groups
            As in `predict_quantiles`.

        Returns
        -------
        numpy.ndarray of shape (n, 2)
            Lower and upper end; (n, K, 2), by class, for the probabilities of ordered classes.

        Raises
        ------
        ValueError, NewGroupError
            For a `coverage` outside (0, 1), and as in `predict_quantiles`.

        Warns
        -----
        UserWarning
            If predictions are beyond the range of floating-point numbers, and so not finite.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.predict_interval(df.head(2)).shape
        (2, 2)
        """
        probabilities = np.array(tails(coverage))
        prediction.check_kind(kind)
        design, modes = self._new_design(X, include_groups, new_groups, kind)
        return prediction.quantiles(self._posterior, design, modes, kind, probabilities)

    @in_chunks
    def predict_quantiles(
        self,
        X: Any,
        quantiles: Any,
        kind: str = "response",
        include_groups: bool | list[str] = True,
        new_groups: NewGroups | None = None,
    ) -> np.ndarray:
        """Posterior quantiles for each row.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k), or rows that are not in memory
            The result for the latter is as in `predict`, with columns ``q0.05`` and so on.
        quantiles : float or array-like of shape (k,)
            Probabilities in (0, 1).
        kind : {"response", "mean", "linear"}, default="response"
            A new observation (for classes, its position in `classes_`); its mean (for two classes the probability of
            the second, for ordered classes that of each); the linear predictor, which needs no column of trials.
        include_groups, new_groups
            As in `predict`.

        Returns
        -------
        numpy.ndarray of shape (n, k), or (n, K, k) by class, as in `predict_interval`
            For the response, noise and the effects of sampled new groups are integrated out rather than drawn. If the
            collapsed sampler has fitted a Gaussian model with one factor, all coefficients are integrated out, for
            every kind; only donors are drawn. A row's quantiles do not depend on the other rows or on their order,
            unless the effect of a missing label is drawn.

        Raises
        ------
        ValueError
            For an unknown `kind`, or a probability outside (0, 1).
        NewGroupError
            For new levels, if ``new_groups="error"``.

        Warns
        -----
        UserWarning
            If predictions are beyond the range of floating-point numbers, and so not finite.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> low, median, high = est.predict_quantiles(df.head(1), [0.05, 0.5, 0.95])[0]
        >>> bool(low < median < high)
        True
        """
        prediction.check_kind(kind)
        probabilities = np.atleast_1d(quantiles)
        numbers = probabilities.dtype.kind in "iuf" and probabilities.ndim == 1
        if not numbers or not np.all((probabilities > 0) & (probabilities < 1)):
            raise ValueError(f"quantiles must be probabilities in (0, 1), such as [0.05, 0.95], got {quantiles!r}.")
        design, modes = self._new_design(X, include_groups, new_groups, kind)
        return prediction.quantiles(self._posterior, design, modes, kind, probabilities)

    def predict_draws(
        self,
        X: Any,
        kind: str = "response",
        n_draws: int | None = None,
        include_groups: bool | list[str] = True,
        new_groups: NewGroups | None = None,
        *,
        return_new_groups: bool = False,
    ) -> xr.DataArray | tuple[xr.DataArray, dict[str, xr.DataArray]]:
        """Posterior draws for each row.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
        kind : {"response", "mean", "linear"}, default="response"
            As in `predict_quantiles`.
        n_draws : int, optional
            Total number of draws (a multiple of the number of chains), evenly thinned over the chains. Default: all.
        include_groups, new_groups
            As in `predict`. A new level's draws depend only on the fit's seed, the factor and the label. Those of
            missing labels, and the noise of ``kind="response"``, depend on the row's position in X.
        return_new_groups : bool, default=False
            Also return the effects of the new levels.

        Returns
        -------
        draws : xarray.DataArray of dims (chain, draw, obs)
            ``obs`` is the frame's index, or 0 to n - 1. The mean of ordered classes has one more dim, ``class``.
        effects : dict of str to xarray.DataArray of dims (chain, draw, <factor>, <factor>_effect)
            If `return_new_groups`: by factor, the effects used for the draws. Levels are named by their text, missing
            ones as ``"missing in row 3"``.

        Raises
        ------
        ValueError
            For an unknown `kind`, or an `n_draws` that is not a multiple of the number of chains.
        NewGroupError
            For new levels, if ``new_groups="error"``.

        Warns
        -----
        UserWarning
            If predictions are beyond the range of floating-point numbers, and so not finite.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.predict_draws(df.head(3), n_draws=400).sizes["draw"]
        100
        """
        import xarray as xr  # noqa: PLC0415

        prediction.check_kind(kind)
        design, modes = self._new_design(X, include_groups, new_groups, kind)
        chains, per_chain = self._posterior.draws.shape
        within = prediction.thin((chains, per_chain), n_draws)
        draws = _labelled_draws(self._posterior, design, modes, kind=kind, within=within, obs=row_labels(X))
        if not return_new_groups:
            return draws
        keep, effects = prediction.positions((chains, per_chain), within), {}
        for factor in design.groups:
            name = factor.name
            levels, b = prediction.new_group_effects(self._posterior, factor, modes[name], keep)
            coords: dict[str, Any] = {"chain": np.arange(chains), "draw": within}
            coords |= {name: levels, f"{name}_effect": list(factor.effect_names)}
            by_draw = b.reshape(chains, len(within), *b.shape[1:])
            effects[name] = xr.DataArray(by_draw, coords, tuple(coords), name=f"b_{name}")
        return draws, effects

    def bayes_r2(
        self, X: Any, y: Any = None, include_groups: bool | list[str] = True, new_groups: NewGroups | None = None
    ) -> xr.DataArray:
        """Draws of Bayesian R²: the share of variance that the mean explains, under the model itself.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
            At least two rows.
        y : ignored
            The residual variance is that of the model; `y` is accepted only for the order of arguments.
        include_groups, new_groups
            As in `predict`.

        Returns
        -------
        xarray.DataArray of dims (chain, draw)
            In [0, 1]; every row counts once. With ``include_groups=False`` the numerator leaves out the groups, and the
            denominator does not include their variance.

        Raises
        ------
        ValueError, NewGroupError
            For fewer than two rows; for ordered classes, which have no mean; for new levels, if
            ``new_groups="error"``.

        References
        ----------
        Gelman, Goodrich, Gabry & Vehtari (2019), R-squared for Bayesian regression models, The American Statistician
        73, 307-309.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> round(float(est.bayes_r2(df).mean()), 1)
        0.8
        """
        import xarray as xr  # noqa: PLC0415

        design, modes = self._new_design(X, include_groups, new_groups)
        if design.n_rows < 2:
            raise ValueError(f"bayes_r2 needs at least 2 rows for a variance over rows, got {design.n_rows}.")
        chains, n_draws = self._posterior.draws.shape
        values = prediction.bayes_r2(self._posterior, design, modes).reshape(chains, n_draws)
        coords = {"chain": np.arange(chains), "draw": np.arange(n_draws)}
        return xr.DataArray(values, coords, ("chain", "draw"), name="bayes_r2")

    def sample_prior(self, X: Any, draws: int = 500) -> Any:
        """Draw parameters from their priors, `priors_`, and responses for X.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
            New levels are drawn as with ``new_groups="sample"``.
        draws : int, default=500

        Returns
        -------
        arviz.InferenceData (ArviZ 0.x) or xarray.DataTree (ArviZ 1.x)
            A new container with groups ``prior``, with one chain and the names of the posterior, and
            ``prior_predictive`` (variable ``y``); `idata_` is unchanged.

        Raises
        ------
        ValueError
            If `draws` is not a positive integer.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.sample_prior(df, draws=100)["prior_predictive"]["y"].shape
        (1, 100, 180)
        """
        check_is_fitted(self)
        if isinstance(draws, bool) or not isinstance(draws, (int, np.integer)) or draws < 1:
            raise ValueError(f"draws must be a positive integer, got {draws!r}.")
        fitted = self._posterior
        prior = prior_draws(fitted.model, int(draws), fitted.seed)
        design, modes = self._new_design(X, True, "sample")
        every = np.arange(prior.shape[1])
        of_prior = replace(fitted, draws=prior)
        responses = _labelled_draws(of_prior, design, modes, kind="response", within=every, obs=row_labels(X))
        return container(of_prior, None, group="prior", predictive=responses)

    def sample_posterior_predictive(self, X: Any, y: Any = None) -> Any:
        """Draw responses for X from the posterior, for posterior predictive checks.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
        y : array-like of shape (n,), optional
            The observed response, for comparison. None, with a two-sided formula: the left-hand column, if X has it
            and it has no missing values.

        Returns
        -------
        arviz.InferenceData (ArviZ 0.x) or xarray.DataTree (ArviZ 1.x)
            A new container with groups ``posterior``, ``sample_stats``, ``posterior_predictive`` (variable ``y``) and,
            with a response, ``observed_data``; `idata_` is unchanged.

        Raises
        ------
        ValueError, NewGroupError
            If `y` does not hold one number, or one label of `classes_`, per row; for new levels, if
            ``new_groups="error"``.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.sample_posterior_predictive(df, df["Reaction"])["posterior_predictive"]["y"].shape
        (4, 1000, 180)
        """
        design, modes = self._new_design(X, True, None)
        fitted, column = self._posterior, self.design_spec_.response
        every, obs = np.arange(fitted.draws.shape[1]), row_labels(X)
        responses = _labelled_draws(fitted, design, modes, kind="response", within=every, obs=obs)
        frame = to_pandas(X, () if column is None else (column,))
        if y is None and column is not None and column in frame:
            refuse_repeated(frame.columns, (column,))
            y = None if frame[column].isna().any() else frame[column]
        observed = None if y is None else (self._read_response(read_column(y, len(obs))), obs)
        return container(fitted, observed, predictive=responses)

    def _new_design(
        self, X: Any, include_groups: bool | list[str], new_groups: NewGroups | None, kind: str = "response"
    ) -> tuple[Design, dict[str, str]]:
        """Apply the learned design to new data, with the modes for new groups; it contains what the kind needs."""
        check_is_fitted(self)
        spec = self.design_spec_
        modes = group_modes.resolve_modes(self.new_groups, spec, new_groups)
        factors = group_modes.included_factors(spec, include_groups)
        frame = as_frame(self, X, spec.columns, reset=False)
        table = spec.read(frame, factors, trials=kind != "linear")
        design = spec.evaluate(table, factors)
        group_modes.check_new_levels(design, modes, table, spec)
        self._posterior.family.check_trials(design.trials)
        return design, modes


def _labelled_draws(
    posterior: Posterior, design: Design, modes: dict[str, str], *, kind: str, within: np.ndarray, obs: np.ndarray
) -> xr.DataArray:
    """Draws (chain, draw, obs) at positions `within` each chain."""
    import xarray as xr  # noqa: PLC0415

    chains, per_chain = posterior.draws.shape
    keep = prediction.positions((chains, per_chain), within)
    values = prediction.draw(posterior, design, modes, kind, keep)
    coords = {"chain": np.arange(chains), "draw": within, "obs": obs}
    if values.ndim == 3:  # the mean of ordered classes: one value per class
        coords["class"] = np.array(posterior.family.classes)
    return xr.DataArray(values.reshape(chains, len(within), *values.shape[1:]), coords, tuple(coords), name=kind)
