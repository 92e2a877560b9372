"""Proves in a real browser that a report from disk works: clips play, tables sort, nothing is asked of the network."""

import shutil

from tests.visualisation.test_report import HOSTILE, home  # noqa: F401 - the fixture
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.visualisation.report import write_report


def test_a_report_from_disk_works_and_harmful_names_do_nothing(browser, home, tmp_path):  # noqa: F811
    copy = shutil.copytree(home, tmp_path / "copy")
    config = read_json(copy / "runs" / "a" / "config.json")
    write_json(copy / "runs" / "a" / "config.json", {**config, "system": HOSTILE})
    report, clips = write_report(tmp_path / "report.html", copy)
    for path, width in ((report, 1200), (report, 390), (clips, 390)):
        page, asked, said = browser.new_page(viewport={"width": width, "height": 800}), [], []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        page.goto(path.as_uri())
        page.locator(".clip").first.scroll_into_view_if_needed()
        canvas = page.locator(".clip canvas").first
        canvas.wait_for()
        page.wait_for_timeout(300)
        before = canvas.screenshot()
        page.locator(".vidseg-step").first.click()
        page.wait_for_timeout(300)
        assert canvas.screenshot() != before, "the frame before has another picture"
        assert not page.locator(".clip .still").first.is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == width, "the page is as wide as its window"
        assert page.evaluate("window.harm") is None
        assert not said
        assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {path.as_uri()}
        page.close()
    page = browser.new_page()
    page.goto(report.as_uri())
    page.locator("details:has-text('runs with their settings') > summary").click()
    table = page.locator("#runs table.sortable")
    names = table.locator("tbody td:first-child")
    first = names.all_inner_texts()
    table.locator("th button").first.click()
    table.locator("th button").first.click()
    assert names.all_inner_texts() == first[::-1]
    page.emulate_media(media="print")
    assert page.locator(".clip .still").first.is_visible() and not page.locator(".clip .screen").first.is_visible()
    page.close()
