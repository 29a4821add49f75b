import asyncio
import base64
import json
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from service_factory import MODEL, SECRET, SIZE, USERS, PixelReader, encoded, issued, picture
from starlette.testclient import TestClient

from fpbench.serve import Desk, Limits, Token, application
from fpbench.serve.upload import MOST_IMAGES
from fpbench.users import Registry, checked
from fpbench.users.evidence import Report

BEARER = {"Authorization": f"Bearer {SECRET}"}
SHOWN = ("Traceback", "users.db", "/home", "site-packages", "fpbench/", SECRET, *USERS)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    place = tmp_path_factory.mktemp("registry") / "users.db"
    return place, issued(place)


@pytest.fixture
def service(registry):
    """A client, what it can ask, and the log."""
    (place, pictures), log, now, reader = registry, [], [0.0], PixelReader()
    with Desk(reader, MODEL, place, 1e-3) as desk:
        limits = Limits(most_mib=1, per_minute=30, upload_s=0.2)
        app = application(desk, Token(SECRET, "test"), limits, log.append, lambda: now[0])
        client = TestClient(app, raise_server_exceptions=False)
        yield SimpleNamespace(
            client=client, place=place, pictures=pictures, log=log, now=now, reader=reader, app=app
        )


def image(data, name="found.png"):
    return ("image", (name, data, "image/png"))


def refused(service, status, text, why, answer):
    """Said as it should be; nothing else is told, and the log has one line of it."""
    assert answer.status_code == status, answer.text
    assert text in answer.text
    assert not any(word in answer.text for word in SHOWN)
    assert f" {status} " in service.log[-1]
    assert why in service.log[-1]
    assert "\n" not in service.log[-1]
    assert not any(word in service.log[-1] for word in SHOWN)


def test_images_lead_to_users_and_the_evidence_holds(service):
    files = [image(data, f"{n}.png") for n, data in enumerate(service.pictures)]
    answer = service.client.post("/trace", headers=BEARER, files=files)
    assert answer.status_code == 200, answer.text
    report = Report.model_validate_json(answer.content)
    assert [v["accused"][0]["user"] for v in report.verdicts] == list(USERS)
    assert [i.name for i in report.images] == ["0.png", "1.png", "2.png"]
    with Registry.open(service.place) as registry:
        assert checked(report, registry) == []
    # Without a token in the header, as a form without scripts sends it; the page says the same.
    form = {"token": (None, SECRET), "pool": (None, "1")}
    page = service.client.post(
        "/trace", headers={"Accept": "text/html,*/*"}, files=[*form.items(), files[1]]
    )
    assert page.status_code == 200
    assert "<b><bdi>Бо</bdi></b>" in page.text
    kept = page.text.partition("base64,")[2].partition('"')[0]
    assert json.loads(base64.b64decode(kept))["pooled"] is True
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    answer = service.client.post(
        "/trace", headers=BEARER, files=[image(encoded(Image.fromarray(noise)))]
    )
    assert answer.json()["verdicts"][0]["accused"] == []
    assert [line.rpartition(" s ")[2] for line in service.log] == ["3 images"] + 2 * ["1 images"]


def test_who_is_issued_a_code_meanwhile_is_found(service):
    with Registry.open(service.place) as registry:
        code = registry.issue(MODEL, "Dee").code
    answer = service.client.post("/trace", headers=BEARER, files=[image(picture(code))])
    assert answer.json()["verdicts"][0]["accused"][0]["user"] == "Dee"


@pytest.mark.parametrize(
    ("headers", "fields", "why"),
    [
        ({}, [], "no token"),
        ({"Authorization": "Bearer"}, [], "wrong token"),
        ({"Authorization": f"Basic {SECRET}"}, [], "no token"),
        ({"Authorization": f"Bearer {SECRET}x"}, [], "wrong token"),
        ({"Authorization": "Bearer ' OR 1=1 --"}, [], "wrong token"),
        ({"Authorization": "Bearer wrong"}, [("token", (None, SECRET))], "wrong token"),
        ({}, [("token", (None, SECRET[:-1]))], "wrong token"),
        ({}, [("token", (None, ""))], "wrong token"),
        (BEARER, [("token", (None, "wrong"))], "wrong token"),
    ],
)
def test_nobody_is_let_in_without_the_token(service, headers, fields, why):
    files = [*fields, image(service.pictures[0])]
    answer = service.client.post("/trace", headers=headers, files=files)
    refused(service, 401, "expected the token", why, answer)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_behind_the_images_is_too_late(service):
    files = [image(service.pictures[0]), ("token", (None, SECRET))]
    answer = service.client.post("/trace", files=files)
    refused(service, 401, "before the images", "no token", answer)


