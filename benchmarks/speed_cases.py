"""Fits whose seconds are tracked, by name: formula, data, options. Only data, so that peers can be given the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Case = tuple[str, pd.DataFrame, dict[str, Any]]

_DATA = Path(__file__).parents[1] / "bayesmixed" / "data"


def sleepstudy() -> pd.DataFrame:
    """Reaction times of 18 subjects over 10 days."""
    return pd.read_csv(_DATA / "sleepstudy.csv", dtype={"Subject": str})


def wide(n: int, p: int, groups: int, *, slope: bool = False, nested: bool = False, one_hot: bool = False) -> Case:
    """Many common columns."""
    rng = np.random.default_rng(0)
    g, t = rng.integers(0, groups, n), rng.normal(size=n)
    X = rng.normal(size=(n, p))
    if one_hot:
        X = (np.arange(n)[:, None] % (p + 1) == np.arange(1, p + 1)).astype(float)
    b = rng.normal(size=(groups, 2))
    y = X @ (0.3 * rng.normal(size=p)) + b[g, 0] + slope * 0.5 * b[g, 1] * t + rng.normal(size=n)
    names = [f"x{k}" for k in range(p)]
    frame = pd.DataFrame(X, columns=names).assign(t=t, g=g.astype(str), y=y)
    frame["h"] = frame["g"] + "." + pd.Series(rng.integers(0, 3, n)).astype(str)
    bars = "t + (t | g)" if slope else "(1 | g)"
    return f"y ~ {' + '.join(names)} + {bars}{' + (1 | h)' if nested else ''}", frame, {}


def slopes(rows: int, groups: int) -> Case:
    """A slope in every group; all groups differ."""
    rng = np.random.default_rng(0)
    g, x = np.arange(rows) % groups, rng.normal(size=rows)
    b = rng.normal(size=(groups, 2)) * [1.0, 0.5]
    y = 1 + x + b[g, 0] + b[g, 1] * x + rng.normal(size=rows)
    return "y ~ x + (x | g)", pd.DataFrame({"x": x, "g": g, "y": y}), {}


def crossed(rows: int, pupils: int, items: int) -> Case:
    """Pupils and items."""
    rng = np.random.default_rng(0)
    pupil, item, x = rng.integers(0, pupils, rows), rng.integers(0, items, rows), rng.normal(size=rows)
    y = x + rng.normal(size=pupils)[pupil] + 0.5 * rng.normal(size=items)[item] + rng.normal(size=rows)
    frame = pd.DataFrame({"x": x, "pupil": pupil.astype(str), "item": item.astype(str), "y": y})
    return "y ~ x + (1 | pupil) + (1 | item)", frame, {}


def _plain() -> Case:
    _, frame, _ = slopes(500, 10)
    return "y ~ x", frame, {}


def _weighted() -> Case:
    _, frame, _ = slopes(600, 30)
    return "y ~ x + (x | g)", frame, {"sample_weight": 1 + np.arange(600) % 3}


def _counts() -> Case:
    _, frame, _ = slopes(100, 10)
    frame["y"] = np.random.default_rng(1).poisson(np.exp(0.5 * (frame["y"] - 1).clip(-3, 3)))
    return "y ~ x + (1 | g)", frame, {"family": "poisson", "draws": 250}


def _predicted() -> Case:
    formula, frame, _ = slopes(400, 20)
    return formula, frame, {"predict": True}


QUICK: dict[str, Callable[[], Case]] = {  # what `speed_guard.py` times
    "sleepstudy": lambda: ("Reaction ~ Days + (Days | Subject)", sleepstudy(), {}),
    "sleepstudy, independent": lambda: ("Reaction ~ Days + (Days || Subject)", sleepstudy(), {}),
    "no groups": _plain,
    "20 columns": lambda: wide(120, 20, 15),
    "10 columns, nested": lambda: wide(120, 10, 8, nested=True),
    "crossed": lambda: crossed(200, 16, 6),
    "200 slopes": lambda: slopes(2_000, 200),
    "weights": _weighted,
    "intervals": _predicted,
    "counts": _counts,
}
LARGE: dict[str, Callable[[], Case]] = {  # what `speed.py` times as well
    "30 columns": lambda: wide(150, 30, 15),
    "60 columns": lambda: wide(230, 60, 20),
    "60 columns, slope": lambda: wide(230, 60, 20, slope=True),
    "60 columns, nested": lambda: wide(230, 60, 12, nested=True),
    "60 columns, one-hot": lambda: wide(230, 60, 12, one_hot=True),
    "60 columns of 60 rows": lambda: wide(60, 60, 20),
    "100 columns": lambda: wide(230, 100, 20),
    "300 columns": lambda: wide(600, 300, 40),
    "300 columns, nested": lambda: wide(600, 300, 12, nested=True),
    "300 columns of 230 rows": lambda: wide(230, 300, 20),
    "100,000 slopes": lambda: slopes(1_000_000, 100_000),
    "10,000 slopes, 1e6 rows": lambda: slopes(1_000_000, 10_000),
}
CASES = QUICK | LARGE
