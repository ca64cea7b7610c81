"""The page in a real browser: server and device, what leaves the browser, and accessibility.

Skipped with a reason if Chromium, Selenium or the packages of `npm install` are missing.
"""

import base64
import json
import urllib.error
import urllib.request

import pytest
from fastapi import APIRouter, HTTPException

from recsys.serving import explain
from recsys.serving.middleware.session_stores import MemoryStore, StoreUnavailableError
from recsys.serving.middleware.sessions import SessionMiddleware, in_memory
from recsys.serving.recommender import Recommender
from tests.runtimes import Serving, planted_file

pytestmark = pytest.mark.xdist_group("page")  # one process builds the shared fixtures

webdriver = pytest.importorskip("selenium.webdriver", reason="the page is driven with selenium: pip install selenium")
Keys, Wait = webdriver.Keys, pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait

OPEN_BYTES = """
const [text, done] = arguments;
const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
Promise.all(["device", "engine"].map((name) => import(`${location.origin}/page/${name}.mjs`)))
  .then(async ([{ loadRuntime }, { Engine }]) => Engine.open(await loadRuntime(), bytes))
  .then(() => done("opened"), (error) => done(error.message));
"""


@pytest.fixture(scope="module")
def path(dataset, tmp_path_factory):
    return planted_file(tmp_path_factory.mktemp("ring"), "sasrec", dataset)


@pytest.fixture(scope="module")
def served(path):
    with Serving(path) as served:
        yield served


@pytest.fixture
def shop_page(browser, served):
    opened(browser, served)
    wait(browser, lambda: part(browser, "[value=device]").is_enabled())
    return browser


def opened(driver, served, first=True):
    """Open the page, with an empty store on the first visit."""
    if first:
        asked = {"origin": served.url, "storageTypes": "local_storage"}
        driver.execute_cdp_cmd("Storage.clearDataForOrigin", asked)
    driver.get(served.url)
    wait(driver, lambda: texts(driver, "#answers .name"))


class Assistant:
    """Middleware with the endpoints of the assistant: titles, and recommendations for the history."""

    software = "<b>You talk to software.</b>"

    def __init__(self, path):
        self.recommender, self.heard = Recommender(path), []
        self.router = APIRouter()
        self.router.add_api_route("/ask", self.about, methods=["GET"])
        self.router.add_api_route("/ask", self.ask, methods=["POST"])
        self.router.add_api_route("/catalogue", self.catalogue, methods=["POST"])

    async def __call__(self, requests, call_next):
        return await call_next(requests)

    async def about(self):
        return {"software": self.software, "examples": ["something red", "cheaper"]}

    async def ask(self, body: dict):
        self.heard.append(body)
        if body["text"] == "fail":
            raise HTTPException(503, "the assistant rests")
        items = self.recommender.recommend(body["history"], k=2).items
        found = [
            {"item": i, "title": f"Thing {i}", "score": 1.0, "because": None, "columns": {"aisle": "a1"}} for i in items
        ]
        return {
            "say": f"<i>{body['text']}</i>",
            "items": found,
            "state": {"turn": len(self.heard)},
            "software": "Software.",
        }

    async def catalogue(self, body: dict):
        return {"items": {item: {"title": f"<u>Thing</u> {item}"} for item in body["items"] if item.startswith("i")}}


class Flaky(MemoryStore):
    """A store that is unavailable while `away` is set."""

    away = False

    async def read(self, customers):
        if self.away:
            raise StoreUnavailableError("away")
        return await super().read(customers)


def wait(driver, condition):
    return Wait(driver, 30, poll_frequency=0.05).until(lambda _: condition())


def part(driver, selector):
    return driver.find_element("css selector", selector)


def texts(driver, selector):
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((found) => found.textContent)", selector
    )


def pick(driver, place):
    """Press a tile and wait for the new list."""
    before = texts(driver, ".answer .score")
    driver.find_elements("css selector", ".tile")[place].click()
    wait(driver, lambda: texts(driver, ".answer .score") != before)


