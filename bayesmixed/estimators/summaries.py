"""What a fitted estimator shows: its labelled posterior, and tables of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from bayesmixed.design.spec import DesignSpec
from bayesmixed.estimators.inputs import Rows
from bayesmixed.posterior import tables
from bayesmixed.posterior.container import container, group_effects
from bayesmixed.posterior.posterior import Posterior

if TYPE_CHECKING:
    import xarray as xr


class Summaries:
    """The posterior of an estimator that holds a `Posterior` and its `Rows`.

    Tables are DataFrames on the user's scale, one row per parameter. ``mean`` is the exact posterior mean if the
    sampler knows it, as in predictions; ``lower`` and ``upper`` are the ends of the equal-tailed interval of
    probability `coverage`; ``ess_bulk``, ``ess_tail`` and ``r_hat`` are those of Vehtari et al. (2021).
    """

    design_spec_: DesignSpec
    _posterior: Posterior
    _rows: Rows
    _idata: Any

    @property
    def idata_(self) -> Any:
        """The posterior in ArviZ's container: InferenceData with ArviZ 0.x, DataTree with ArviZ 1.x."""
        check_is_fitted(self)
        if self._idata is None:
            posterior, rows = self._posterior, self._rows
            observed = None if rows.y is None else (rows.y, np.asarray(rows.obs))
            self._idata = container(posterior, observed)
        return self._idata

    def draw_group_effects(self, factor: str, levels: Any = None) -> xr.DataArray:
        """Posterior draws of group effects, including those that are too many to store in `idata_`.

        Parameters
        ----------
        factor : str
        levels : list of labels, optional
            Default: all, which may need more memory than there is.

        Returns
        -------
        xarray.DataArray of dims (chain, draw, <factor>, <factor>_effect)
            The same numbers in every call, whichever levels are requested together.

        Raises
        ------
        ValueError
            For an unknown factor or level.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.draw_group_effects("Subject", [308, 335]).shape
        (4, 1000, 2, 2)
        """
        check_is_fitted(self)
        return group_effects(self._posterior.draws, self.design_spec_, factor, levels)

    def summary(self, coverage: float = 0.9) -> pd.DataFrame:
        """Tabulate all parameters except the group effects.

        Parameters
        ----------
        coverage : float, default=0.9
            Posterior probability of the interval, in (0, 1).

        Returns
        -------
        DataFrame
            Columns variable (as in `idata_`), factor, effect, mean, sd, lower, upper, ess_bulk, ess_tail, r_hat.

        Raises
        ------
        ValueError
            If `coverage` is not in (0, 1).

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.summary()["variable"].tolist()
        ['Intercept', 'beta', 'sd_Subject', 'sd_Subject', 'corr_Subject', 'sigma']
        """
        check_is_fitted(self)
        return tables.summary(self._posterior, coverage)

    def common_effects(self, coverage: float = 0.9) -> pd.DataFrame:
        """Tabulate the intercept, at X = 0, and the common effects.

        Parameters
        ----------
        coverage : float, default=0.9
            Posterior probability of the interval, in (0, 1).

        Returns
        -------
        DataFrame
            Columns effect, mean, sd, lower, upper, ess_bulk, ess_tail, r_hat.

        Raises
        ------
        ValueError
            If `coverage` is not in (0, 1).

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.common_effects()[["effect", "mean"]].round()
              effect   mean
        0  Intercept  251.0
        1       Days   10.0
        """
        check_is_fitted(self)
        return tables.common_effects(self._posterior, coverage)

    def group_effects(self, factor: str, coverage: float = 0.9) -> pd.DataFrame:
        """Tabulate the effects of every level of a grouping factor: how it differs from the common effects.

        Parameters
        ----------
        factor : str
        coverage : float, default=0.9
            Posterior probability of the interval, in (0, 1).

        Returns
        -------
        DataFrame
            Columns factor, level, effect, mean, sd, lower, upper, ess_bulk, ess_tail, r_hat; a row per level and
            effect.

        Raises
        ------
        ValueError
            For an unknown factor, or a `coverage` that is not in (0, 1).

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.group_effects("Subject").shape
        (36, 10)
        """
        check_is_fitted(self)
        return tables.group_effects(self._posterior, factor, coverage)

    def group_coefficients(self, factor: str, coverage: float = 0.9) -> pd.DataFrame:
        """Tabulate the common plus the group effect for every level of a grouping factor: the level's own line.

        Parameters
        ----------
        factor : str
        coverage : float, default=0.9
            Posterior probability of the interval, in (0, 1).

        Returns
        -------
        DataFrame
            As in `group_effects`. An effect without a common effect of the same name stands alone: 0 is added to it.

        Raises
        ------
        ValueError
            For an unknown factor; for a `coverage` that is not in (0, 1); for a term that the common part and the bar
            code differently, as in ``k + (0 + k | g)``, so that their effects do not belong to the same columns.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.group_coefficients("Subject").loc[:1, ["level", "effect", "mean"]].round()
           level     effect   mean
        0    308  Intercept  253.0
        1    308       Days   20.0
        """
        check_is_fitted(self)
        return tables.group_coefficients(self._posterior, factor, coverage)

    def variance_components(self, coverage: float = 0.9) -> pd.DataFrame:
        """Tabulate standard deviations and correlations of the group effects, the residual, and shares of variance.

        Parameters
        ----------
        coverage : float, default=0.9
            Posterior probability of the interval, in (0, 1).

        Returns
        -------
        DataFrame
            Columns factor, component ("sd", "correlation", "residual"), effect, mean, sd, lower, upper, ess_bulk,
            ess_tail, r_hat, share. The share is the posterior mean of the effect's part of the variance of a row,
            averaged over the rows of the fit; shares add up to 1. A covariance is split between its two effects, so a
            share may be negative. In models with only intercepts it is the intraclass correlation.

        Raises
        ------
        ValueError
            If `coverage` is not in (0, 1).

        References
        ----------
        Johnson (2014), Extension of Nakagawa & Schielzeth's R2GLMM to random slopes models, Methods in Ecology and
        Evolution 5, 944-946.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (1 | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.variance_components()[["component", "effect", "share"]].round(1)
          component     effect  share
        0        sd  Intercept    0.6
        1  residual               0.4
        """
        check_is_fitted(self)
        rows = self._rows
        squares = {name: total / rows.weight for name, total in rows.squares.items()}
        return tables.variance_components(self._posterior, squares, rows.total / rows.weight, coverage)

    def group_covariance(self, factor: str, coverage: float = 0.9) -> pd.DataFrame:
        """Tabulate the covariance matrix of a factor's effects, with its uncertainty.

        Parameters
        ----------
        factor : str
        coverage : float, default=0.9
            Posterior probability of the interval, in (0, 1).

        Returns
        -------
        DataFrame
            Columns factor, effect_1, effect_2, mean, sd, lower, upper, ess_bulk, ess_tail, r_hat; the lower triangle.
            The covariance of effects in different blocks is 0 and has no diagnostics.

        Raises
        ------
        ValueError
            For an unknown factor, or a `coverage` that is not in (0, 1).

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.group_covariance("Subject")[["effect_1", "effect_2"]]
            effect_1   effect_2
        0  Intercept  Intercept
        1       Days  Intercept
        2       Days       Days
        """
        check_is_fitted(self)
        return tables.group_covariance(self._posterior, factor, coverage)
