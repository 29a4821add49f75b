"""What readers do with a board: sort, filter, pin, follow, copy, download."""

import csv
import json

import pytest

from fpbench.report.inputs import read_inputs


def names(page) -> list[str]:
    rows = page.locator("#standings tbody tr:visible")
    return [row.get_attribute("data-method") for row in rows.all()]


def column(page, words: str):
    heads = page.locator("#standings thead tr.heads th")
    return heads.filter(has_text=words).first


def sort(page, words: str) -> None:
    column(page, words).locator("button").click()


def test_three_columns_sort_both_ways_and_say_so(browse, site):
    page = browse(site / "index.html")
    for words, first, order in (
        ("Score", "descending", ["alpha", "gamma"]),
        ("Bit accuracy", "descending", ["alpha", "beta", "delta <i>", "gamma"]),
        ("Name", "ascending", ["alpha", "beta", "delta <i>", "gamma", "gone"]),
    ):
        sort(page, words)
        assert column(page, words).get_attribute("aria-sort") == first
        assert page.locator("#standings th[aria-sort]").count() == 1
        once = names(page)
        sort(page, words)
        assert column(page, words).get_attribute("aria-sort") not in (None, first)
        assert once[: len(order)] == order
        # Sorting is stable: those alike stay in the order that they had.
        back = order[-1:] + order[:-1] if words == "Bit accuracy" else order[::-1]
        assert names(page)[: len(order)] == back


def test_strengths_sort_as_numbers(browse, site):
    page = browse(site / "attacks/weight-noise.html")
    page.locator("#data + .box thead th").first.locator("button").click()
    first = page.locator("#data + .box tbody tr th").all_inner_texts()
    assert list(dict.fromkeys(first)) == ["0.1", "0.4", "none"]
    page = browse(site / "methods/alpha.html")
    page.locator("table.main th", has_text="Point").locator("button").click()
    assert page.evaluate(
        """() => ["blur 0.5", "blur 0.05", "blur 10", "blur 2", "a 0.3"].sort(fpbench.natural)"""
    ) == ["a 0.3", "blur 0.05", "blur 0.5", "blur 2", "blur 10"]


def test_what_has_no_value_stays_last(browse, site):
    page = browse(site / "index.html")
    for _ in range(2):
        sort(page, "Score")
        assert names(page)[-1] in ("beta", "delta <i>", "gone")


def test_keys_do_what_the_mouse_does(browse, site):
    page = browse(site / "index.html")
    column(page, "Score").locator("button").focus()
    page.keyboard.press("Enter")
    assert column(page, "Score").get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert column(page, "Score").get_attribute("aria-sort") == "ascending"
    page.locator("tr[data-method=alpha] .pin").focus()
    page.keyboard.press("Enter")
    assert page.locator("tr[data-method=alpha] .pin").get_attribute("aria-pressed") == "true"
    page.reload()
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".box[tabindex='0']").count() == page.locator(".box").count()


def test_filters_hide_rows_and_say_how_many_are_left(browse, site):
    page = browse(site / "index.html")
    page.locator("#filter").fill("ta")
    assert sorted(names(page)) == ["beta", "delta <i>"]
    assert page.locator("#said").inner_text() == "2 of 5 methods shown"
    page.locator("#filter").fill("")
    page.locator("#kinds input[value=unavailable]").uncheck()
    assert "gone" not in names(page)
    page.locator("#groups input").first.uncheck()
    assert column(page, "Score").is_hidden()
    assert column(page, "Bit accuracy").is_visible()
    again = browse(site / "index.html", page.evaluate("location.hash"))
    assert column(again, "Score").is_hidden()
    assert "gone" not in names(again)
    again.locator("#filter").fill("pin")
    assert names(again) == []  # a button's word is no method's


def test_pinned_methods_stand_side_by_side_and_in_the_address(browse, site):
    page = browse(site / "index.html")
    assert page.locator("#compare").is_hidden()
    for name in ("alpha", "gamma"):
        page.locator(f"tr[data-method={name}] .pin").click()
    table = page.locator("#compare table")
    heads = table.locator("thead th").all_inner_texts()
    assert heads == ["Measure", "alpha", "gamma", "Difference"]
    row = table.locator("tr", has=page.locator("th", has_text="Attribution")).first
    assert row.locator("td").nth(2).inner_text() == "+0.450"
    again = browse(site / "index.html", page.evaluate("location.hash"))
    assert again.locator("#compare table thead th").all_inner_texts() == heads
    again.locator("#unpin").click()
    assert again.locator("#compare").is_hidden()


def test_no_more_than_four_are_compared(browse, site):
    page = browse(site / "index.html")
    for button in page.locator(".pin").all():
        button.click()
    assert page.locator("tr[data-pinned=true]").count() == 4
    assert "At most 4" in page.locator("#said").inner_text()


@pytest.mark.parametrize(
    "cell", [".heat td.number a", "#standings td.number a", ".heat td.o-failed a"]
)
def test_a_cell_leads_to_its_record(browse, site, run_folder, cell):
    page = browse(site / "index.html")
    link = page.locator(cell).first
    start = link.get_attribute("href").split("#")[1]
    link.click()
    page.wait_for_selector("#record:not([hidden])")
    record = next(r for r in read_inputs(run_folder).records if r["record_id"].startswith(start))
    shown = page.locator("#record tr", has=page.locator("th", has_text="record_id")).first
    assert record["record_id"] in shown.inner_text()
    page.locator("#record summary").click()
    assert json.loads(page.locator("#json").inner_text()) == record


def test_records_are_found_by_method_and_metric(browse, site, run_folder):
    page = browse(site / "records.html")
    page.wait_for_selector("#browse:not([hidden])")
    page.locator("#method").select_option("alpha")
    page.locator("#metric").select_option("attribution")
    records = read_inputs(run_folder).records
    wanted = [
        r for r in records if (r["method"].get("label"), r["metric"]) == ("alpha", "attribution")
    ]
    assert page.locator("#found").inner_text() == f"{len(wanted)} records"
    assert page.locator("#listed tbody tr").count() == len(wanted)
    page.evaluate("location.hash = '#0123456789abcdef'")
    page.wait_for_selector("#unknown:not([hidden])")


def test_the_citation_is_copied(browse, site):
    page = browse(site / "protocol.html")
    page.locator("button[data-copy=bibtex]").click()
    page.wait_for_function("document.querySelector('[data-copy]').textContent === 'Copied'")
    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.locator("textarea").focus()
    page.keyboard.press("Control+V")
    assert page.locator("textarea").input_value() == page.locator("#bibtex").inner_text()
    assert page.locator("#bibtex").inner_text().startswith("@misc{fpbench-fake,")


def test_downloads_are_the_records(browse, site, run_folder):
    records = read_inputs(run_folder).records
    page = browse(site / "index.html")
    with page.expect_download() as waited:
        page.locator("button[data-download=json]").click()
    lines = waited.value.path().read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == records
    with page.expect_download() as waited:
        page.locator("button[data-download=csv]").click()
    with waited.value.path().open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records)
    for row, record in zip(rows, records, strict=True):
        for name, value in record.items():
            read = row[name] if isinstance(value, str) else json.loads(row[name] or "null")
            assert read == value
        assert not any(row[name] for name in set(row) - set(record))


def test_a_legend_lifts_one_method_out(browse, site):
    page = browse(site / "index.html")
    button = page.locator(".legend li[data-index] button").first
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator(".chart .s.lit").count() > 0
    button.click()
    assert page.locator("body.dimmed").count() == 0
