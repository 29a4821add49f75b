"""Pages as readers meet them: any width, light or dark, without scripts, on paper, read aloud."""

import pytest

from fpbench.report.comparing import compare_sides
from fpbench.report.sides import read_side
from fpbench.report.versus import write_comparison

PAGES = (
    "index.html",
    "protocol.html",
    "records.html",
    "methods/alpha.html",
    "methods/gone.html",
    "attacks/jpeg.html",
)
SERIOUS = ("serious", "critical")
SPILLS = """() => {
  const inside = (element) => element.closest(".box, pre, .hidden, .skip");
  return Array.from(document.body.querySelectorAll("*"))
    .filter((element) => !inside(element) && element.getClientRects().length)
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => `${element.tagName} ${element.textContent.slice(0, 40)}`);
}"""
CUT = """() => Array.from(document.querySelectorAll("th, td, h1, h2, h3, dt, dd, summary, label"))
  .filter((element) => element.getClientRects().length && !element.closest(".hidden"))
  .filter((element) => element.scrollWidth > element.clientWidth + 1
    && getComputedStyle(element).display !== "inline")
  .map((element) => element.textContent.trim().slice(0, 60))"""
OVERLAPS = """() => {
  const found = [];
  for (const chart of document.querySelectorAll(".chart")) {
    const boxes = Array.from(chart.querySelectorAll("text"), (t) => [t, t.getBoundingClientRect()])
      .filter(([t]) => !t.hasAttribute("transform"));
    boxes.forEach(([a, x], i) => boxes.slice(i + 1).forEach(([b, y]) => {
      const wide = Math.min(x.right, y.right) - Math.max(x.left, y.left);
      const high = Math.min(x.bottom, y.bottom) - Math.max(x.top, y.top);
      if (wide > 2 && high > 3) found.push(`${a.textContent} / ${b.textContent}`);
    }));
  }
  return found;
}"""


