"""`SufficientStatistics`: what a Gaussian mixed model needs of its rows, to be kept, sent, added and fitted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from bayesmixed.design.frames import kind_of
from bayesmixed.design.sources.find import find_source
from bayesmixed.design.sources.known import not_told
from bayesmixed.design.summed.summed import Summed, differences, means_the_same
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.estimators.summed import files
from bayesmixed.estimators.summed.of_chunks import Reading
from bayesmixed.estimators.summed.reading import refuse_learning
from bayesmixed.estimators.summed.sources import sum_source
from bayesmixed.families import FAMILIES, get_family
from bayesmixed.formula.parse import parse


@dataclass(frozen=True, eq=False, repr=False)
class SufficientStatistics(Summed):
    """All that a Gaussian or log-normal mixed model needs of its rows: sums, which add up.

    ``a + b`` are the statistics of both sets of rows, in any order, with levels that only one of them has, and
    ``(a + b) - b`` those of `a` again. ``est.fit(a + b)`` is a fit of all rows: the same model, and with the same
    `random_state` the same draws. Nothing of a row is kept but what it adds to sums per group; yet a group of one row
    is that row, and labels may be names of persons: see `save` and `with_labels`.

    Make one by `of`.

    Attributes
    ----------
    n_rows : int
        Number of rows, whatever their weight.
    groups : tuple of GroupSpec
        The grouping factors; ``levels`` of each are its labels.

    Notes
    -----
    Kept are per factor its labels and Z_j'WZ_j, Z_j'W[X, y] of every level j, between crossed factors the same of pairs
    of levels that occur, and moments of X, Z and y, about an origin near the data, so that sums of many rows lose
    nothing (Chan, Golub & LeVeque, 1983, Algorithms for computing the sample variance: analysis and recommendations,
    The American Statistician 37). Sums tell a column from a combination of others where 1e-7 of it is left, and a
    residual where 1e-13 of y's sum of squares is.

    A difference is refused where counts, weights, sums of squares or labels show that the second is not part of the
    first. Rows that never were in the first, but might have been, are subtracted all the same. Sums of squares of what
    is left keep the rounding errors of the whole; where less than 1e-10 of a column's is left (of one group, 1e-11 of
    what it had), the difference is refused, too: sum the rows that stay again. A column of zeros and ones, and that of
    a category's level, may become constant.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> df = bm.datasets.load_sleepstudy()
    >>> formula = "Reaction ~ Days + (Days | Subject)"
    >>> early, late = df[df["Days"] < 5], df[df["Days"] >= 5]
    >>> a = bm.SufficientStatistics.of(formula, early)
    >>> b = bm.SufficientStatistics.of(formula, late, like=a)
    >>> a + b
    SufficientStatistics('Reaction ~ Days + (Days | Subject)'): 180 rows, gaussian
      Subject: 18 levels
    >>> est = bm.MixedModelRegressor(formula, random_state=0).fit(a + b)
    >>> est.predict(df.head(2)).round()
    array([253., 273.])
    """

    @classmethod
    def of(
        cls,
        formula: str,
        source: Any,
        *,
        family: str = "gaussian",
        sample_weight: Any = None,
        categories: Mapping[str, Any] | None = None,
        like: SufficientStatistics | None = None,
        progressbar: bool = False,
    ) -> SufficientStatistics:
        """Sum over the rows of a frame, or of a source that is read in chunks, of which few are in memory.

        Parameters
        ----------
        formula : str
            Two-sided, as in `MixedModelRegressor`.
        source : DataFrame, path, stream, lazy frame, or iterable of frames
            In this order: a path of a Parquet file, a list of paths, or a folder; a frame in memory (pandas, polars,
            Arrow or another that narwhals reads); a DataFrame of Dask, a LazyFrame of polars, a relation of DuckDB, a
            table of Ibis, a dataset or a `RecordBatchReader` of pyarrow, or anything else with ``__arrow_c_stream__``;
            an iterable of frames, or a callable that returns one. Only the columns that the formula uses are read.

            What an iterator or a stream gives is read once. Of other sources a first pass reads, where the formula
            needs it, the levels of columns of text among the effects, and the means and standard deviations of
            ``center`` and ``scale``; splines need their knots stated. A dictionary of Arrow is text, whose levels are
            sorted; `categories` states another order. Of Dask the workers sum their partitions, and only sums travel.
        family : {"gaussian", "lognormal"}, default="gaussian"
        sample_weight : str or array-like of shape (n,), optional
            Frequency weights, as in `MixedModelRegressor.fit`: of one frame, or the name of the column that has them.
        categories : dict of str, optional
            Levels of common categoricals, for rows that may not show all of them: ``{"month": range(1, 13)}``. A
            Categorical states its own. Levels that never come are left out of a fit.
        like : SufficientStatistics, optional
            Of other rows: what these have taught of the columns (levels of categoricals, knots, means of ``scale``)
            holds for the new ones, too, so that both add up.
        progressbar : bool, default=False
            Whether to show how many rows of a source have been read.

        Returns
        -------
        SufficientStatistics

        Raises
        ------
        FormulaError
            The formula has no response, does not fit the columns, or learns what would have to be known of all rows.
        ValueError
            Missing or infinite values, with the chunk and the row within the source; a family that needs its rows; no
            rows; fewer rows than the source's metadata say, or others when it is read again.
        """
        parsed, found = parse(formula), get_family(family)
        if parsed.response is None:
            raise FormulaError(
                f"formula {formula!r} has no response; write 'y ~ {formula.strip().lstrip('~').strip()}'."
            )
        if not found.collapses:
            possible = [name for name, one in FAMILIES.items() if one.collapses]
            raise ValueError(f"only families {quoted(possible)} have sufficient statistics; {family!r} needs its rows.")
        if like is not None and not means_the_same(formula, like.spec.formula):
            raise ValueError(f"like= has statistics of another formula: {like.spec.formula!r}, not {formula!r}.")
        if (rows := find_source(source)) is None:
            raise TypeError(
                "source must be a DataFrame, an iterable of these, a path, or another source of rows in columns, got "
                f"{kind_of(source)}."
            )
        spec = None if like is None else like.spec
        named = isinstance(sample_weight, str)
        reading = Reading(cls, parsed, found, sample_weight if named else None, dict(categories or {}))
        if rows.in_memory:
            result = reading.whole(next(rows.chunks(reading.columns)).frame, None if named else sample_weight, spec)
        else:
            if sample_weight is not None and not named:
                raise ValueError("sample_weight of several frames has to be the name of a column that holds it.")
            if like is None:
                refuse_learning(parsed, "the source", not_told(parsed))
            result, _ = sum_source(rows, reading, spec=spec, progressbar=progressbar)
        if like is not None and (difference := differences(like, result)):
            raise ValueError(f"like= has statistics of another kind: {difference}")
        return result

    def with_labels(self, column: str, mapping: Mapping[Any, Any]) -> Self:
        """Give the levels of a grouping factor other labels, such as numbers in place of names.

        Parameters
        ----------
        column : str
            The factor, or of ``a:b`` one of its columns. A column has its new labels in all factors that use it.
        mapping : dict of object to object
            For every label the new one; no two are the same. A series of labels, or a ``defaultdict``, will do.

        Returns
        -------
        SufficientStatistics
            It no longer knows the rows themselves: `loo` of a fit of it takes any that are as many.

        Raises
        ------
        ValueError
            A level without a new label, or two with one; a column that effects are made of, too.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> a = bm.SufficientStatistics.of("Reaction ~ Days + (Days | Subject)", df)
        >>> secret = {subject: f"person {i}" for i, subject in enumerate(df["Subject"].unique())}
        >>> a.with_labels("Subject", secret).groups[0].levels[:2].tolist()
        ['person 0', 'person 1']
        """
        if column not in (known := [name for group in self.groups for name in group.factor_levels.columns]):
            raise ValueError(f"column must be one of {quoted(dict.fromkeys(known))}, got {column!r}.")
        if any(column in component.variables for part in self.spec.parts for term in part.terms for component in term):
            raise ValueError(
                f"{column!r} is a column of effects, too, which would keep its labels; replace these in the rows."
            )
        return self.relabelled(column, mapping)

    def save(self, path: str | os.PathLike[str], *, minimum: int = 1) -> None:
        """Write the statistics to one file, for `bayesmixed.load`: numbers, labels and no code.

        Parameters
        ----------
        path : path-like
            A file of that name is replaced when the new one is complete.
        minimum : int, default=1
            Rows that all together, every group, every cell of two factors, and every level of a category must have at
            least; and so must, unless it is empty, every other cell over which the response is summed: of a group and a
            column of zeros and ones on the left of its bar, such as that of a category's level, and of such columns
            with each other. Of rows with weights, these cells count the weights.

            Not covered are numbers of rows alone, such as how many of a group are of a level, what categories coded by
            sums or polynomials show, what any other column singles out by being 0 in all rows but few, and what several
            statistics give away together, such as those before and after a row came.

        Raises
        ------
        ValueError
            Groups have fewer rows than `minimum`; says how many.
        OSError
            A path that cannot be written to.

        Warns
        -----
        UserWarning
            Groups have fewer than 5 rows, and no `minimum` was stated: sums of so few rows give these away.

        Examples
        --------
        >>> import tempfile, bayesmixed as bm
        >>> a = bm.SufficientStatistics.of("Reaction ~ Days + (Days | Subject)", bm.datasets.load_sleepstudy())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     a.save(f"{folder}/site-1.bms", minimum=5)
        ...     print(bm.load(f"{folder}/site-1.bms").n_rows)
        180
        """
        files.save(path, self, minimum)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SufficientStatistics:
        """Read what `save` has written, as `bayesmixed.load` does.

        Raises
        ------
        FileNotFoundError
        StorageError
            A file of another kind or version, or a damaged one.
        """
        return files.load(path, cls)

    def __repr__(self) -> str:
        weight, n = self.sums.products.n, self.n_rows
        rows = f"{n:,} rows" + (f" of weight {weight:,.10g}" if weight != n else "")
        small = self.few(files.FEW)
        lines = [f"{type(self).__name__}({self.spec.formula!r}): {rows}, {self.family.name}"]
        for group in self.groups:
            few = f", {small[group.name]:,} of them of fewer than {files.FEW} rows" if group.name in small else ""
            lines.append(f"  {group.name}: {len(group.levels):,} levels{few}")
        return "\n".join(lines)
