"""From a trained method to a user's copy, and from what it drew back to him."""

import json

import numpy as np
import pytest
from PIL import Image

import fpbench
from fpbench.users import Registry

ONE = (
    ('[[methods]]\nuse = "blind"\n', ""),
    ('[[attacks]]\nuse = "weight-noise"\nsigma = [0.1, 0.3]\n', ""),
    (
        '[[attacks]]\nuse = "fine-tune"\nsteps = [1, 3]\ncopies = 3\nimages = 6\n'
        "clean_images = 8\n",
        "",
    ),
    ("copies = 5\nimages = 4", "copies = 2\nimages = 2"),
)
WHO = ("-p", "fpbench.testing.fakes")
USERS = ("Ada", "Бо", "c; DROP TABLE codes")


@pytest.fixture
def desk(run_suite, suite_file, command, tmp_path):
    """A finished run, three users with copies; runs commands on them."""
    run_suite(suite_file(*ONE, ('use = "perfect"', 'use = "perfect"\nbits = 64')))
    registry, run = tmp_path / "users.db", f"{tmp_path / 'run'}:perfect"
    assert command("users", "init", registry)[0] == 0

    def at(verb, *arguments):
        store = () if "--verify" in arguments else ("--store", tmp_path / "store")
        return command(*WHO, verb, *arguments, "--registry", registry, *store)

    for number, user in enumerate(USERS):
        code, out, err = at("issue", run, "--user", user, "-o", tmp_path / f"copy{number}")
        assert (code, err) == (0, ""), err
        assert f"{user}: code {number}" in out
    return at, run, registry


def saved(images, folder, quality=90):
    """JPEGs of images (N, H, W, 3)."""
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.jpg", quality=quality, subsampling=0)
    return folder


@pytest.mark.timeout(180)
def test_images_lead_to_who_was_issued_the_copy(desk, tmp_path):
    trace, run, registry = desk
    codes = set()
    for number, user in enumerate(USERS):
        copy = fpbench.load_copy(tmp_path / f"copy{number}", plugins=("fpbench.testing.fakes",))
        told = (tmp_path / f"copy{number}" / "card.json").read_text()
        assert user not in told
        folder = saved(copy.sample(10), tmp_path / f"images{number}")
        code, out, err = trace("trace", folder, "--method", run, "--pool", "--json")
        assert (code, err) == (0, "")
        report = json.loads(out)
        (verdict,) = report["verdicts"]
        assert [suspect["user"] for suspect in verdict["accused"]] == [user]
        assert verdict["accused"][0]["family_wise"] < 1e-6
        assert (report["codes"], len(report["images"])) == (3, 10)
        codes.add(verdict["best"]["number"])
    assert codes == {0, 1, 2}
    with Registry.open(registry) as opened:
        packed, _ = opened.codes("run:perfect")
        assert len(np.unique(packed, axis=0)) == 3
    # Of an image of nobody, and of a folder of the host's own.
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    code, out, _ = trace("trace", saved(noise, tmp_path / "noise"), "--method", run)
    assert code == 0
    assert out.count("nobody; no code agrees in") == 3


@pytest.mark.timeout(180)
def test_evidence_holds_until_something_is_changed(desk, tmp_path, command):
    trace, run, registry = desk
    copy = fpbench.load_copy(tmp_path / "copy1", plugins=("fpbench.testing.fakes",))
    folder, report = saved(copy.sample(2), tmp_path / "images", 100), tmp_path / "report.json"
    assert trace("trace", folder, "--method", run, "-o", report)[0] == 0
    page = report.with_suffix(".html").read_text()
    assert "<b><bdi>Бо</bdi></b>" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    # The registry may grow, and a user may be revoked.
    assert command("users", "revoke", registry, "Бо", "--reason", "misuse")[0] == 0
    assert trace("issue", run, "--user", "Dee", "-o", tmp_path / "copy3")[0] == 0
    code, out, err = trace("trace", folder, "--verify", report, "--method", run)
    assert (code, out) == (0, "Result: HOLDS\n"), err
    again = json.loads(trace("trace", folder, "--method", run, "--json")[1])
    assert again["verdicts"][0]["accused"][0]["status"] == "revoked"
    assert again["codes"] == 4
    told = json.loads(report.read_text())
    told["verdicts"][0]["accused"][0]["user"] = "Ada"
    report.write_text(json.dumps(told))
    code, out, err = trace("trace", "--verify", report)
    assert (code, "verdicts: expected what the readings come to" in err) == (1, True)
    told["head"] = "f" * 64
    report.write_text(json.dumps(told))
    code, _, err = trace("trace", "--verify", report)
    assert code == 1
    assert "head" in err or "log" in err


