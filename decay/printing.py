"""A page on paper: printed to PDF by a browser that is installed. Nothing is downloaded, nothing leaves the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from decay.errors import DecayError, OutputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "microsoft-edge", "chrome")
"""What Chromium and its kin are called; whichever is found first prints."""
TIMEOUT_S = 300.0
_QUIET = (
    "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip


def find_browser() -> str:
    """The browser that prints. Raises DecayError where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise DecayError(
            "A PDF is printed by Chromium, and none was found. Install it (Debian: apt-get install chromium), or "
            "write the page (--format html) and print that."
        )
    return found


def print_page(page: Path, out: Path) -> None:
    """Print an HTML file to the PDF file ``out``, which is replaced. Raises DecayError where it cannot be done."""
    browser = find_browser()
    # A profile of its own: a running browser would take the order and print nothing.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, *_QUIET, f"--user-data-dir={profile}", "--no-pdf-header-footer", f"--print-to-pdf={out}"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium has no sandbox for root
        try:
            done = subprocess.run(
                [*command, page.resolve().as_uri()], capture_output=True, check=False, timeout=TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DecayError(
                f"{browser} could not print the page ({type(error).__name__}). Write it (--format html) and print that."
            ) from error
    if done.returncode != 0 or not out.is_file() or not out.read_bytes()[:5] == b"%PDF-":
        raise OutputError(
            f"{browser} made no PDF (exit code {done.returncode}). Write the page (--format html), and print it."
        )
