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
        ``"Days + (Days | Subject)"`` or ``"Reaction ~ Days + (Days | Subject)"``, as in lme4 and brms. Needs X
        to be a DataFrame (pandas, polars, ...). None: Bayesian linear regression on all columns of X.
    family : str, default="gaussian"
        Distribution of the response: "gaussian"; "t" (outliers; scale ``sigma``, ``nu`` degrees of freedom);
        "lognormal" (``sigma`` of the logarithm); "gamma" (shape ``alpha``); "beta" (precision ``kappa``; y in (0, 1));
        "poisson"; "negativebinomial" (``alpha``; the variance is mean + mean^2 / alpha); "binomial" (successes among
        `trials`). An exposure is ``offset(log(exposure))``.
    link : str, optional
        None: the family's usual link. "identity" for "gaussian" and "t", and for "lognormal", whose linear predictor is
        the logarithm of the median; "log" for "gamma", "poisson" and "negativebinomial"; "logit", "probit" or "cloglog"
        for "beta" and "binomial".
    trials : str, optional
        ``family="binomial"``: the column of X with the number of trials of each row, of which y counts the successes. A
        formula ``"p(successes, trials) ~ ..."`` says the same.
    categories : dict of str, optional
        Levels of common categoricals, in order, for rows that may not show all of them, ``{"month": range(1, 13)}``:
        for `partial_fit`, and for rows that `fit` can read but once. Levels that never come are left out. A Categorical
        states its own.
    group_prior : {"lkj", "independent"} or dict by factor, default="lkj"
        Whether the effects of a bar ``|`` may correlate. ``||`` in the formula always means independent.
    lkj_eta : float or dict by factor, default=2.0
        Shape of the LKJ prior of correlations; 1 is uniform over correlation matrices.
    priors : dict or Priors, optional
        Overrides of the data-scaled defaults, on the user's scale: see `priors_`.
    sampler : {"auto", "collapsed", "gibbs", "transport", "nuts"}, default="auto"
        "collapsed" integrates all effects out, and takes the families "gaussian" and "lognormal"; "gibbs" takes the
        same families, and integrates out the effects of one large factor after the other, so that crossed factors may
        have any number of levels; "transport" takes the other families, by Hamiltonian Monte Carlo in coordinates that
        a Gaussian approximation of the rows gives. None needs a compiler. They raise where common effects have priors
        other than Normal, where there are more than 21 group sds, correlations and (transport) auxiliary parameters
        (gibbs: of one large factor and the small ones), and where crossed factors beside the largest have more than
        2,500 effects (transport: 300; gibbs: as many as 4 GB hold the draws of); gibbs and transport, too, where their
        chains do not agree after four times as many sweeps, or eight times as many trajectories. "auto" takes gibbs
        before collapsed where crossed factors beside the largest have more than 64 effects (250 where one is nested in
        another); it is NUTS where the others raise: `diagnostics_` says which and why.
    draws : int, default=1000
        Kept draws per chain.
    chains : int, default=4
        Number of chains.
    tune : int, default=1000
        Warm-up draws per chain (NUTS).
    target_accept : float, default=0.9
        In (0, 1): higher means smaller steps (NUTS).
    cores : int, optional
        Processes (NUTS). None: as chains and processors allow. Inside a worker of joblib or Dask, or a daemon, 1.
    nuts_backend : {"pymc", "nutpie", "numpyro", "blackjax"}, optional
        None: nutpie when installed, else pymc.
    new_groups : {"sample", "donor", "zero", "nan", "error"} or dict by factor, default="sample"
        Effect of a level that was not seen in fit: drawn from the fitted population; that of a fitted level
        picked at random; 0, the average group; NaN; an error.
    random_state : int, RandomState or None, default=None
        Makes fits and predictions reproducible.
    progressbar : bool, default=False
        Whether to show the sampler's progress, and how many rows that are not in memory have been read.

    Attributes
    ----------
    idata_ : arviz.InferenceData or xarray.DataTree
        The labelled posterior, assembled on first access.
    coef_ : numpy.ndarray of shape (p,)
        Posterior means of the common effects.
    intercept_ : float
        Posterior mean of the intercept at X = 0; 0.0 in a model without intercept.
    priors_ : Priors
        Every prior of the model; ``priors=est.priors_`` fits the same model to other data.
    design_spec_ : DesignSpec
        What was learned from formula and data.
    diagnostics_ : dict
        Sampler and why, convergence, divergences, seconds per step.
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray of str
        All columns of X in fit, when their names are strings.

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
        """Learn from more rows: those of a day, of a file, of a part of a frame.

        Sums over the rows are added to those of the rows before; the posterior of all rows is drawn when a value of it
        is first read (`predict`, `coef_`, `idata_`, tables, ``diagnostics_``), so that many small parts cost one run of
        the sampler. Whatever the parts, it is that of one `fit` of all rows: default priors are those of all rows so
        far, too. After `fit`, and after `condition`, rows are added to theirs. For a posterior whose priors stay those
        of the first rows, and which is there at once, see `condition`.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. New levels of grouping factors join as they come. Of common categoricals all levels have to be
            known at the first part: by `categories`, or by the dtype of a Categorical; by `categories` alone where
            that part went to `fit`, which leaves out what its Categoricals do not show.

        Returns
        -------
        self

        Raises
        ------
        FormulaError
            A level of a common category that the first rows did not have; a function in the formula that would learn
            from the first rows alone (``scale``, ``center``, ``bs``, ``poly``).
        ValueError
            A family, or a fit, that needs its rows: other than "gaussian" and "lognormal", or by NUTS. Whatever is
            raised, the estimator is as it was.
        SamplerError
            A `sampler`, or a prior that is not Normal, that needs the rows.
        TypeError
            `SufficientStatistics`, which `fit` takes.

        Notes
        -----
        ``hasattr`` of a value of the posterior reads it; printing, cloning and pickling do not. What raises or warns
        in `fit` because of all rows, such as a response that is constant, does so when the posterior is drawn.

        Sums hold 16 digits of squares, and what they cannot hold is refused when the posterior is drawn, though `fit`
        takes the same rows. `FormulaError`: powers and products that are nearly combinations of the columns in them,
        such as the cube of a year, or ``x*k`` and ``k + x:k`` where the mean of x is more than about 10,000 of its
        standard deviations from zero; subtract a value from x first. `SamplerError`: effects of a factor that are more
        than 60,000 times the residual standard deviation, or correlations of 1, for which `fit` goes over to NUTS.

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
            With a formula, only the formula's columns are needed, in any order. Of a Dask DataFrame the result is a
            lazy Dask Series (a DataFrame of ``prediction`` and ``std``, if `return_std`) with its index; of a stream
            (``pyarrow.RecordBatchReader`` or dataset, path of Parquet files, DuckDB relation, polars LazyFrame) a
            ``pyarrow.RecordBatchReader`` of its batches, with these columns behind their own.
        return_std : bool, default=False
            Also return the predictive standard deviation.
        include_groups : bool or list of str, default=True
            Grouping factors whose effects enter; the columns of the others need not be in X.
        new_groups : str or dict by factor, optional
            Overrides the constructor's `new_groups`.

        Returns
        -------
        mean : numpy.ndarray of shape (n,)
            Of the response; of successes among trials, their expected number.
        std : numpy.ndarray of shape (n,)
            If `return_std`: residual noise, uncertainty of the parameters and, for new groups, the spread
            of the population.

        Raises
        ------
        NewGroupError
            New levels, under ``new_groups="error"``.
        FormulaError
            A column of the formula, or that of the trials, is not in X.
        ValueError
            A stream that has a column of the name of a prediction.

        Warns
        -----
        UserWarning
            Pareto k-hat of the draws of a mean exceeds 0.7: under a log link it may not exist. Or the standard
            deviation is infinite: that of "t" where nu is at most 2.

        Notes
        -----
        The average group (``"zero"``) and the average over groups (``"sample"``) differ where the link is not the
        identity: averaged over eta ~ N(m, v), exp(eta) is exp(m + v / 2), and a probability is nearer to one half than
        that of m. With m = 1 and v = 1 a rate of 2.72 for the average group is one of 4.48 on average over groups, and
        with the logit link 0.73 becomes 0.70. Under the identity link both have the same mean, and differ in what they
        leave uncertain: for a new subject of sleepstudy after 9 days both predict 346 ms, with a standard deviation of
        30 ms for the average subject and of 69 ms for any. A known group's mean is averaged over the posterior.

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
                "the predictive standard deviation is infinite: in some draws of the posterior the response has none. "
                "Use predict_interval."
            )
        return mean, std

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R² of `predict`; of successes among trials, that of their share, a row weighted by its trials.

        It asks how near predictions are to the response in squares. For counts and shares scikit-learn has deviances,
        such as ``sklearn.metrics.d2_tweedie_score(y, est.predict(X), power=1)``, and `loo` judges the whole predictive
        distribution.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        float
            1 is perfect; 0 is as good as the mean of `y`.
        """
        check_is_fitted(self)
        X, y, sample_weight = rows_to_score(self, X, y, sample_weight)
        predicted = self.predict(X)
        if (column := self.design_spec_.trials) is not None:
            trials = np.asarray(to_pandas(X, (column,))[column], dtype=float)
            y, predicted = np.asarray(y) / trials, predicted / trials
            sample_weight = trials if sample_weight is None else sample_weight * trials
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    def _find_family(self) -> Family:
        return get_family(self.family, self.link)

    def __sklearn_tags__(self) -> Any:
        return self._with_formula(super().__sklearn_tags__())
