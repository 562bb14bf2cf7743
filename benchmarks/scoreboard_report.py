"""Tables of `scoreboard.py`: what the rows say together, and every row, failures first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from documented import first_words
from tables import markdown

FAR = 3.0  # standard errors of R's beyond which a common effect is far from R's
ORDER = ("failed", "refused", "given up", "timeout", "nuts", "warned", "far from R", "fitted", "not ours")
HOW_TO_READ = """\
Failures first. *failed*, *refused*, *given up* and *timeout* are models that R fits and we do not; *nuts* is a model
that only NUTS has fitted; *warned* one whose fit has warned about convergence; *far from R* one with a common effect
more than 3 of R's standard errors from R's estimate, without a warning; *not ours* is a model that R has not fitted
from the documented formula either (text instead of a formula, columns that the table does not have, R's own failure),
or of a kind that none of our families is, with the reason. Seconds are those of `fit` alone, in a process that has
fitted before, beside other work of the machine: CPU seconds depend less on that.

*Difference* is ours less R's, in R's standard errors, of the common effect where it is largest. R is lme4 (REML) for
continuous responses, else glmer or clmm, by quadrature where there is one scalar group effect, else by Laplace's
approximation. A posterior mean and the maximum of a likelihood need not agree; `documented_glmms_far.py` takes the
largest distances apart. *sds* are R's standard deviations inside our central 95 % intervals, of those that have their
like in ours; + n are those that R estimates as 0, which no interval holds.

*Rows*, *levels*: mean log density of a held-out fifth of the rows, and of the rows of a held-out fifth of the levels
of the first factor, less that of the same fit without group effects: above 0, groups help.
"""


def verdicts(table: pd.DataFrame) -> pd.Series:
    """What became of each model."""
    fitted, known = table["status"] == "fitted", table["r_status"].fillna("ok") == "ok"
    conditions = {
        "not ours": (table["status"] == "not ours") | (~fitted & ~known & (table["status"] == "refused")),
        "nuts": fitted & (table["engine"] == "nuts"),
        "warned": fitted & (table["of_convergence"].astype(str) == "True"),
        "far from R": fitted & (table["difference"].abs() > FAR),
    }
    return pd.Series(np.select(list(conditions.values()), list(conditions), table["status"]), table.index)


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """A line per kind of response, and of all: counts of verdicts, median seconds, convergence, agreement."""
    lines = []
    offered = table[table["verdict"] != "not ours"]
    kinds = dict(iter(table.groupby("type", sort=False)))
    kinds |= {"not continuous": table[table["type"] != "continuous"], "all": table}
    for kind, mine in kinds.items():
        ours = mine[mine.index.isin(offered.index)]
        fitted = ours[ours["status"] == "fitted"]
        bad = ours["verdict"].isin(("failed", "refused", "given up", "timeout"))
        lines.append(
            {
                "response": kind,
                "models": len(mine),
                "not ours": len(mine) - len(ours),
                "fitted": len(fitted),
                "refused or given up": int(bad.sum()),
                "on NUTS": int((ours["verdict"] == "nuts").sum()),
                "warned": int((fitted["of_convergence"].astype(str) == "True").sum()),
                "far from R": int((ours["verdict"] == "far from R").sum()),
                "median s": fitted["seconds"].median(),
                "median CPU s": fitted["cpu_seconds"].median(),
                "90 % s": fitted["seconds"].quantile(0.9),
                "max s": fitted["seconds"].max(),
                "max R-hat": fitted["max_r_hat"].max(),
                "min bulk ESS": fitted["min_ess_bulk"].min(),
            }
        )
    return pd.DataFrame(lines)


def agreement(table: pd.DataFrame) -> list[str]:
    """Distances from R, standard deviations, held-out rows, in sentences."""
    fitted = table[table["status"] == "fitted"]
    far = fitted["difference"].abs().dropna()
    lines = []
    if len(far):
        sizes = ", ".join(f"{100 * q:g} % below {far.quantile(q):.2f}" for q in (0.5, 0.9, 0.95, 1.0))
        lines.append(f"Largest difference of a common effect, in R's standard errors, {len(far)} models: {sizes}.")
        sds, matched, inside, zero = (fitted[name].sum() for name in ("sds", "sds_matched", "sds_inside", "sds_zero"))
        lines.append(
            f"Of R's {sds:.0f} standard deviations {matched:.0f} have their like in ours, and {inside:.0f} of these "
            f"are inside our 95 % intervals; {zero:.0f} are 0 in R, which no interval holds."
        )
    for name, what in (("rows", "a fifth of the rows"), ("levels", "a fifth of the levels")):
        gain = (fitted[f"{name}_density"] - fitted[f"{name}_density_pooled"]).dropna()
        lines.append(
            f"Held out {what}: in {(gain > 0).sum()} of {len(gain)} models the log density is higher with group "
            f"effects than without; median gain {gain.median():+.3f} a row, least {gain.min():+.3f}."
        )
    failed = (fitted["held_out"] != "ok").sum()
    lines.append(f"Rows could not be held out of {failed} models; `held_out` in the csv has the reasons.")
    return lines


def all_rows(table: pd.DataFrame) -> str:
    """Every model, failures first, then by the size of its table."""
    gain = {name: table[f"{name}_density"] - table[f"{name}_density_pooled"] for name in ("rows", "levels")}
    said = table["message"].where(table["status"] != "fitted", table["reason"].where(table["engine"] == "nuts"))
    apart = table["compared"].where(table["compared"].astype("string").str.startswith("no", na=False))
    said = said.fillna(table["warnings"]).fillna(apart)
    matched = table["sds_matched"] - table["sds_zero"]
    sds = [
        "" if np.isnan(all_) else f"{inside:.0f}/{all_:.0f}" + (f" + {zero:.0f}" if zero else "")
        for inside, all_, zero in zip(table["sds_inside"], matched, table["sds_zero"], strict=True)
    ]
    shown = pd.DataFrame(
        {
            "verdict": table["verdict"],
            "model": table["id"],
            "type": table["type"],
            "n": table["n"],
            "p": table["p"],
            "J": table["J"],
            "engine": table["engine"],
            "s": table["seconds"],
            "R-hat": table["max_r_hat"],
            "ESS": table["min_ess_bulk"],
            "difference": table["difference"],
            "effect": table["effect"].astype("string").str.replace("|", "\\|", regex=False),
            "sds": sds,
            "rows": gain["rows"],
            "levels": gain["levels"],
            "R, s": table["r_seconds"],
            "remarks": said.map(lambda text: first_words(text, 30).replace("|", "\\|"), na_action="ignore"),
        }
    )
    digits = dict.fromkeys(("n", "p", "J", "ESS"), ".0f") | dict.fromkeys(("s", "R, s"), ".2f") | {"R-hat": ".3f"}
    return markdown(shown, digits | {"difference": "+.2f", "rows": "+.3f", "levels": "+.3f"})


def judged(path: Path) -> pd.DataFrame:
    """The rows with their verdicts, failures first."""
    table = pd.read_csv(path)
    table["verdict"] = verdicts(table)
    table = table.sort_values("n", kind="stable")
    return table.sort_values("verdict", key=lambda words: words.map(ORDER.index), kind="stable")


def shares_of(path: Path) -> str:
    """`shares` in markdown."""
    digits = dict.fromkeys(("median s", "median CPU s", "90 % s", "max s"), ".2f")
    return markdown(shares(judged(path)), digits | {"max R-hat": ".3f", "min bulk ESS": ".0f"})


def write_report(out: Path) -> pd.DataFrame:
    """Print the summary; write it with all rows beside `out`; the rows with their verdicts."""
    table = judged(out)
    said = "\n".join(f"- {line}" for line in agreement(table))
    parts = ["# Models that other people documented", shares_of(out), said]
    print("\n\n".join(parts[1:]))
    parts += [HOW_TO_READ, all_rows(table)]
    out.with_suffix(".md").write_text("\n\n".join(part.strip() for part in parts) + "\n")
    return table