def choose_device(driver):
    part(driver, "[value=device]").click()
    wait(driver, lambda: "the model runs here" in part(driver, "#where").text)
    wait(driver, lambda: "on this device" in part(driver, "#took").text)


def test_picking_items_changes_the_list_and_the_history_can_be_taken_back(shop_page):
    newcomers = texts(shop_page, ".answer .name")
    pick(shop_page, 3)
    pick(shop_page, 7)
    items = texts(shop_page, ".tile .name")
    assert texts(shop_page, ".chip .name") == [items[3], items[7]]
    assert texts(shop_page, ".tile .times")[3] == "× 1"
    assert texts(shop_page, ".answer .name") != newcomers
    assert len(texts(shop_page, ".answer .name")) == 10
    part(shop_page, ".chip").click()
    wait(shop_page, lambda: texts(shop_page, ".chip .name") == [items[7]])
    part(shop_page, "#clear").click()
    wait(shop_page, lambda: texts(shop_page, ".answer .name") == newcomers)
    assert not shop_page.get_log("browser"), "the console is silent: no error, nothing against the policy"


def test_the_switch_and_the_number_change_the_list(shop_page):
    pick(shop_page, 0)
    item = texts(shop_page, ".chip .name")[0]
    part(shop_page, "#size").send_keys(Keys.CONTROL + "a", Keys.NULL, "25", Keys.TAB)
    wait(shop_page, lambda: len(texts(shop_page, ".answer")) == 24)
    assert item not in texts(shop_page, ".answer .name")
    part(shop_page, "#exclude").click()
    wait(shop_page, lambda: len(texts(shop_page, ".answer")) == 25)
    assert item in texts(shop_page, ".answer .name")


def test_both_engines_answer_alike_and_on_device_nothing_leaves_the_browser(shop_page, served):
    assert "sent to the server" in part(shop_page, "#where").text
    pick(shop_page, 3)
    by_server = texts(shop_page, ".answer .name")
    choose_device(shop_page)
    assert texts(shop_page, ".answer .name") == by_server
    fetched = "return performance.getEntriesByType('resource').length"
    before, known = shop_page.execute_script(fetched), len(served.asked)
    shop_page.set_network_conditions(offline=True, latency=0, throughput=-1)
    try:
        for place in (5, 8, 13):
            pick(shop_page, place)
    finally:
        shop_page.delete_network_conditions()
    assert len(texts(shop_page, ".chip")) == 4
    assert shop_page.execute_script(fetched) == before
    assert served.asked[known:] == []
    sent = [body for path, body in served.asked if path == "/recommend"]
    assert any(texts(shop_page, ".chip .name")[0] in body for body in sent), "the record sees what is sent"


def test_everything_comes_from_the_server_of_the_page(shop_page, served):
    choose_device(shop_page)
    addresses = shop_page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert any(address.endswith(".wasm") for address in addresses)
    assert all(address.startswith(served.url) for address in addresses)


@pytest.mark.slow
def test_a_file_that_holds_user_ids_is_refused_by_server_page_and_engine(browser, shop, tmp_path):
    path = planted_file(tmp_path, "two_tower", shop, "model.user_id=true", users=True)
    with Serving(path) as served:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{served.url}model.onnx")
        with refused.value as response:
            assert response.code == 403
            assert b"user ids" in response.read()
        opened(browser, served)
        wait(browser, lambda: "holds user ids" in part(browser, "#reason").text)
        assert not part(browser, "[value=device]").is_enabled()
        pick(browser, 0)
        said = browser.execute_async_script(OPEN_BYTES, base64.b64encode(path.read_bytes()).decode())
    assert "holds user ids, so it must not leave the server" in said


def test_without_the_runtime_the_page_says_how_to_get_it_and_the_server_answers(browser, path, tmp_path):
    with Serving(path, runtime=tmp_path / "nowhere") as served:
        browser.get(served.url)
        wait(browser, lambda: "npm install" in part(browser, "#reason").text)
        assert not part(browser, "[value=device]").is_enabled()
        pick(browser, 0)


