"""The HTML report and the executed notebooks as a reader has them: in a browser, light and dark, at a desk and by phone."""

import html
import re
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
REPORT = "report.html"
NOTEBOOKS = ["1_eda", "4_figures", *(f"{step}-infection-bce_iou-seed0" for step in ("2_train", "3_evaluate"))]


@pytest.fixture
def opened(browser, project):
    """Open a file of the smoke report's folder, in a window and a colour scheme; it may load nothing but itself."""
    folder, contexts, requests, errors = project / "report" / "build" / "smoke", [], [], []

    def open_page(name=REPORT, window=DESK, scheme="light", **options):
        context = browser.new_context(viewport=window, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((folder / name).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors
    assert {url for url in requests if not url.startswith(("file:", "data:"))} == set()


def spills(page) -> int:
    """By how many pixels a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [DESK, PHONE], ids=["desk", "phone"])
def test_no_barriers_and_nothing_beside_the_window(opened, window, scheme):
    page = opened(window=window, scheme=scheme)
    assert spills(page) <= 0
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    # The dark page is dark, and its figures lie on white.
    colours = page.evaluate(
        "['html', '.enlarge img'].map(it => getComputedStyle(document.querySelector(it)).backgroundColor)"
    )
    assert colours == ["rgb(22, 24, 27)" if scheme == "dark" else "rgb(255, 255, 255)", "rgb(255, 255, 255)"]


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebooks_have_none_either(opened, notebook):
    page = opened(f"notebooks/{notebook}.html", PHONE)
    assert spills(page) <= 0 and page.locator("img").count() >= 3
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_every_link_leads_somewhere(opened, project):
    page = opened()
    links = page.eval_on_selector_all("a[href]", "all => all.map(it => it.getAttribute('href'))")
    ids = set(page.eval_on_selector_all("[id]", "all => all.map(it => it.id)"))
    folder = project / "report" / "build" / "smoke"
    for link in {link for link in links if not urlsplit(link).scheme}:
        there = unquote(link[1:]) in ids if link.startswith("#") else (folder / unquote(link)).is_file()
        assert there, link
    assert {"report.pdf", "results.json", "tables/table1.csv", "tables/scores.csv"} <= set(links)
    # Each executed notebook is a page that the report names, and leads back.
    executed = {f"notebooks/{path.stem}.html" for path in (project / "runs" / "smoke" / "notebooks").glob("*.ipynb")}
    assert executed == {link for link in links if link.startswith("notebooks/")} and len(executed) == 10
    page.goto((folder / "notebooks" / "4_figures.html").as_uri())
    page.get_by_role("link", name="Report", exact=True).click()
    page.wait_for_url("**/smoke/report.html")


def test_contents_stand_beside_the_text_or_are_folded(opened):
    page = opened()
    contents = page.locator("#contents a")
    headings = page.locator("main :is(h2, h3)").all_inner_texts()
    assert [" ".join(text.split()) for text in contents.all_inner_texts()] == headings
    page.get_by_role("link", name="VI. Discussion").click()
    page.wait_for_function("scrollY > 2000")
    page.wait_for_function("document.querySelector('#contents').getBoundingClientRect().top <= 20")
    assert contents.first.is_visible()
    page = opened(window=PHONE)
    contents = page.locator("#contents a")
    assert not contents.first.is_visible()
    page.get_by_text("Contents", exact=True).click()
    assert contents.first.is_visible()


@pytest.mark.parametrize("window", [DESK, PHONE], ids=["desk", "phone"])
def test_a_figure_is_enlarged_by_a_click_or_a_key(opened, window):
    page = opened(window=window)
    button, dialog = page.locator("#fig-lung button.enlarge"), page.get_by_role("dialog")
    width = button.locator("img").bounding_box()["width"]
    for show, close in [(button.click, dialog.locator("img").click), (lambda: button.press("Enter"), None)]:
        assert dialog.count() == 0
        show()
        assert dialog.locator("img").bounding_box()["width"] > 1.5 * width
        assert dialog.locator("img").get_attribute("alt") == button.locator("img").get_attribute("alt")
        close() if close else page.keyboard.press("Escape")


def test_copy_puts_a_table_on_the_clipboard(opened):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    table = page.locator("#tab-lung")
    table.get_by_role("button", name="Copy").click()
    table.get_by_role("button", name="Copied").wait_for()
    rows = [line.split("\t") for line in page.evaluate("navigator.clipboard.readText()").splitlines()]
    assert rows[0] == ["Loss", "Epoch", "Train loss", "Val loss", "MAE", "IoU", "Test MAE", "Test IoU"]
    assert [row[0] for row in rows[1:]] == ["BCE", "reported", "BCE+IoU", "reported"]
    assert all(re.fullmatch(r"\d\.\d{4}", cell) for cell in rows[1][2:])
    assert page.locator("table").count() == page.locator("button.copy").count()


def test_numbers_lead_to_the_run_that_made_them(opened):
    page = opened()
    trained, scored = page.locator("#tab-lung tr").nth(3).locator("a").nth(1), page.locator("#tab-beyond td a").last
    assert trained.get_attribute("href") == "notebooks/2_train-lung-bce_iou-seed0.html"
    assert scored.get_attribute("href") == "notebooks/3_evaluate-infection-bce_iou-seed0.html"
    number = float(trained.inner_text())
    trained.click()
    page.wait_for_url("**/2_train-*.html")  # a click does not wait for the page that it opens
    shown = [float(value) for value in re.findall(r"\b\d\.\d{6}\b", page.locator("main").inner_text())]
    assert min(abs(value - number) for value in shown) < 1e-4  # the same, with more digits


def test_on_paper_there_is_only_what_can_be_read(opened):
    page = opened(scheme="dark")
    page.locator(".enlarge").first.click()
    assert page.locator("dialog").is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    for screen_only in ("#contents", ".elsewhere", ".tools", ".executed", "dialog"):
        assert not page.locator(screen_only).first.is_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#fig-lung img").is_visible() and page.locator("#tab-scores table").is_visible()


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)


def test_a_number_stands_in_the_notebook_that_it_leads_to(project):
    """With more digits there, or as a share where the report says per cent."""
    folder = project / "report" / "build" / "smoke"

    def text(page: str) -> str:
        return html.unescape(re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", page, flags=re.S))

    shown = {
        path.name: [float(one.replace(",", "")) for one in numbers(text(path.read_text()))]
        for path in folder.glob("notebooks/*.html")
    }
    links = re.findall(r'<a href="notebooks/([^"]+)"[^>]*>(.*?)</a>', (folder / REPORT).read_text(), re.S)
    leading = [(notebook, one) for notebook, words in links for one in numbers(text(words))]
    assert len(leading) > 300
    for notebook, one in leading:
        value, half = float(one.replace(",", "")), 0.5001 * 10.0 ** -len(one.partition(".")[2])
        assert any(abs(scale * other - value) <= half for other in shown[notebook] for scale in (1, 100)), (
            notebook,
            one,
        )
