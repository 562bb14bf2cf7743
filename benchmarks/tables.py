"""Tables of the benchmarks: printed, and kept in ``benchmarks/output``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

OUTPUT = Path(__file__).parent / "output"


def save(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    """Write rows to ``benchmarks/output/<name>.csv``; returns them as a table."""
    OUTPUT.mkdir(exist_ok=True)
    table = pd.DataFrame(rows)
    table.to_csv(OUTPUT / f"{name}.csv", index=False)
    return table


def show(table: pd.DataFrame) -> None:
    """Print a table, numbers to four digits."""
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4g}"), flush=True)


def markdown(table: pd.DataFrame, digits: dict[str, str]) -> str:
    """A table in markdown; `digits` are formats of columns, what is missing stays empty."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * table.shape[1]]
    for row in table.to_dict("records"):
        cells = [format(value, digits.get(name, "")) if pd.notna(value) else "" for name, value in row.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