def test_too_much_is_refused_announced_or_not(service):
    much = bytes(2**20 + 1)
    answer = service.client.post("/trace", headers=BEARER, files=[image(much)])
    refused(service, 413, "at most 1 MiB", "too large", answer)
    taken = []

    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for piece in range(100):
            taken.append(piece)
            yield bytes(2**16)

    form = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = service.client.post("/trace", headers=BEARER | form, content=endless())
    refused(service, 413, "at most 1 MiB", "too large", answer)
    files = [image(b"x", "a.png")] * (MOST_IMAGES + 1)
    answer = service.client.post("/trace", headers=BEARER, files=files)
    refused(service, 422, "at most 64 images", "too many images", answer)


def _bomb(width, height):
    """A PNG whose header announces more than its few bytes hold."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(10**6))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (_bomb(8000, 8000), "expected an image of 8 by 8 pixels, as the run's, got 8000 by 8000"),
        (_bomb(9500, 9500), "more than 67,108,864 pixels"),
        (_bomb(60000, 60000), "more than 67,108,864 pixels"),
        (encoded(Image.new("RGB", (16, 8))), "8 pixels, as the run's, got 16 by 8; nothing is"),
        (b"<svg onload=alert(1)>", "expected an image, got cannot identify image file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "got cannot identify image file"),
        (encoded(Image.new("RGB", (8, 8)))[:45], "expected an image, got"),
    ],
    ids=["large", "bomb", "huge", "size", "svg", "eps", "cut"],
)
def test_what_is_no_image_of_the_run_is_not_decoded(service, monkeypatch, data, text):
    from PIL import ImageFile

    loads = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(
        ImageFile.ImageFile, "load", lambda self: (loads.append(self.size), load(self))[1]
    )
    answer = service.client.post("/trace", headers=BEARER, files=[image(data)])
    refused(service, 422, text, "unfit image", answer)
    assert all(size == (8, 8) for size in loads)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\secret\\a.png", "a.png"),
        ("'); DROP TABLE code; --.png", "'); DROP TABLE code; --.png"),
        ("<script>alert(1)</script>", "script>"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("..", "image 1"),
        ("a\x1b[31m\u202e.png", "a\\x1b[31m\\u202e.png"),
        ("x" * 500 + ".png", "x" * 96 + ".png"),
    ],
)
def test_names_are_text_and_nothing_else(service, tmp_path, monkeypatch, name, kept):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    raw = f'--x\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
    body = raw.encode() + service.pictures[0] + b"\r\n--x--\r\n"
    form = {"Content-Type": "multipart/form-data; boundary=x"} | BEARER
    answer = service.client.post("/trace", headers=form, content=body)
    assert answer.json()["images"][0]["name"] == kept
    assert answer.json()["verdicts"][0]["accused"][0]["user"] == "Ada"
    page = service.client.post("/trace", headers=form | {"Accept": "text/html"}, content=body)
    assert "<img src" not in page.text
    assert "<script>alert" not in page.text
    assert not any(part in "".join(service.log) for part in (kept, "alert", "DROP", "passwd"))
    # Nothing of an image is on the disk.
    assert list(tmp_path.iterdir()) == []
    assert not any(service.pictures[0] in file.read_bytes() for file in _files(service.place))


def _files(place):
    return [path for path in place.parent.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/trace", 405),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/../other.db", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/a%0a2026 forged line", 404),
        ("GET", f"/none?token={SECRET}", 404),
        ("POST", "/trace/", 404),
        ("PUT", "/", 405),
    ],
)
def test_there_is_nothing_else(service, method, path, status):
    answer = service.client.request(method, path, headers=BEARER)
    refused(service, status, "expected GET /", "no such", answer)
    assert "etc/passwd" not in answer.text


@pytest.mark.parametrize(
    ("kind", "body", "status", "why"),
    [
        ("application/json", b"{}", 415, "no form"),
        ("multipart/form-data", b"", 415, "no form"),
        ("multipart/form-data; boundary=x", b"no form at all", 400, "damaged form"),
        ("multipart/form-data; boundary=x", b"", 400, "cut short"),
        ("multipart/form-data; boundary=x", b"--x\r\nA: b\r\n\r\nc\r\n--x--\r\n", 422, "unknown"),
        ("multipart/form-data; boundary=" + 500 * "x", b"", 400, "damaged form"),
    ],
)
def test_other_forms_are_refused(service, kind, body, status, why):
    answer = service.client.post("/trace", headers=BEARER | {"Content-Type": kind}, content=body)
    refused(service, status, "expected", why, answer)


def test_fields_that_make_no_sense_are_refused(service):
    given = image(service.pictures[0])
    for fields, why in (
        ([("pool", (None, "perhaps")), given], "bad field"),
        ([("pool", (None, "1" * 5000)), given], "long field"),
        ([("user", (None, "Ada")), given], "unknown field"),
        ([("image", ("", b"", "image/png"))], "no image"),
    ):
        answer = service.client.post("/trace", headers=BEARER, files=fields)
        refused(service, 422, "expected", why, answer)


def test_who_asks_too_often_waits(service):
    for _ in range(30):
        assert service.client.get("/").status_code == 200
    answer = service.client.post("/trace", files=[image(service.pictures[0])])
    refused(service, 429, "at most 30 requests a minute", "too often", answer)
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["Cache-Control"] == "no-store"
    # Neither a header nor a watcher counts for another address.
    spoofed = service.client.get("/", headers={"X-Forwarded-For": "10.0.0.1"})
    assert spoofed.status_code == 429
    assert service.client.get("/health").json() == {"status": "ok"}
    other = TestClient(service.app, client=("10.0.0.1", 1))
    assert other.get("/").status_code == 200
    service.now[0] += 2
    assert service.client.get("/").status_code == 200
    assert service.client.get("/").status_code == 429


def test_a_fault_is_told_to_the_log_alone(service):
    def broken(images):
        raise RuntimeError(f"no weights in /home/secret for {USERS[0]}")

    service.reader.extract = broken
    answer = service.client.post("/trace", headers=BEARER, files=[image(service.pictures[0])])
    refused(service, 500, "its log says why", "RuntimeError, failed", answer)
    assert "no weights in /home/secret" in service.log[-2]
    assert SECRET not in service.log[-2]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("then", "status", "why"),
    [("nothing", 408, "too slow"), ("http.disconnect", 400, "cut short")],
)
def test_uploads_that_stall_or_end_are_given_up(service, then, status, why):
    sent, said = [], [{"type": "http.request", "body": b"--x\r\n", "more_body": True}]
    headers = {"content-type": "multipart/form-data; boundary=x", **BEARER}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/trace",
        "raw_path": b"/trace",
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        "client": ("10.0.0.2", 1),
    }

    async def receive():
        if said:
            return said.pop()
        if then == "nothing":
            await asyncio.sleep(9)
        return {"type": then}

    async def send(message):
        sent.append(message)

    # In a thread of its own: where a browser was opened, this one has a loop that runs.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, service.app(scope, receive, send)).result()
    assert sent[0]["status"] == status
    assert why in service.log[-1]


def test_requests_are_read_one_at_a_time_and_few_wait(service):
    running, at_once, gate = [], [], threading.Event()
    extract = service.reader.extract

    def slow(images):
        running.append(1)
        at_once.append(len(running))
        gate.wait(10)
        running.pop()
        return extract(images)

    service.reader.extract = slow
    with service.client as client:  # one loop for all

        def ask():
            answers.append(
                client.post("/trace", headers=BEARER, files=[image(service.pictures[0])])
            )
            if len(answers) == 2:  # of ten, two are more than may wait
                gate.set()

        answers = []
        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(a.status_code for a in answers) == 8 * [200] + 2 * [503]
    assert answers[0].headers["Retry-After"] == "5"
    assert set(at_once) == {1}


def test_every_answer_forbids_what_the_page_does_not_need(service):
    answer = service.client.get("/")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "http" not in answer.text.replace("http://www.w3.org", "")
    assert MODEL not in answer.text
    assert answer.text.index('name="token"') < answer.text.index('name="image"')