@pytest.mark.timeout(180)
def test_what_cannot_be_traced_is_said(desk, tmp_path, command):
    trace, run, _ = desk
    large = tmp_path / "large"
    large.mkdir()
    Image.new("RGB", (64, 32)).save(large / "a.png")
    code, _, err = trace("trace", large, "--method", run)
    assert code == 2
    assert "expected an image of 32 by 32 pixels, as the run's, got 64 by 32" in err
    code, _, err = trace("issue", run, "--user", "Ada", "-o", tmp_path / "other")
    assert code == 2
    assert "rotate" in err
    assert not (tmp_path / "other").exists()
    assert trace("issue", run, "--user", "Ada", "--again", "-o", tmp_path / "again")[0] == 0
    first, again = (tmp_path / name / "copy.safetensors" for name in ("copy0", "again"))
    assert first.read_bytes() == again.read_bytes()
    code, _, err = trace("issue", run, "--user", "../../x", "-o", tmp_path / "p")
    assert code == 2
    empty = tmp_path / "empty.db"
    command("users", "init", empty, "--model", "run:perfect", "--bits", "64")
    arguments = (
        "trace",
        large,
        "--method",
        run,
        "--registry",
        empty,
        "--store",
        tmp_path / "store",
    )
    code, _, err = command(*WHO, *arguments)
    assert code == 2
    assert "expected the training that issued its codes" in err


def test_a_registry_that_is_not_of_this_training_names_nobody(desk, tmp_path, command):
    trace, run, registry = desk
    image = tmp_path / "a.png"
    Image.new("RGB", (32, 32)).save(image)
    facts = fpbench.open_run(tmp_path / "run", plugins=WHO[1:]).method("perfect").facts

    def asked(name, **facts_of_model):
        place = tmp_path / f"{name}.db"
        with Registry.open(place, create=True) as opened:
            if facts_of_model:
                opened.add_model("run:perfect", facts_of_model)
            if name == "newer":
                with opened._database.writing() as connection:
                    connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9001'")
        given = ("--registry", place, "--store", tmp_path / "store")
        return command(*WHO, "trace", image, "--method", run, *given)

    for name, model, told, said in (
        ("version", facts | {"version": "0"}, 2, "issued its codes (version 0), got another (ver"),
        ("bits", facts | {"bits": 32}, 2, "issued its codes (bits 32), got another (bits 64)"),
        ("training", facts | {"training": "0" * 64}, 2, "codes (training 0000000000000000), got"),
        ("empty", {}, 2, "got 'run:perfect'; the registry is empty: add a model first"),
        ("none issued", facts, 0, "a.png: nobody; no code was issued yet"),
        ("newer", facts, 7, "got the newer 9001; update fpbench"),
    ):
        code, out, err = asked(name, **model)
        assert (code, said in out + err) == (told, True), out + err
        assert len((out + err).splitlines()) == 1
    assert trace("trace", tmp_path / "gone", "--method", run)[2] == (
        f"fpbench: {tmp_path / 'gone'}: expected an image, or a folder or zip of some, "
        "got nothing\n"
    )
    (tmp_path / "hollow").mkdir()
    code, _, err = trace("trace", tmp_path / "hollow", "--method", run)
    assert (code, err) == (
        2,
        f"fpbench: {tmp_path / 'hollow'}: expected images, got no file at all\n",
    )
    command("users", "revoke", registry, "Ada", "--reason", "sold")
    code, _, err = trace("issue", run, "--user", "Ada", "--again", "-o", tmp_path / "again")
    assert (code, "expected a user with an active code of model run:perfect, got none" in err) == (
        2,
        True,
    )


