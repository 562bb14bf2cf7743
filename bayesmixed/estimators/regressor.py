"""`MixedModelRegressor`: its parameters, the mean of the response, and R² as its score."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from bayesmixed.design.frames import to_pandas
from bayesmixed.errors import warn
from bayesmixed.estimators.base import CONSTRAINTS, MixedModel, showing_what_it_inherits
from bayesmixed.estimators.chunked import in_chunks
from bayesmixed.estimators.inputs import rows_to_score
from bayesmixed.estimators.summed.learning import require_rows
from bayesmixed.families import get_family
from bayesmixed.families.base import Family
from bayesmixed.prediction import predict as prediction
from bayesmixed.prediction.new_groups import NewGroups
from bayesmixed.priors.priors import Priors


@showing_what_it_inherits
class MixedModelRegressor(RegressorMixin, MixedModel):
    r"""Bayesian mixed model.

    .. math:: y_i \sim \text{family}(\text{link}^{-1}(\eta_i), \ldots), \qquad
              \eta_i = \alpha + x_i'\beta + \sum_f z_{fi}' b_{f,g_f(i)}, \qquad b_{f,j} \sim N(0, \Sigma_f)

    Parameters
    ----------
    formula : str, optional
        ``"Days + (Days | Subject)"`` or ``"Reaction ~ Days + (Days | Subject)"``, as in lme4 and brms. X must then
        be a DataFrame (pandas, polars, ...). None: Bayesian linear regression on all columns of X.
    family : str, default="gaussian"
        Distribution of the response: "gaussian"; "t" (outliers; scale ``sigma``, ``nu`` degrees of freedom);
        "lognormal" (``sigma`` of the logarithm); "gamma" (shape ``alpha``); "beta" (precision ``kappa``; y in (0, 1));
        "poisson"; "negativebinomial" (``alpha``; the variance is mean + mean^2 / alpha); "binomial" (successes among
        `trials`). Write an exposure as ``offset(log(exposure))``.
    link : str, optional
        None: the family's usual link. "identity" for "gaussian" and "t", and for "lognormal", whose linear predictor is
        the logarithm of the median; "log" for "gamma", "poisson" and "negativebinomial"; "logit", "probit" or "cloglog"
        for "beta" and "binomial".
    trials : str, optional
        For ``family="binomial"``: the column of X with each row's number of trials, of which y counts the successes.
        Equivalent to a formula ``"p(successes, trials) ~ ..."``.
    categories : dict of str, optional
        Levels of common categoricals, in order, for rows that may not contain all of them, ``{"month": range(1, 13)}``:
        for `partial_fit`, and for rows that `fit` can read only once. Levels that never occur are left out. A
        Categorical declares its own levels.
    group_prior : {"lkj", "independent"} or dict by factor, default="lkj"
        Whether the effects of a bar ``|`` may correlate. ``||`` in the formula always means independent.
    lkj_eta : float or dict by factor, default=2.0
        Shape of the LKJ prior of correlations; 1 is uniform over correlation matrices.
    priors : dict or Priors, optional
        Overrides of the data-scaled defaults, on the user's scale: see `priors_`.
    sampler : {"auto", "collapsed", "gibbs", "transport", "nuts"}, default="auto"
        "collapsed" is for the families "gaussian" and "lognormal" and integrates out all effects; "gibbs" is for the
        same families and integrates out the effects of one large factor at a time, so that crossed factors may have any
        number of levels; "transport" is for the other families: Hamiltonian Monte Carlo in coordinates derived from a
        Gaussian approximation of the rows. None of them needs a compiler. They raise an error if common effects have
        priors other than Normal, if there are more than 21 group sds, correlations and (transport) auxiliary parameters
        (gibbs: of one large factor and the small ones), or if crossed factors other than the largest have more than
        2,500 effects (transport: 300; gibbs: as many as have draws that fit into 4 GB); gibbs and transport also if
        their chains do not agree after four times as many sweeps, or sixteen times as many trajectories. "auto" prefers
        gibbs to collapsed if crossed factors other than the largest have more than 64 effects (250 if one is nested in
        another), and falls back to NUTS if the others would raise: `diagnostics_` says which sampler ran and why.
    draws : int, default=1000
        Draws per chain to keep.
    chains : int, default=4
        Number of chains.
    tune : int, default=1000
        Warm-up draws per chain (NUTS).
    target_accept : float, default=0.9
        In (0, 1): higher means smaller steps (NUTS).
    cores : int, optional
        Number of processes (NUTS). None: as many as chains and processors allow; 1 inside a worker of joblib or Dask,
        or a daemon.
    nuts_backend : {"pymc", "nutpie", "numpyro", "blackjax"}, optional
        None: nutpie if it is installed, otherwise pymc.
    new_groups : {"sample", "donor", "zero", "nan", "error"} or dict by factor, default="sample"
        How to treat a level that was not seen in fit: draw its effect from the fitted population; use that of a fitted
        level picked at random; use 0, the average group; give NaN; raise an error.
    random_state : int, RandomState or None, default=None
        Makes fits and predictions reproducible.
    progressbar : bool, default=False
        Whether to show the sampler's progress and, for rows that are not in memory, how many have been read.

    Attributes
    ----------
    idata_ : arviz.InferenceData or xarray.DataTree
        The labelled posterior, assembled on first access.
    coef_ : numpy.ndarray of shape (p,)
        Posterior means of the common effects.
    intercept_ : float
        Posterior mean of the intercept at X = 0; 0.0 in a model without an intercept.
    priors_ : Priors
        Every prior of the model; ``priors=est.priors_`` fits the same model to other data.
    design_spec_ : DesignSpec
        What was learned from the formula and the data.
    diagnostics_ : dict
        Which sampler ran and why, convergence, divergences, seconds per step.
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray of str
        All columns of X in fit, if their names are strings.

    Notes
    -----
    The residual sd is kept above 1e-6 sd(y), so that even data without scatter have a posterior.

    References
    ----------
    Gelman & Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, Cambridge.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> df = bm.datasets.load_sleepstudy()
    >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0)
    >>> est.fit(df, df["Reaction"]).predict(df.head(2)).round()
    array([253., 273.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **CONSTRAINTS,
        "trials": [str, None],
        "categories": [dict, None],
    }

    def __init__(
        self,
        formula: str | None = None,
        *,
        family: str = "gaussian",
        link: str | None = None,
        trials: str | None = None,
        categories: dict[str, Any] | None = None,
        group_prior: str | dict[str, str] = "lkj",
        lkj_eta: float | dict[str, float] = 2.0,
        priors: dict[str, Any] | Priors | None = None,
        sampler: str = "auto",
        draws: int = 1000,
        chains: int = 4,
        tune: int = 1000,
        target_accept: float = 0.9,
        cores: int | None = None,
        nuts_backend: str | None = None,
        new_groups: str | dict[str, str] = "sample",
        random_state: Any = None,
        progressbar: bool = False,
    ) -> None:
        super().__init__(
            formula,
            family,
            link,
            group_prior=group_prior,
            lkj_eta=lkj_eta,
            priors=priors,
            sampler=sampler,
            draws=draws,
            chains=chains,
            tune=tune,
            target_accept=target_accept,
            cores=cores,
            nuts_backend=nuts_backend,
            new_groups=new_groups,
            random_state=random_state,
            progressbar=progressbar,
        )
        self.trials = trials
        self.categories = categories

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from more rows: those of another day, another file, another part of a frame.

        Sums over the new rows are added to those over the earlier ones; the posterior given all rows is drawn when one
        of its values is first read (`predict`, `coef_`, `idata_`, tables, ``diagnostics_``), so that many small parts
        cost one run of the sampler. It does not depend on how the rows were divided and is that of a single `fit` to
        all of them; default priors, too, are based on all rows so far. After `fit` or `condition`, rows are added to
        those already learned. For a posterior that is drawn at once and keeps the priors of the first rows, see
        `condition`.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. New levels of grouping factors are added as they appear. All levels of common categoricals must
            be known with the first part: from `categories`, or from the dtype of a Categorical; only from `categories`
            if the first part was passed to `fit`, which leaves out the categories that no row has.

        Returns
        -------
        self

        Raises
        ------
        FormulaError
            For a level of a common category that the first rows did not have, or a function in the formula that would
            learn only from the first rows (``scale``, ``center``, ``bs``, ``poly``).
        ValueError
            If the family or an earlier fit needs all rows at once: any family but "gaussian" and "lognormal", or a fit
            by NUTS. After any error, the estimator is unchanged.
        SamplerError
            If the `sampler`, or a prior that is not Normal, needs all rows at once.
        TypeError
            For `SufficientStatistics`, which `fit` accepts.

        Notes
        -----
        ``hasattr`` reads a value of the posterior, and so draws it; printing, cloning and pickling do not. Errors and
        warnings that concern all rows, such as those about a constant response, come when the posterior is drawn.

        Sums hold squares to 16 digits, so some rows that `fit` accepts raise an error when the posterior is drawn.
        `FormulaError`: powers and products that are nearly combinations of the columns in them, such as the cube of a
        year, or ``x*k`` and ``k + x:k`` if the mean of x is more than about 10,000 of its standard deviations from
        zero; subtract a value from x first. `SamplerError`: effects of a factor that are more than 60,000 times the
        residual standard deviation, or correlations of 1, for which `fit` falls back to NUTS.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0)
        >>> for day, rows in df.groupby("Days"):
        ...     _ = est.partial_fit(rows)
        >>> est.predict(df.head(2)).round()
        array([253., 273.])
        """
        self._add_rows(X, y, sample_weight)
        return self

    @in_chunks
    def predict(
        self,
        X: Any,
        return_std: bool = False,
        include_groups: bool | list[str] = True,
        new_groups: NewGroups | None = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Posterior mean of the response.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k), or rows that are not in memory
            With a formula, only the formula's columns are needed, in any order. For a Dask DataFrame the result is a
            lazy Dask Series (a DataFrame of ``prediction`` and ``std``, if `return_std`) with the same index; for a
            stream (``pyarrow.RecordBatchReader`` or dataset, path of Parquet files, DuckDB relation, polars LazyFrame)
            it is a ``pyarrow.RecordBatchReader`` of the same batches, with these columns appended to theirs.
            A `RecordBatchReader` can be read once: one that a fit has read has no rows left. The effect of a missing
            label, if it is drawn, depends on the row's position within its batch or partition.
        return_std : bool, default=False
            Also return the predictive standard deviation.
        include_groups : bool or list of str, default=True
            Grouping factors whose effects are included; the columns of the others need not be in X.
        new_groups : str or dict by factor, optional
            Overrides the constructor's `new_groups`.

        Returns
        -------
        mean : numpy.ndarray of shape (n,)
            Posterior mean of the response; for successes among trials, their expected number.
        std : numpy.ndarray of shape (n,)
            If `return_std`: combines residual noise, uncertainty about the parameters and, for new groups, the spread
            of the population.

        Raises
        ------
        NewGroupError
            For new levels, if ``new_groups="error"``.
        FormulaError
            If a column of the formula, or that of the trials, is not in X.
        ValueError
            If a stream has a column with the name of a prediction.

        Warns
        -----
        UserWarning
            If Pareto k-hat of the draws of a mean exceeds 0.7, as the mean may not exist under a log link; and if the
            standard deviation is infinite, as that of "t" is if nu is at most 2.

        Notes
        -----
        The average group (``"zero"``) and the average over groups (``"sample"``) differ unless the link is the
        identity: averaged over eta ~ N(m, v), exp(eta) is exp(m + v / 2), and a probability is nearer to one half than
        at eta = m. With m = 1 and v = 1, a rate of 2.72 for the average group is 4.48 on average over groups, and with
        the logit link 0.73 becomes 0.70. Under the identity link both have the same mean and differ only in their
        uncertainty: for a new subject of sleepstudy after 9 days both predict 346 ms, with a standard deviation of
        30 ms for the average subject and of 69 ms for any subject. A known group's mean is averaged over the posterior.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> est.predict(df.head(2)).round()
        array([253., 273.])
        >>> new = df.iloc[[9]].assign(Subject=999)
        >>> [round(est.predict(new, return_std=True, new_groups=mode)[1][0]) for mode in ("zero", "sample")]
        [30, 69]
        """
        require_rows(X, "predict")
        design, modes = self._new_design(X, include_groups, new_groups)
        mean = prediction.mean(self._posterior, design, modes)
        if not return_std:
            return mean
        std = prediction.standard_deviation(self._posterior, design, modes)
        if np.isinf(std).any():
            warn(
                "the predictive standard deviation is infinite: in some posterior draws the response has no finite "
                "standard deviation. Use predict_interval."
            )
        return mean, std

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R² of `predict`; for successes among trials, that of their share, with rows weighted by their trials.

        It measures how close predictions are to the response by squared error. For counts and shares scikit-learn has
        deviances, such as ``sklearn.metrics.d2_tweedie_score(y, est.predict(X), power=1)``, and `loo` judges the whole
        predictive distribution.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        float
            1 is perfect; 0 is as good as the mean of `y`.

        Raises
        ------
        ValueError
            If no row has a positive weight, or if `y` has missing values or, with trials, does not count successes.
        """
        check_is_fitted(self)
        X, truth, weights = rows_to_score(self, X, y, sample_weight)
        predicted = self.predict(X)
        if (column := self.design_spec_.trials) is not None:
            trials = np.asarray(to_pandas(X, (column,))[column], dtype=float)
            self._posterior.family.check(truth, trials)  # a share that was passed as y would be divided again
            truth, predicted = truth / trials, predicted / trials
            weights = trials if weights is None else weights * trials
        return float(r2_score(truth, predicted, sample_weight=weights))

    def _find_family(self) -> Family:
        return get_family(self.family, self.link)

    def __sklearn_tags__(self) -> Any:
        return self._with_formula(super().__sklearn_tags__())