def violations(page) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    found = axe.Axe().run(page, options={"preload": False}).response["violations"]
    return [
        f"{each['id']}: {node['html'][:160]}"
        for each in found
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_serious_violation(browse, site, name, scheme):
    page = browse(site / name, color_scheme=scheme)
    if name == "records.html":
        page.locator("#metric").select_option("bit-accuracy")  # a few rows say as much as hundreds
    for summary in page.locator("summary:visible").all():
        summary.click()
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_over_boards_and_a_record_have_no_serious_violation(browse, boards, scheme):
    assert violations(browse(boards / "index.html", color_scheme=scheme)) == []
    board = boards / "run"
    index = browse(board / "index.html", color_scheme=scheme)
    href = index.locator("#standings td a[href*='records.html#']").first.get_attribute("href")
    page = browse(board / "records.html", "#" + href.split("#")[1], color_scheme=scheme)
    page.wait_for_selector("#record:not([hidden])")
    page.locator("#metric").select_option("bit-accuracy")
    assert violations(page) == []


@pytest.mark.parametrize("width", [1440, 768, 390])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_spills_or_is_cut_at_any_width(browse, site, name, width):
    page = browse(site / name, width=width)
    assert page.evaluate(SPILLS) == []
    assert page.evaluate(CUT) == []
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_thirty_methods_under_forty_attacks_are_not_cut(browse, wide, width):
    page = browse(wide / "index.html", width=width)
    assert page.locator("#standings tbody tr").count() == 30
    assert page.locator(".heat tbody tr.group").count() == 40
    assert page.evaluate(SPILLS) == []
    assert page.evaluate(CUT) == []
    assert page.evaluate(OVERLAPS) == []


def test_numbers_of_a_column_end_at_one_line(browse, wide):
    page = browse(wide / "index.html")
    ends = page.evaluate(
        """() => Array.from(document.querySelector("#standings").tBodies[0].rows, (row) => {
          const range = document.createRange();
          range.selectNodeContents(row.cells[2].firstChild);
          return Math.round(range.getBoundingClientRect().right);
        })"""
    )
    assert len(set(ends)) == 1


def test_twice_the_size_is_still_one_column_wide(browse, site):
    page = browse(site / "index.html", width=720, device_scale_factor=2)
    assert page.evaluate(SPILLS) == []


def test_everything_is_there_without_scripts(browse, site):
    page = browse(site / "index.html", java_script_enabled=False)
    assert page.locator("#standings tbody tr").count() == 5
    assert page.locator("#standings th button").count() == 0
    assert page.locator("#tools").is_hidden()
    assert page.locator("button:visible").count() == 0
    assert page.locator(".chart").first.is_visible()
    assert "alpha" in page.locator("#standings").inner_text()
    attack = browse(site / "attacks/jpeg.html", java_script_enabled=False)
    assert attack.locator("#data + .box table tbody tr").count() > 5
    records = browse(site / "records.html", java_script_enabled=False)
    assert "needs JavaScript" in records.locator("main").inner_text()


def test_outcomes_look_different_and_say_why(browse, site):
    page = browse(site / "index.html")
    looks = {}
    for word in ("failed", "blocked", "missing", "out-of-memory"):
        cell = page.locator(f".heat td.o-{word}").first
        looks[word] = cell.evaluate(
            """(cell) => ["backgroundColor", "backgroundImage", "outlineStyle", "fontWeight"]
              .map((name) => getComputedStyle(cell)[name]).join() + cell.textContent"""
        )
        assert cell.locator("sup").count() == 1
    assert len(set(looks.values())) == 4
    notes = page.locator("#heat ~ ol.notes, section[aria-labelledby=heat] ol.notes").inner_text()
    assert "the codec <b>broke</b>" in notes


def test_printed_pages_drop_what_paper_cannot_do(browse, site):
    page = browse(site / "index.html")
    page.emulate_media(media="print")
    assert page.locator("#tools").is_hidden()
    assert page.locator(".pin").first.is_hidden()
    heads = page.locator("#standings thead tr.heads").inner_text()
    assert "Score" in heads
    assert "Bit accuracy" in heads
    assert "alpha" in page.locator(".legend").first.inner_text()
    assert (
        page.locator(".box").first.evaluate("(box) => getComputedStyle(box).overflowX") == "visible"
    )


def test_a_legend_has_the_colours_of_its_chart(browse, site):
    page = browse(site / "methods/alpha.html")
    for key in ("d-copies", "d-real", "d-host"):
        swatch = page.locator(f".legend .key.{key}").evaluate(
            "(key) => getComputedStyle(key).borderTopColor"
        )
        area = page.locator(f"section[aria-labelledby=matches] .{key} .area").first.evaluate(
            "(area) => getComputedStyle(area).stroke"
        )
        assert swatch == area


def test_a_comparison_needs_nothing_beside_it(browse, run_folder, tmp_path):
    sides = [read_side(run_folder, label) for label in ("alpha", "gamma")]
    write_comparison([compare_sides(*sides)], tmp_path / "comparison.html")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["comparison.html"]
    page = browse(tmp_path / "comparison.html")
    assert page.locator("svg.chart").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.box')).overflowX") == "auto"
    column = page.locator("thead th", has_text="A - B").locator("button")
    column.click()
    cells = page.locator("tbody tr td:nth-child(4).number").all_inner_texts()
    values = [float(cell) for cell in cells]
    assert values == sorted(values)
    assert len(values) > 3
    assert violations(page) == []


def test_every_chart_has_words_and_its_numbers_in_a_table(browse, site):
    for name in ("index.html", "methods/alpha.html", "attacks/jpeg.html"):
        page = browse(site / name)
        for chart in page.locator("svg.chart").all():
            title, words = chart.get_attribute("aria-labelledby").split()
            assert page.locator(f"[id='{title}']").text_content()
            assert (
                "table" in page.locator(f"[id='{words}']").text_content()
                or name == "methods/alpha.html"
            )
