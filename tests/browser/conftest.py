"""A real browser for the pages: Debian's Chromium, or the one that FPBENCH_CHROMIUM names."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from report_factory import BYPASS, JPEG, NOISE, FakeAttack, FakeRun
from wide_run import write_wide_run

from fpbench.report.build import build_page, build_site

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str:
    asked = os.environ.get("FPBENCH_CHROMIUM", "")
    return asked or next(filter(None, map(shutil.which, NAMES)), "")


@pytest.fixture(scope="session")
def chromium():
    path = executable()
    if not path:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed (apt install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        # A container's root may not make the sandbox; these pages are our own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page with all that it asked for and complained of."""

    page: object
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def browse(chromium):
    """Opens a file in a fresh window; nothing may leave the disk, nothing may be complained of."""
    contexts, opened = [], []

    def open_page(path: Path, fragment: str = "", width: int = 1440, **more):
        more = {"color_scheme": "light", "accept_downloads": True, **more}
        context = chromium.new_context(viewport={"width": width, "height": 900}, **more)
        contexts.append(context)
        watched = Watched(context.new_page())
        opened.append(watched)
        watched.page.on("request", lambda request: watched.requests.append(request.url))
        watched.page.on("console", lambda message: watched.complaints.append(message.text))
        watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        watched.page.goto(path.as_uri() + fragment)
        return watched.page

    yield open_page
    for watched in opened:
        outside = [u for u in watched.requests if not u.startswith(("file://", "data:", "blob:"))]
        assert outside == []
        assert watched.complaints == []
    for context in contexts:
        context.close()


RUN = FakeRun(
    methods=["alpha", "beta", "gamma", "delta <i>"],
    attacks=(JPEG, NOISE, BYPASS, FakeAttack("blur", "filtering", strengths=(1.0, 2.0))),
    right=lambda method, seed, point, copy: (
        {"a": 0.95, "b": 0.7, "g": 0.5, "d": 0.6}[method[0]] + 0.01 * copy
    ),
    accuracy={"gamma": 0.6},
    outcomes={
        ("beta", "jpeg 50"): ("failed", "the codec <b>broke</b>"),
        ("beta", "bypass"): ("blocked", "blocked by another"),
        ("delta <i>", "blur 2"): ("out-of-memory", "did not fit"),
    },
    unavailable=[("methods", "gone", "pip install gone")],
    absent=[("delta <i>", "blur 1")],
)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    return RUN.write(tmp_path_factory.mktemp("browser") / "run")


@pytest.fixture(scope="session")
def site(run_folder):
    """A small board with every outcome there is."""
    return build_page(run_folder, run_folder.parent / "page").parent


@pytest.fixture(scope="session")
def boards(run_folder, tmp_path_factory):
    """A page over two boards, one without numbers."""
    empty = tmp_path_factory.mktemp("empty") / "not-run"
    empty.mkdir()
    (empty / "suite.toml").write_text('[suite]\nname = "not-run"\ntitle = "Not run"\n')
    return build_site([run_folder, empty], run_folder.parent / "site", "Boards").parent


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """30 methods with long names under 40 attacks."""
    folder = tmp_path_factory.mktemp("wide")
    write_wide_run(folder / "run", methods=30, attacks=40, strengths=1)
    return build_page(folder / "run", folder / "page").parent