def test_a_key_is_asked_for_once(browser, path):
    with Serving(path, api_key="secret") as served:
        browser.get(served.url)
        for key, title in (("wrong", "asks for a key"), ("secret", "refused")):
            wait(browser, lambda title=title: title in part(browser, "#door-title").text)
            part(browser, "#key").send_keys(key, Keys.ENTER)
        wait(browser, lambda: texts(browser, ".answer"))
        browser.refresh()
        wait(browser, lambda: texts(browser, ".answer"))
        choose_device(browser)


def test_ids_are_text_and_unknown_ones_are_marked(shop_page):
    part(shop_page, "#id").send_keys("<img src=x>", Keys.ENTER)
    wait(shop_page, lambda: texts(shop_page, ".strange .name") == ["<img src=x>"])
    assert not shop_page.find_elements("css selector", "main img")
    assert "for a newcomer" in part(shop_page, "#said").text


def test_the_keyboard_alone_picks_removes_and_chooses(shop_page):
    def press(*keys):
        webdriver.ActionChains(shop_page).send_keys(*keys).perform()

    def shift_tab():
        webdriver.ActionChains(shop_page).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()

    def step_to(selector, step=lambda: press(Keys.TAB)):
        for _ in range(40):
            if shop_page.execute_script("return document.activeElement.matches(arguments[0])", selector):
                return
            step()
        raise AssertionError(f"no {selector} within 40 steps")

    step_to("[name=engine]")
    press(Keys.ARROW_RIGHT)
    wait(shop_page, lambda: "on this device" in part(shop_page, "#took").text)
    step_to(".tile")
    press(Keys.ENTER, Keys.TAB, Keys.SPACE)
    wait(shop_page, lambda: len(texts(shop_page, ".chip")) == 2)
    assert shop_page.execute_script("return document.activeElement.className") == "tile"
    assert "after 2 known events" in wait(shop_page, lambda: part(shop_page, "#said").text)
    step_to(".chip", shift_tab)
    press(Keys.ENTER)
    wait(shop_page, lambda: len(texts(shop_page, ".chip")) == 1)
    assert shop_page.execute_script("return document.activeElement.className") == "chip"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(shop_page, scheme):
    screen = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    shop_page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    preferred = [{"name": "prefers-color-scheme", "value": scheme}]
    shop_page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preferred})
    try:
        pick(shop_page, 0)
        part(shop_page, "#id").send_keys("an id that is far too long for a phone " * 3, Keys.ENTER)
        wait(shop_page, lambda: texts(shop_page, ".strange"))
        assert shop_page.execute_script("return document.documentElement.scrollWidth") == 360
        bright = shop_page.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, bright[4:-1].split(","))) > 384) == (scheme == "light")
    finally:
        shop_page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        shop_page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_reasons_are_those_of_python_from_the_server_and_from_this_device(shop_page, path):
    assert texts(shop_page, ".because") == [""] * 10
    for place in (3, 7, 11):
        pick(shop_page, place)
    picked, items = texts(shop_page, ".chip .name"), texts(shop_page, "#answers .name")
    wanted = [because_of(reason) for reason in explain.explain(Recommender(path), items, picked)]
    assert any(wanted), "the planted ring gives reasons"
    wait(shop_page, lambda: texts(shop_page, ".because") == wanted)
    choose_device(shop_page)
    wait(shop_page, lambda: texts(shop_page, ".because") == wanted)


def because_of(reason):
    if reason.because is None:
        return ""
    return "because you picked it before" if reason.because == reason.item else f"because you picked {reason.because}"


def test_what_was_picked_is_the_history_of_the_next_visit_until_cleared(shop_page, served):
    pick(shop_page, 3)
    item = texts(shop_page, "#session .name")
    opened(shop_page, served, first=False)
    assert (texts(shop_page, "#past .name"), texts(shop_page, "#session .name")) == (item, [])
    pick(shop_page, 5)
    assert "after 2 known events" in wait(shop_page, lambda: part(shop_page, "#said").text)
    part(shop_page, "#clear").click()
    opened(shop_page, served, first=False)
    assert texts(shop_page, ".chip") == []


