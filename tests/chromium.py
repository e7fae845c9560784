"""Pages in headless Chromium, at desk and phone width: pictures, and what pages say of themselves."""

import json
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDED = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
WIDTHS = DESK, PHONE = (1280, 390)

_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",  # a page in a frame may tell the one around it what it sees
)
_PROBE = """
<script>
  addEventListener("load", () => {
    const page = document.documentElement;
    const shown = (element) => element.getBoundingClientRect().width > 0;
    const wide = [...document.querySelectorAll("INSIDE *")].filter(
      (e) => shown(e) && !e.closest("SCROLLING") && e.getBoundingClientRect().right > page.clientWidth + 1);
    const more = (() => { MORE })();
    const told = parent.document.getElementById("told");
    told.textContent = JSON.stringify([...JSON.parse(told.textContent), {
      page: location.pathname,
      width: page.clientWidth,
      scroll: page.scrollWidth,
      wide: wide.map((e) => e.outerHTML.slice(0, 200)),
      ...more,
    }]);
  });
</script>
"""
_AROUND = '<!doctype html><meta charset="utf8"><body style="margin: 0"><pre id="told" hidden>[]</pre>'
_FRAME = '<iframe src="{page}" width="{width}" height="{height}" style="display: block; border: 0"></iframe>'


def probed(html: str, *, inside: str, scrolling: str, more: str) -> str:
    """Return a page that says of itself whether it fits, and more.

    Args:
        html: The page.
        inside: Selector of what is to be no wider than the page.
        scrolling: Selector of what scrolls by itself, so that what is in it may be wider.
        more: Body of a JavaScript function; it returns an object with whatever else is to be said.
    """
    probe = _PROBE.replace("INSIDE", inside).replace("SCROLLING", scrolling).replace("MORE", more)
    return html.replace("</body>", f"{probe}</body>")


def told(pages: Sequence[Path], width: int, *flags: str) -> list[dict]:
    """Return what pages with a probe in them say of themselves, laid out at a width."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        around = _framed(Path(folder), pages, width, 2000)
        text = _run(Path(folder), around, "--window-size=1400,2100", "--dump-dom", *flags)
    found = json.loads(unescape(re.search(r'<pre id="told".*?>(.*?)</pre>', text, re.DOTALL)[1]))
    assert len(found) == len(pages)
    return found


def picture(page: Path, name: str, folder: Path, *flags: str, width: int, height: int) -> Path:
    """Take a picture of a page at a width.

    Args:
        page: The page.
        name: Name of the picture's file.
        folder: Where it goes, unless AUTODROPOUT_SCREENSHOTS says otherwise.
        flags: Passed on.
        width: Pixels.
        height: Pixels.
    """
    file = Path(os.environ.get("AUTODROPOUT_SCREENSHOTS", folder)).resolve() / name
    file.unlink(missing_ok=True)
    size = f"--window-size={width},{height}"
    with TemporaryDirectory(ignore_cleanup_errors=True) as own:
        around = _framed(Path(own), [page], width, height)
        _run(Path(own), around, size, f"--screenshot={file}", *flags)
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (width, height)
    return file


def _framed(folder: Path, pages: Sequence[Path], width: int, height: int) -> Path:
    """Write a page of frames: no window lays a page out narrower than 500 pixels, but a frame does."""
    frames = (_FRAME.format(page=page.as_uri(), width=width, height=height) for page in pages)
    around = folder / "around.html"
    around.write_text("\n".join([_AROUND, *frames]), encoding="utf8")
    return around


def _run(folder: Path, page: Path, *flags: str) -> str:
    command = [CHROMIUM, *_QUIET, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
