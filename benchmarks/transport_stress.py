"""The transport sampler on hard problems: what happened, R-hat, effective sample sizes and seconds, 4 x 1000 draws.

    python benchmarks/transport_stress.py

fits the problems ``STRESS`` of `transport_cases.py` as `transport.py` does, each in a separate process. A line says
"ok", "thinned to one in k" if the chains had to run on, or "refused" with the reason, in which case
``sampler="auto"`` falls back to NUTS; "failed" and "late" are faults. Rows are added to
``benchmarks/output/transport_stress.json``, and a second call continues after the last one unless ``--again`` is given.
The exit status is 1 if there is a fault.
"""

from __future__ import annotations

import argparse
import sys

from tables import OUTPUT
from transport import PYTHON, Row, collect
from transport_cases import STRESS

QUICK = ("complete separation", "one-row Bernoulli effects")


def what_happened(row: Row) -> str:
    """In a few words."""
    if row["outcome"] != "ok":
        return f"{row['outcome']}: {row['reason']}"
    return "ok" if row["thinning"] == 1 else f"thinned to one in {row['thinning']}"


def line(row: Row) -> str:
    """A line of the table in Markdown."""
    numbers = [""] * 5
    if row["outcome"] == "ok":
        sizes = f"{row['min_ess_bulk']:.0f}/{row['min_ess_tail']:.0f}"
        numbers = [f"{row['max_r_hat']:.4f}", sizes, f"{row['gradients_per_draw']:.1f}", f"{row['step_size']:.2f}"]
        numbers.append(str(row["divergences"]))
    seconds = "" if row["cpu"] is None else f"{row['cpu']:.1f}"
    warned = "; ".join(row.get("warnings", []))
    return "| " + " | ".join([row["case"], str(row["seed"]), what_happened(row), *numbers, seconds, warned]) + " |"


def main() -> None:
    """Try all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(STRESS), help="these problems")
    parser.add_argument("--again", action="store_true", help="try again what was tried")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of the processor for one fit")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    names = QUICK if arguments.quick else arguments.only or STRESS
    path = OUTPUT / ("transport_stress_quick.json" if arguments.quick else "transport_stress.json")
    rows = collect(path, names, range(arguments.seeds), arguments.again or arguments.quick, arguments.limit)
    head = ["case", "seed", "what happened", "R-hat max", "bulk/tail min", "gradients/draw", "step", "divergences"]
    head += ["CPU s", "warnings"]
    print(f"\nPython {PYTHON}\n\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    order = list(names)
    rows = sorted(
        (row for row in rows if row["case"] in order), key=lambda row: (order.index(row["case"]), row["seed"])
    )
    print("\n".join(line(row) for row in rows))
    sys.exit(any(row["outcome"] in ("failed", "late") for row in rows))


if __name__ == "__main__":
    main()