def test_a_server_with_a_store_is_told_of_each_pick_once(browser, path):
    store = Flaky(100, 60, 10)
    with Serving(path, middleware=[SessionMiddleware(store)]) as served:
        opened(browser, served)
        for place in (3, 7):
            pick(browser, place)
        wait(browser, lambda: "The server keeps this visit" in part(browser, "#where").text)
        items = texts(browser, "#session .name")
        told = [json.loads(body)["events"] for way, body in served.asked if way == "/events" and body]
        assert [[event["item"] for event in events] for events in told] == [[items[0]], [items[1]]]
        assert all(json.loads(body)["history"] == [] for way, body in served.asked if way == "/recommend" and body)
        assert "after 2 known events" in part(browser, "#said").text
        part(browser, "#session .chip").click()
        wait(browser, lambda: "after 1 known event," in part(browser, "#said").text)
        store.away = True
        pick(browser, 9)
        assert "is unavailable" in part(browser, "#where").text
        assert "after 2 known events" in part(browser, "#said").text
        store.away = False
        pick(browser, 11)
        assert "The server keeps this visit" in part(browser, "#where").text
        assert [len(events) for _, events in store._sessions.values()] == [3]
        part(browser, "#clear").click()
        wait(browser, lambda: not store._sessions)


def test_on_device_a_visit_that_was_kept_is_forgotten(browser, path):
    part_of = in_memory()
    with Serving(path, middleware=[part_of]) as served:
        opened(browser, served)
        pick(browser, 3)
        assert len(part_of.store._sessions) == 1
        wait(browser, lambda: part(browser, "[value=device]").is_enabled())
        choose_device(browser)
        wait(browser, lambda: not part_of.store._sessions)


def test_a_dialogue_beside_the_list(browser, path):
    assistant = Assistant(path)
    browser.get_log("browser")  # what other tests left there
    with Serving(path, middleware=[assistant]) as served:
        opened(browser, served)
        wait(browser, lambda: texts(browser, "#examples .name") == ["something red", "cheaper"])
        assert part(browser, "#software").text == assistant.software
        assert wait(browser, lambda: texts(browser, ".tile .name")[0].startswith("<u>Thing</u> i"))
        browser.find_elements("css selector", "#examples button")[0].click()
        wait(browser, lambda: texts(browser, "#turns p") == ["something red", "<i>something red</i>"])
        assert part(browser, "#software").text == "Software."
        found = browser.find_elements("css selector", "#turns .answer")
        assert len(found) == 2
        assert texts(browser, "#turns .because") == ["a1", "a1"]
        found[1].click()
        wait(browser, lambda: len(texts(browser, "#session .chip")) == 1)
        part(browser, "#words").send_keys("cheaper", Keys.ENTER)
        wait(browser, lambda: len(texts(browser, "#turns p")) == 4)
        assert [(body["text"], len(body["history"]), body["state"]) for body in assistant.heard] == [
            ("something red", 0, None),
            ("cheaper", 1, {"turn": 1}),
        ]
        assert not browser.get_log("browser")
        part(browser, "#words").send_keys("fail", Keys.ENTER)
        wait(browser, lambda: part(browser, "#trouble").text == "No answer: the assistant rests")
        part(browser, "#over").click()
        assert texts(browser, "#turns p") == []
        wait(browser, lambda: part(browser, "[value=device]").is_enabled())
        choose_device(browser)
        assert not part(browser, "#words").is_enabled()
        assert not browser.find_elements("css selector", "main b, main i, main u"), "what is said is text"
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_what_the_server_does_not_have_is_not_shown(shop_page):
    assert not part(shop_page, "#dialogue").is_displayed()
    assert "The server keeps this visit" not in part(shop_page, "#where").text
