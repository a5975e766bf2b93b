"""The report in a browser: it fits a phone, follows the reader's light or dark, and prints what is folded. Skipped without Chromium."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tests.eval.test_report import answers, drawings, page, questions, result  # noqa: F401  (fixtures)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
PHONE = 390  # px
MEASURE = """
<script>
addEventListener("message", told => {{ document.title = told.data; }});
</script>
<iframe srcdoc="{page}" width="{width}" height="800" style="border:0"></iframe>
"""
TELL = '<script>onload = () => { const e = document.documentElement; parent.postMessage(`${e.scrollWidth} of ${e.clientWidth}`, "*"); }</script>'  # noqa: E501

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def browse(file: Path, *flags: str) -> str:
    """What Chromium prints when it opens a file from disk."""
    own = f"--user-data-dir={file.parent / 'profile'}"
    command = [str(CHROMIUM), *FLAGS, own, *flags, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd=file.parent).stdout


def shot(folder: Path, page: str, name: str, *flags: str) -> np.ndarray:  # noqa: F811
    """The top of the page as pixels (height, width, 3), 0 to 1."""
    (folder / "index.html").write_text(page, encoding="utf-8")
    browse(folder / "index.html", f"--screenshot={name}.png", "--window-size=1280,1600", *flags)
    return np.asarray(matplotlib.image.imread(folder / f"{name}.png"))[..., :3]


def width_of(folder: Path, page: str) -> tuple[int, int]:  # noqa: F811
    """How wide the page is on a phone, and how wide the phone."""
    framed = MEASURE.format(page=html.escape(page.replace("</body>", f"{TELL}</body>")), width=PHONE)
    (folder / "phone.html").write_text(framed, encoding="utf-8")
    told = re.search(
        r"<title>(\d+) of (\d+)</title>", browse(folder / "phone.html", "--dump-dom", "--virtual-time-budget=5000")
    )
    assert told, "the page did not tell its width"
    return int(told[1]), int(told[2])


def test_it_fits_a_phone_without_scrolling_sideways(page: str, tmp_path: Path) -> None:  # noqa: F811
    assert width_of(tmp_path, page) == (PHONE, PHONE)
    wide = page.replace(".wide { overflow-x: auto;", ".wide {")
    assert wide != page and width_of(tmp_path, wide)[0] > PHONE + 50


def test_it_is_light_or_dark_as_the_reader_is(page: str, tmp_path: Path) -> None:  # noqa: F811
    light, dark = shot(tmp_path, page, "light"), shot(tmp_path, page, "dark", "--force-dark-mode")
    assert light.mean() > 0.85 and dark.mean() < 0.25
    assert light.std() > 0.05 and dark.std() > 0.05  # something is written there


def test_paper_shows_what_is_folded(page: str, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    (tmp_path / "plain.html").write_text(page.replace("content-visibility: visible", ""), encoding="utf-8")
    for name in ("index", "plain"):
        browse(tmp_path / f"{name}.html", f"--print-to-pdf={name}.pdf", "--no-pdf-header-footer")
    whole, folded = (
        len(re.findall(rb"/Type /Page\b", (tmp_path / f"{name}.pdf").read_bytes())) for name in ("index", "plain")
    )
    assert whole > folded >= 1
