"""What README and the guide show runs, prints what they say, warns of nothing, and leads somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bayesmixed as bm

ROOT = Path(__file__).parents[1]
README, GUIDE = ROOT / "README.md", ROOT / "examples" / "README.md"
PAGES = [README, GUIDE, ROOT / "benchmarks" / "README.md", ROOT / "CONTRIBUTING.md"]


def blocks(page, language):
    """The blocks of code of a page in a language, or, without a language, what was printed."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "at_least"), [(README, 4), (GUIDE, 15)], ids=["README", "guide"])
def test_the_blocks_of_a_page_run_one_after_the_other(page, at_least, tmp_path):
    code = blocks(page, "python")
    # ArviZ and the workers of joblib warn of their own affairs
    command = [sys.executable, "-W", "error::UserWarning:__main__", "-c", "\n".join(code)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"MPLBACKEND": "Agg"}
    )

    assert len(code) >= at_least
    assert run.returncode == 0, run.stderr
    assert "ConvergenceWarning" not in run.stderr
    # seconds differ, and a line that was too long was broken
    printed = " ".join(run.stdout.split())
    shown = [line for text in blocks(page, "") for line in text.splitlines() if "seconds" not in line]
    assert len(shown) >= 7
    assert [line for line in shown if " ".join(line.split()) not in printed] == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_to_files_and_headings(page):
    missing = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        if not link.startswith("http") and (not target.exists() or (heading and heading not in headings(target))):
            missing.append(link)

    assert missing == []


def headings(page):
    """Anchors of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


@pytest.mark.parametrize("page", [README, GUIDE], ids=["README", "guide"])
def test_names_that_a_page_mentions_exist(page):
    text = page.read_text()
    est = bm.MixedModelRegressor()
    public, of_estimators = (set(re.findall(rf"\b{name}\.([a-z]\w*)", text, flags=re.I)) for name in ("bm", "est"))
    fitted = {"idata_", "priors_", "diagnostics_"}  # `est` is not

    assert len(public) >= 4
    assert [name for name in public if not hasattr(bm, name)] == []
    assert [name for name in of_estimators - fitted if not hasattr(est, name)] == []
