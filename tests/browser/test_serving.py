"""Somebody hands images in: form, verdict and evidence in a browser, without scripts too."""

import json
import threading
from types import SimpleNamespace

import pytest
from service_factory import MODEL, SECRET, USERS, PixelReader, issued


@pytest.fixture
def served(tmp_path):
    """The service on a port of this machine; the browser connects to it, this process does not."""
    for package in ("fastapi", "uvicorn", "python_multipart", "sqlalchemy"):
        pytest.importorskip(package, reason=f"no {package}: uv sync --extra serve")
    from fpbench.serve import Desk, Limits, Token, address_of, application, bound, server_of

    pictures = issued(tmp_path / "users.db")
    files = []
    for number, data in enumerate(pictures):
        files.append(tmp_path / f"{number} <b>.png")
        files[-1].write_bytes(data)
    log = []
    with (
        Desk(PixelReader(), MODEL, tmp_path / "users.db", 1e-3) as desk,
        bound("127.0.0.1", 0) as door,
    ):
        app = application(desk, Token(SECRET, "test"), Limits(most_mib=1), log.append)
        server = server_of(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        yield SimpleNamespace(url=address_of(door), files=files, log=log)
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def visit(chromium, served):
    """Opens the page; nothing is asked of anybody else, and the browser complains of nothing."""
    contexts, asked, complaints = [], [], []

    def open_page(**more):
        contexts.append(chromium.new_context(**more))
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        # That an answer is no 200 is said of every refusal.
        page.on(
            "console",
            lambda said: "Failed to load" in said.text or complaints.append(said.text),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(served.url)
        return page

    yield open_page
    assert [url for url in asked if not url.startswith((served.url, "data:", "blob:"))] == []
    assert complaints == []
    for context in contexts:
        context.close()


def hand_in(page, files, token=SECRET):
    page.get_by_label("Token").fill(token)
    page.get_by_label("Images").set_input_files(files)
    page.get_by_role("button", name="Read them").click()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_form_leads_to_users_and_to_their_evidence(visit, served, tmp_path, scripts):
    page = visit(java_script_enabled=scripts)
    hand_in(page, served.files)
    cells = page.locator("tbody tr")
    assert cells.count() == 3
    for user, row in zip(USERS, cells.all(), strict=True):
        assert row.locator("b").inner_text() == user
    assert cells.first.locator("th").inner_text() == "0 <b>.png"
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save the evidence").click()
    assert saved.value.suggested_filename == "evidence.json"
    saved.value.save_as(tmp_path / "evidence.json")
    report = json.loads((tmp_path / "evidence.json").read_text())
    assert [v["accused"][0]["user"] for v in report["verdicts"]] == list(USERS)
    page.get_by_role("link", name="Hand in other images").click()
    assert page.get_by_label("Token").input_value() == ""


def test_refusals_are_said_on_the_page(visit, served, tmp_path):
    page = visit()
    hand_in(page, served.files, "wrong")
    assert "expected the token, got another" in page.get_by_role("alert").inner_text()
    text = tmp_path / "text.png"
    text.write_text("<b>none</b>")
    hand_in(page, [text])
    assert "text.png: expected an image" in page.get_by_role("alert").inner_text()
    large = tmp_path / "large.png"
    large.write_bytes(bytes(3 * 2**20))
    hand_in(page, [large])
    assert "at most 1 MiB" in page.get_by_role("alert").inner_text()
    assert [line.split()[4] for line in served.log if "POST" in line] == ["401", "422", "413"]


def test_the_form_has_no_barriers(visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    page = visit(bypass_csp=True)  # axe is a script of somebody else's
    found = axe.Axe().run(page, options={"preload": False}).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