def test_a_method_of_few_bits_says_so_when_it_issues(run_suite, suite_file, command, tmp_path):
    run_suite(suite_file(*ONE, ('use = "perfect"', 'use = "perfect"\nbits = 8')))
    registry = tmp_path / "users.db"
    command("users", "init", registry)
    method = f"{tmp_path / 'run'}:perfect"
    given = ("--user", "Ada", "-o", tmp_path / "copy", "--registry", registry)
    code, _, err = command(*WHO, "issue", method, *given)
    said = "8 bits cannot tell 1 users apart at a false rate of 0.001: trace will name nobody\n"
    assert (code, err) == (0, said)
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    asked = ("trace", tmp_path / "a.png", "--method", method, "--registry", registry)
    code, out, _ = command(*WHO, *asked)
    assert (code, "nobody; 8 bits cannot support 1 codes at this false rate" in out) == (0, True)


def test_a_trace_that_ends_early_leaves_nothing_half_written(desk, tmp_path, monkeypatch):
    trace, run, _ = desk
    copy = fpbench.load_copy(tmp_path / "copy0", plugins=WHO[1:])
    folder, report = saved(copy.sample(3), tmp_path / "images", 100), tmp_path / "out" / "r.json"
    (folder / "9.png").write_bytes(b"no image")
    code, _, err = trace("trace", folder, "--method", run, "-o", report)
    assert (code, "9.png: expected an image, got" in err) == (2, True), err
    assert not report.parent.exists()
    (folder / "9.png").unlink()
    monkeypatch.setattr("fpbench.python.tracing._AT_ONCE", 2)
    code, out, err = trace("trace", folder, "--method", run, "-o", report, "--json-lines")
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["images"][0]["name"] for line in lines] == ["0.jpg", "1.jpg", "2.jpg"]
    told = json.loads(report.read_text())
    assert [{k: v for k, v in line.items() if k != "images"} for line in lines] == told["verdicts"]
    assert {path.name for path in report.parent.iterdir()} == {"r.json", "r.html"}


@pytest.mark.timeout(180)
def test_the_service_says_the_same_and_keeps_nothing(desk, tmp_path, monkeypatch):
    pytest.importorskip("fastapi", reason="FastAPI is not installed: uv sync --extra serve")
    testclient = pytest.importorskip("starlette.testclient", reason="httpx2 is not installed")
    import fpbench.serve

    trace, run, _ = desk
    copy = fpbench.load_copy(tmp_path / "copy1", plugins=("fpbench.testing.fakes",))
    folder = saved(copy.sample(3), tmp_path / "images", 100)
    files = [("image", (path.name, path.read_bytes())) for path in sorted(folder.iterdir())]
    large = Image.new("RGB", (64, 32))
    large.save(tmp_path / "large.png")
    asked = []

    def listen(app, door):
        """Asks instead of waiting for others to."""
        assert door.getsockname()[0] == "127.0.0.1"
        client = testclient.TestClient(app)
        bearer = {"Authorization": "Bearer 0123456789abcdef"}
        there = set(tmp_path.rglob("*"))
        asked.append(client.post("/trace", headers=bearer, files=files))
        asked.append(client.post("/trace", headers=bearer, files=files, data={"pool": "1"}))
        wrong = ("image", ("large.png", (tmp_path / "large.png").read_bytes()))
        asked.append(client.post("/trace", headers=bearer, files=[wrong]))
        asked.append(client.post("/trace", files=files))
        assert {path for path in tmp_path.rglob("*") if path.parent.name != "users.db.codes"} <= (
            there | {tmp_path / "users.db.codes"}
        )

    monkeypatch.setattr(fpbench.serve, "listen", listen)
    monkeypatch.setenv("FPBENCH_TOKEN", "0123456789abcdef")
    code, out, err = trace("serve", "--method", run, "--port", "0")
    assert (code, out.startswith("run:perfect: http://127.0.0.1:")) == (0, True), err
    each, pooled, refused, nobody = asked
    assert [answer.status_code for answer in asked] == [200, 200, 422, 401]
    told = json.loads(trace("trace", folder, "--method", run, "--json")[1])
    assert told | {"made_at": each.json()["made_at"]} == each.json()
    assert pooled.json()["verdicts"][0]["accused"][0]["user"] == "Бо"
    said = "expected an image of 32 by 32 pixels, as the run's, got 64 by 32; nothing is resized"
    assert refused.json() == {"error": f"large.png: {said}"}
    assert "error" in nobody.json()
    assert len(err.splitlines()) == 4
    assert not any(word in err for word in ("large.png", "0.jpg", "0123456789", *USERS))
