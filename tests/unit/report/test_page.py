import base64
import gzip
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_factory import BYPASS, JPEG, NOISE, FakeRun

from fpbench.api import SpecError, StoreError
from fpbench.report.build import build_page, build_site
from fpbench.report.packed import packing, write_packed
from fpbench.store import RecordLog

HOSTILE = "<script>alert('$x$')</script>"
ABSENT = object()
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """What a test asks of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.heads_without_scope = 0
        self.captions: list[int] = []
        self.images_without_alt = 0
        self.text = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src") and v is not None]
        self.ids += [v for k, v in attrs if k == "id" and v is not None]
        if tag == "th" and "scope" not in values:
            self.heads_without_scope += 1
        if tag == "table":
            self.captions.append(0)
        if tag == "caption":
            self.captions[-1] += 1
        if tag == "img" and not values.get("alt"):
            self.images_without_alt += 1

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"{self.path.name}: <{tag}> is not nested"


def records_of(page: Path) -> dict[str, dict]:
    """What records.js hands over, read as fpbench/report/static/page.js does."""
    text = (page / "records.js").read_text()
    packed = re.fullmatch(r'fpbench\.records\("(.*)"\);\n', text)[1]
    data = json.loads(gzip.decompress(base64.b64decode(packed)))
    found = {}
    for place in range(data["count"]):
        record = {}
        for name, field in data["fields"].items():
            index = field["places"][place] if "places" in field else place
            if index >= 0:
                record[name] = field["values"][index]
        found[record["record_id"]] = record
    return found


def render(run: FakeRun, folder: Path) -> list[Page]:
    index = build_page(run.write(folder / "run"), folder / "page")
    return [Page(path) for path in sorted(index.parent.rglob("*.html"))]


def strip(path: Path, images: int = 8) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16 * images, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def index_of(pages: list[Page]) -> Page:
    return next(page for page in pages if page.path.name == "index.html")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    run = FakeRun(
        methods=["alpha", "beta", HOSTILE],
        outcomes={
            ("beta", "jpeg 50"): ("failed", "the codec <b>broke</b>"),
            ("beta", "bypass"): ("blocked", "blocked by another"),
        },
        unavailable=[("methods", "gone", "pip install gone")],
    )
    folder = tmp_path_factory.mktemp("hostile")
    samples = run.write(folder / "run") / "samples"
    samples.mkdir()
    strip(samples / "host.png")
    (samples / "samples.json").write_text(
        '{"host": "host.png", "methods": {"alpha": {"codes": ["host.png"], '
        '"points": {"jpeg 90": "host.png"}}}}'
    )
    return render(run, folder)


def test_every_link_and_anchor_resolves(pages):
    ids = {page.path.resolve(): set(page.ids) for page in pages}
    for page in pages:
        for link in page.links:
            if link == "data:,":
                continue
            name, _, anchor = unquote(link).partition("#")
            target = (page.path.parent / name).resolve() if name else page.path.resolve()
            if not name and anchor not in ids[target]:
                # markers inside of charts are anchors too
                assert f'id="{anchor}"' in page.text
                continue
            if name and target.name == "records.html" and anchor:
                assert sum(i.startswith(anchor) for i in records_of(target.parent)) == 1
                continue
            assert target.is_file(), f"{page.path.name} links to {link}"
            assert not anchor or anchor in ids[target], f"{page.path.name} links to {link}"


def test_pages_name_no_other_machine(pages):
    for page in pages:
        assert "http:" not in page.text
        assert "https:" not in page.text
        assert not any(link.startswith("//") for link in page.links)
        assert "@import" not in (index_of(pages).path.parent / "style.css").read_text()


def test_tables_have_captions_and_scoped_heads(pages):
    for page in pages:
        assert page.captions
        assert set(page.captions) == {1}
        assert page.heads_without_scope == 0


def test_pages_are_nested_and_ids_are_unique(pages):
    for page in pages:
        assert page.open == []
        assert len(page.ids) == len(set(page.ids)), page.path.name
        assert page.images_without_alt == 0


def test_charts_have_title_description_and_data(pages):
    index = index_of(pages)
    charts = index.text.count('class="chart"')
    assert charts > 5
    assert index.text.count("<desc ") == charts
    assert "Show data" in index.text
    for chart in re.findall(r"<svg class=\"chart\".*?</svg>", index.text):
        assert "nan" not in chart
        assert ElementTree.fromstring(chart).tag == "svg"  # noqa: S314 - our own


def test_hostile_label_is_escaped_everywhere(pages):
    for page in pages:
        assert "<script>alert" not in page.text
        own = {"page.js", "board.js", "viewer.js"}
        assert page.tags.count("script") == len([x for x in page.links if Path(x).name in own])
    assert any("&lt;script&gt;" in page.text for page in pages)


def test_reasons_stand_on_the_page_and_outcomes_have_words(pages):
    text = index_of(pages).text
    for words in (
        "the codec &lt;b&gt;broke&lt;/b&gt;",
        "blocked by another",
        "pip install gone",
        "o-failed",
        "o-blocked",
        "o-refused",
        "o-not-supported",
        "o-unavailable",
        "16 of 18",
        "an order by score, no ranks",
        "N = 30",
        "α = 0.01",
    ):
        assert words in text, words


def test_method_page_shows_how_it_was_trained(tmp_path):
    run = FakeRun(methods=("plain",), attacks=(JPEG,)).write(tmp_path / "run")
    build_page(run, tmp_path / "page")
    (path,) = (tmp_path / "page" / "methods").glob("*.html")
    text = path.read_text()
    assert "160 images/s, 1,600 images, bf16, on cuda:0." in text
    assert "each batch in 2 pieces, since it did not fit as a whole" in text
    assert "&lt;b&gt;accuracy&lt;/b&gt;" in text
    assert "<b>accuracy" not in text
    for shown in ("2.5", "0.9876", "–"):
        assert f"<td>{shown}</td>" in text
    assert text.count("training-method-joint-loss-title") == 2  # its own and the reference to it


def test_over_budget_is_marked(tmp_path):
    index = index_of(render(FakeRun(["alpha"], [NOISE], damage=lambda *_: 2.0), tmp_path))
    assert "over budget" in index.text
    method = (index.path.parent / "methods" / "alpha.html").read_text()
    assert "weight-noise 0.1, part" in method


@pytest.mark.parametrize(("seeds", "ordered"), [((0,), True), ((0, 1), True), ((0, 1, 2), False)])
def test_fewer_than_three_trainings_are_called_an_order(tmp_path, seeds, ordered):
    index = index_of(render(FakeRun(["alpha", "beta"], [JPEG], seeds=seeds), tmp_path))
    assert ("an order by score, no ranks." in index.text) is ordered


def test_the_order_is_said_of_those_that_train_where_others_have_ranks(tmp_path):
    run = FakeRun(["alpha", "beta"], [JPEG], untrained=("alpha",))
    assert "no ranks of methods that train." in index_of(render(run, tmp_path)).text


@pytest.mark.parametrize(
    "run",
    [
        FakeRun(["alpha"], [BYPASS]),
        FakeRun(["alpha"], []),
        FakeRun([], []),
        FakeRun(["alpha"], [JPEG], absent=[("alpha", p) for p in ("none", "jpeg 90", "jpeg 50")]),
        FakeRun(
            ["alpha"],
            [JPEG],
            outcomes={("alpha", p): ("failed", "boom") for p in ("none", "jpeg 90", "jpeg 50")},
        ),
        FakeRun([], [], unavailable=[("methods", "gone", "why"), ("attacks", "lost", "why")]),
        FakeRun(["alpha"], [JPEG], supported=False),
    ],
    ids=["one", "no-attack", "nothing", "no-records", "all-failed", "unavailable", "unsupported"],
)
def test_sparse_runs_still_make_a_page(tmp_path, run):
    for page in render(run, tmp_path):
        assert page.open == []
        assert page.heads_without_scope == 0


def test_folder_without_any_file_makes_a_page_that_says_so(tmp_path):
    (tmp_path / "run").mkdir()
    index = build_page(tmp_path / "run", tmp_path / "page")
    assert "There are no records yet" in index.read_text()


def test_same_records_give_the_same_bytes(tmp_path):
    run = FakeRun(["alpha"], [JPEG]).write(tmp_path / "run")
    for name in ("one", "two"):
        build_page(run, tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) > 7
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_downloads_read_back(tmp_path):
    render(FakeRun(attacks=[BYPASS]), tmp_path)
    page, run = tmp_path / "page", tmp_path / "run"
    table = pd.read_csv(page / "leaderboard.csv")
    assert list(table["method"]) == ["alpha", "beta"]
    assert table["score"].to_list() == pytest.approx([0.9275, 0.9275])
    assert table["psnr_to_host_db"].isna().all()
    assert set(table["psnr_to_host_db_outcome"]) == {"refused"}
    assert records_of(page) == RecordLog(run / "records.jsonl").read()
    tex = (page / "leaderboard.tex").read_text()
    assert tex.count("\\\\") == 3  # heads and two methods
    assert "alpha & -- & 0.928" in tex


def test_packed_records_keep_types_and_absent_fields_apart(tmp_path):
    def packed(records):
        write_packed(records, tmp_path / "records.js")
        return (tmp_path / "records.js").read_text()

    records = [
        {"record_id": "a", "value": 1, "detail": {"x": [1.0]}, "own": None},
        {"record_id": "b", "value": 1.0, "detail": {"x": [1.0]}},
        {"record_id": "c", "value": True, "detail": {}, "<script>": "</script>"},
    ]
    text = packed(records)
    assert "<" not in text
    data = json.loads(gzip.decompress(base64.b64decode(text.split('"')[1])))
    assert data["count"] == 3
    assert [type(v) for v in data["fields"]["value"]["values"]] == [int, float, bool]
    assert data["fields"]["detail"] == {"values": [{"x": [1.0]}, {}], "places": [0, 0, 1]}
    assert data["fields"]["own"] == {"values": [None], "places": [0, -1, -1]}
    assert packed(records) == text
    assert packed([]) == packed([])


@pytest.mark.parametrize("many", [1, 10**9], ids=["beside", "here"])
def test_records_are_packed_beside_the_pages_or_after_them(tmp_path, monkeypatch, many):
    monkeypatch.setattr("fpbench.report.packed._MANY", many)
    records = [{"record_id": str(n), "value": n / 7} for n in range(50)]
    write_packed(records, tmp_path / "expected.js")
    with packing(records, tmp_path / "records.js"):
        pass
    assert (tmp_path / "records.js").read_bytes() == (tmp_path / "expected.js").read_bytes()
    with pytest.raises(FileNotFoundError), packing(records, tmp_path / "no" / "records.js"):
        pass


def test_pictures_of_untouched_images_keep_every_pixel(tmp_path):
    folder = FakeRun(["alpha"], [JPEG]).write(tmp_path / "run") / "samples"
    folder.mkdir()
    for name in ("host", "one", "attacked"):
        strip(folder / f"{name}.png")
    strips = {"codes": ["one.png"], "residual": "", "points": {"jpeg 90": "attacked.png"}}
    (folder / "samples.json").write_text(
        json.dumps({"host": "host.png", "methods": {"alpha": strips}})
    )
    page = build_page(tmp_path / "run", tmp_path / "page").parent
    shown = {path.stem: np.asarray(Image.open(path)) for path in (page / "samples").iterdir()}
    first = np.asarray(Image.open(folder / "one.png"))[:, : 4 * 16]
    assert (shown["host"] == first).all()
    assert (shown["one"] == first).all()
    assert shown["attacked"].shape == first.shape
    assert (shown["attacked"] != first).any()


def test_picture_that_is_none_is_said_by_name(tmp_path):
    folder = FakeRun(["alpha"], [JPEG]).write(tmp_path / "run") / "samples"
    folder.mkdir()
    (folder / "host.png").write_bytes(b"no picture")
    (folder / "samples.json").write_text('{"host": "host.png"}')
    with pytest.raises(StoreError, match=r"host\.png"):
        build_page(tmp_path / "run", tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_strips_that_are_left_out_are_said(tmp_path):
    folder = FakeRun(["alpha"], [JPEG]).write(tmp_path / "run") / "samples"
    folder.mkdir()
    strip(tmp_path / "secret.png")
    (folder / "samples.json").write_text('{"host": "../../secret.png"}')
    index = build_page(tmp_path / "run", tmp_path / "page")
    assert "../../secret.png" in index.read_text()
    assert not list(index.parent.rglob("secret*"))


def test_page_over_boards_shows_what_was_not_run_as_such(tmp_path):
    FakeRun(["alpha", HOSTILE], [JPEG]).write(tmp_path / "boards" / "index.html")
    FakeRun(["alpha"], [NOISE]).write(tmp_path / "boards" / "b")
    (tmp_path / "boards" / "c").mkdir()
    (tmp_path / "boards" / "c" / "suite.toml").write_text('[suite]\ntitle = "Later <b>"\n')
    folders = sorted((tmp_path / "boards").iterdir())
    index = build_site(folders, tmp_path / "site", "All")
    pages = [Page(path) for path in index.parent.rglob("*.html")]
    assert len([p for p in pages if p.path.name == "index.html"]) == 3
    text = index.read_text()
    assert "Later &lt;b&gt;" in text
    assert "<script>alert" not in text
    for page in pages:
        assert page.open == []
        for link in page.links:
            target = (page.path.parent / unquote(link).partition("#")[0]).resolve()
            assert link.startswith(("data:,", "#")) or target.is_file(), link
    before = index.stat().st_ino
    build_site(folders, tmp_path / "site", "All")
    assert index.stat().st_ino == before


def test_up_to_date_page_is_not_written_again(tmp_path):
    run = FakeRun(["alpha"], [BYPASS]).write(tmp_path / "run")
    index = build_page(run, tmp_path / "page")
    before = (index.stat().st_mtime_ns, index.stat().st_ino)
    build_page(run, tmp_path / "page")
    assert (index.stat().st_mtime_ns, index.stat().st_ino) == before
    FakeRun(["beta"], [BYPASS]).write(run)
    assert "beta" in build_page(run, tmp_path / "page").read_text()
    assert not (tmp_path / "page" / "methods" / "alpha.html").exists()


def test_up_to_date_check_imports_nothing_heavy(tmp_path):
    run = FakeRun(["alpha"], [BYPASS]).write(tmp_path / "run")
    build_page(run, tmp_path / "page")
    code = (
        "import sys; from pathlib import Path; from fpbench.report.build import build_page; "
        f"build_page(Path({str(run)!r}), Path({str(tmp_path / 'page')!r})); "
        "print(*{'pandas', 'scipy', 'jinja2', 'PIL', 'numpy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_folder_that_is_not_a_page_is_not_replaced(tmp_path):
    run = FakeRun(["alpha"], [BYPASS]).write(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(SpecError, match="mine"):
        build_page(run, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").is_file()


def test_left_overs_of_a_killed_build_do_not_matter(tmp_path):
    run = FakeRun(["alpha"], [BYPASS]).write(tmp_path / "run")
    for name in (".page.new", ".page.old"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "half").write_text("x")
    build_page(run, tmp_path / "out" / "page")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["page"]


def test_a_link_leads_past_tables_of_many_links_and_labels_stand_apart(tmp_path):
    methods = [f"m{index}" for index in range(14)] + ["שלום"]
    build_page(FakeRun(methods=methods).write(tmp_path), tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text()
    led = re.findall(r'<a class="past" href="#(past-\d+)">', page)
    assert led
    assert len(led) == len(set(led))
    for name in led:
        assert page.count(f'id="{name}"') == 1
    assert "<bdi>שלום</bdi>" in page
