"""Reports in a real browser: nothing is cut off, nothing is loaded, and all text is legible in light and dark.

Skips, saying so, where Chromium or Selenium is missing.
"""

import json
import shutil

import pandas as pd
import pytest

from recsys.apps.reports.data_document import lay_out_data_report
from recsys.apps.reports.data_report import compute_data_report
from recsys.apps.reports.examples import collect_examples
from recsys.apps.reports.item_map import compute_item_map
from recsys.apps.reports.ranked_targets import rank_test_targets, select_test_users
from recsys.apps.reports.run_document import lay_out_run_report
from recsys.apps.reports.target_groups import compute_group_ndcg, group_by_history_length
from recsys.document import render_page
from tests.contracts.test_models import made

webdriver = pytest.importorskip("selenium.webdriver", reason="reports are looked at with selenium")
LONG = "An unusually long title of an item that no column of a phone is wide enough for, part two"

OUTSIDE = """
const wide = document.documentElement.clientWidth;
const inside = (one) => one.closest(".table") !== null;
return [...document.querySelectorAll("body *")].filter((one) => !inside(one) || one.matches(".table"))
  .filter((one) => one.getBoundingClientRect().right > wide + 1 || one.getBoundingClientRect().left < -1)
  .map((one) => `${one.tagName} ${one.textContent.trim().slice(0, 40)}`);
"""
CUT = """
return [...document.querySelectorAll("svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1
      || box.bottom > frame.bottom + 1;
  }).map((text) => `${svg.getAttribute("aria-label")}: ${text.textContent}`);
});
"""
OVER = """
return [...document.querySelectorAll("svg")].flatMap((svg) => {
  const level = [...svg.querySelectorAll("text")].filter((text) => !/rotate\\(-?[1-9]/.test(text.outerHTML));
  const boxes = level.map((text) => [text.getBoundingClientRect(), text.textContent]);
  return boxes.flatMap(([a, first], n) => boxes.slice(n + 1).filter(([b]) => a.left < b.right - 2
    && b.left < a.right - 2 && a.top < b.bottom - 3 && b.top < a.bottom - 3)
    .map(([, second]) => `${first} / ${second}`));
});
"""
FAINT = """
const light = (colour) => {
  const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
  return .2126 * parts[0] + .7152 * parts[1] + .0722 * parts[2];
};
const ground = (one) => {
  const colour = getComputedStyle(one).backgroundColor;
  return colour === "rgba(0, 0, 0, 0)" ? ground(one.parentElement) : colour;
};
const texts = [...document.querySelectorAll("h1, h2, h3, h4, p, th, td, li, mark, svg text")];
return texts.filter((one) => one.textContent.trim()).map((one) => {
  const style = getComputedStyle(one);
  const [a, b] = [light(one.closest("svg") ? style.fill : style.color), light(ground(one))];
  return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), one.textContent.slice(0, 40)];
}).filter(([contrast]) => contrast < 4.5);
"""


@pytest.fixture(scope="module")
def window():
    """A driver of headless Chromium that logs network requests; skips where Chromium is missing."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as found:
        yield found


@pytest.fixture(scope="module")
def pages(shop, tmp_path_factory):
    """The addresses of a data report and a run report with all their sections."""
    folder = tmp_path_factory.mktemp("pages")
    gone = pd.DataFrame({"title": [None] * 4 + ["x"] * 26, LONG: [None] * 30, "_row": [True] * 30})
    texts = {
        "data": render_page(lay_out_data_report(compute_data_report(shop, {"item": gone}))),
        "run": render_page(lay_out_run_report(whole_run(shop))),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text)
    return {name: (folder / f"{name}.html").as_uri() for name in texts}


def whole_run(shop):
    """The numbers of a run with baselines, curves, segments, context, examples and a map."""
    model = made("two_tower", shop)
    users = select_test_users(shop, 1000, 0)
    titles = [f"{LONG} {n}" for n in range(shop.n_items + shop.metadata["n_later_items"])]
    found = rank_test_targets(model, shop, users)
    names, own = group_by_history_length(shop, found.users)
    row = {"hr": 0.3, "recall": 0.2, "mrr": 0.1, "coverage": 0.4, "gini": 0.5, "popularity_lift": 2.0}
    models = ["two_tower", "personal_frequency", "recent_popularity", "popularity", "item_knn", "ease"]
    figures = [
        {"name": name, "model": not n, "ndcg": 0.4 - n / 20, "low": 0.38 - n / 20, "high": 0.42 - n / 20}
        | row | {"coverage": n / 6}
        for n, name in enumerate(models)
    ]  # fmt: skip
    curve = {"epoch": list(range(12)), "value": [2 - n / 10 for n in range(12)]}
    kinds = pd.Series([f"{LONG} {n % 7}" for n in range(shop.n_items)], name="aisle")
    return {
        "model": "two_tower", "data": "shop", "k": 10, "verdict": "two_tower beats it.", "ranked_users": len(users),
        "split": {"name": "GlobalTime", "hash": "0" * 64}, "not_run": [],
        "test": {"n_users": 2 * len(users), "n_targets": 100, "n_cold_targets": 3},
        "by": {"history length": dict.fromkeys(models[:2], compute_group_ndcg(found, names, own, 10, 3))},
        "figures": figures, "curves": {"train/loss": curve, "val/ndcg@10": curve}, "training": {"epoch": 7},
        "segments": {"user.age": {"20 to 30": {"users": 30, "ndcg": 0.1}}},
        "context": {"ndcg@10": 0.5, "fields": {"hour": {"unknown": 0.45, "shuffled": 0.4}}},
        "examples": collect_examples(model, shop, users[:3], 10, titles),
        "map": compute_item_map(model, shop, titles, kinds), "timing": {}, "environment": {"command": ["x" * 200]},
        "settings": {"model.dim": [64, 8], "data.path": ["???", "/a/" * 60]},
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["data", "run"])
def test_a_report_can_be_read(name, width, window, pages):
    window.get_log("performance")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    window.get(pages[name])
    assert window.execute_script("return document.querySelectorAll('svg').length") >= 5
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert window.execute_script(OUTSIDE) == []
        assert window.execute_script(CUT) == []
        assert window.execute_script(OVER) == []
        assert window.execute_script(FAINT) == []
        ground = window.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(15, 21, 20)") == (scheme == "dark")
    assert window.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in window.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [pages[name]]
