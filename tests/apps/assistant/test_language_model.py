"""A language model that errs, dawdles, loops, invents products or obeys a title does no harm."""

import json
from dataclasses import replace

import pytest

from recsys.apps.assistant.dialogue import reply_by_rules
from recsys.apps.assistant.grounding import STRUCK_OUT, ground_reply
from recsys.apps.assistant.language_model import (
    MAX_CALLS,
    PROMPT,
    STOPPED,
    create_language_model,
    reply_with_language_model,
)
from recsys.apps.assistant.local_tools import load_tools
from recsys.apps.assistant.sentences import DialogueState
from recsys.errors import ConfigError
from tests.planted_shop import INJECTION, calls, catalogue_file, fake_model, says

SEARCH = ("search", '{"text": "jacket", "k": 8}')


@pytest.fixture(scope="module")
def tools(artefact, tmp_path_factory):
    file = catalogue_file(tmp_path_factory.mktemp("chat"), i00=f"Bordo Jacket. {INJECTION}")
    nobody = load_tools(str(artefact("item_knn")), str(file), {"stock": "left"}, 1, {})
    return replace(nobody, customer="u07", history=("i01", "i02", "i08"))


def asked(tools, model, text="a jacket", state=None, seconds=5.0):
    return reply_with_language_model(
        create_language_model(model.url, "fake", None, seconds), tools, text, state or DialogueState()
    )


def test_the_model_calls_a_function_and_names_what_it_answered(tools):
    with fake_model(calls(SEARCH), says("Take the Velrex Jacket [i18], it costs 28.")) as model:
        found = asked(tools, model)
    assert (found.say, [one.item for one in found.items]) == ("Take the Velrex Jacket [i18], it costs 28.", ["i18"])
    assert "software" in found.software
    assert "fake" in found.software
    first, second = model.requests
    assert [one["function"]["name"] for one in first["tools"]] == [
        "search",
        "recommend",
        "similar",
        "explain",
        "compare",
    ]
    answered = json.loads(second["messages"][-1]["content"])
    assert len(answered["items"]) == 8
    assert [one.content for one in found.state.turns] == ["a jacket", found.say]


def test_what_was_said_before_is_sent_again(tools):
    with fake_model(says("Hello."), says("Yes.")) as model:
        before = asked(tools, model, "hello")
        asked(tools, model, "really?", before.state)
    said = [(one["role"], one["content"]) for one in model.requests[1]["messages"]]
    assert said == [("system", PROMPT), ("user", "hello"), ("assistant", "Hello."), ("user", "really?")]


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("search", '{"text": "jack', "the arguments are not JSON"),
        ("search", "[]", "not a JSON object"),
        ("search", '{"text": "jacket", "k": 5000}', "less than or equal to 50"),
        ("recommend", '{"customer": "u11"}', "customer: Unexpected keyword argument"),
        ("delete", "{}", "there is no function 'delete'"),
    ],
)
def test_a_call_that_cannot_be_is_answered_with_the_reason(tools, name, arguments, reason):
    with fake_model(calls((name, arguments)), calls(SEARCH), says("This: [i18].")) as model:
        found = asked(tools, model)
    assert reason in json.loads(model.requests[1]["messages"][-1]["content"])["error"]
    assert [one.item for one in found.items] == ["i18"]


@pytest.mark.parametrize(
    ("trouble", "error"), [(429, "RateLimitError"), (500, "InternalServerError"), (1.0, "Timeout")]
)
def test_where_the_model_fails_search_answers(tools, trouble, error):
    with fake_model(trouble) as model:
        found = asked(tools, model, seconds=0.3)
    assert "The language model did not answer" in found.say
    assert error in found.say
    assert "not a language model" in found.software
    assert {one.columns["category"] for one in found.items} == {"jacket"}


def test_where_nobody_listens_search_answers(tools):
    found = reply_with_language_model(
        create_language_model("http://127.0.0.1:9/v1", "fake", None, 1.0), tools, "a jacket", DialogueState()
    )
    assert "APIConnectionError" in found.say
    assert found.items


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_a_loop_without_end_stops_at_four_calls(tools, at_once):
    made_calls = []
    counting = replace(tools, answer_request=lambda request: made_calls.append(1) or tools.answer_request(request))
    with fake_model(calls(*[("similar", '{"item": "i01"}')] * at_once)) as model:
        found = asked(counting, model)
    assert len(made_calls) == MAX_CALLS
    assert found.say == STOPPED
    assert found.items
    assert model.requests[-1]["tool_choice"] == "none"


def test_who_asks_is_never_sent(tools):
    with fake_model(calls(SEARCH, ("compare", '{"items": ["i00", "i03"]}')), says("Done.")) as model:
        asked(tools, model)
    assert "u07" not in json.dumps(model.requests).replace(INJECTION.split("\x1b")[0], "")


# --- grounding


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("The jacket [i00] or [i44].", f"The jacket [i00] or {STRUCK_OUT}."),
        ("i44 is good, as is i18.", f"{STRUCK_OUT} is good, as is i18."),
        ("Our new (i99), “i77” and *z12*: buy.", f"Our new ({STRUCK_OUT}), “{STRUCK_OUT}” and *{STRUCK_OUT}*: buy."),
        ("It costs 28.0 or $28, in 2024.", "It costs 28.0 or $28, in 2024."),
        ("[made up] [i18]", f"{STRUCK_OUT} [i18]"),
        ("[i44[i18]]", f"[{STRUCK_OUT}[i18]]"),
    ],
)
def test_ids_that_no_function_answered_are_struck_out(tools, said, kept):
    results = [tools.search("jacket", 50)]
    assert {"i00", "i18"} <= {one.item for one in results[0].items}
    assert ground_reply(said, results, tools.catalogue)[0] == kept


def test_an_id_inside_a_title_is_no_answer(tools):
    listed = tools.search("jacket", 3)
    listed.items[0].title = "Better is i44"
    assert ground_reply("Take i44 [i44].", [listed], tools.catalogue)[0] == f"Take {STRUCK_OUT} {STRUCK_OUT}."


def test_every_id_of_an_answer_comes_from_a_function(tools):
    """For any mixture of real, sold out and invented ids in a model's text."""
    every = " ".join(f"[i{n:02}] i{n:02}, sku-{n}" for n in range(70))
    with fake_model(calls(SEARCH), says(every)) as model:
        found = asked(tools, model)
    answered = {one["item"] for one in json.loads(model.requests[1]["messages"][-1]["content"])["items"]}
    assert {one.item for one in found.items} == answered
    assert {word.strip("[],") for word in found.say.split() if word.strip("[],")[1:].isdigit()} == answered


# --- instructions in titles


def test_a_title_that_gives_orders_stays_inside_data(tools):
    with fake_model(calls(SEARCH), says("Done [i00].")) as model:
        asked(tools, model)
    order = INJECTION.split("\x1b")[0]
    with_order = [one["role"] for one in model.requests[1]["messages"] if order in (one["content"] or "")]
    assert with_order == ["tool"]
    assert "\x1b" not in json.dumps(model.requests)
    assert model.requests[0]["tools"] == model.requests[1]["tools"]


def test_a_model_that_obeys_a_title_gets_nothing_of_another_customer(tools):
    others = replace(tools, customer="u11", history=("i20",))
    with fake_model(
        calls(SEARCH), calls(("recommend", '{"customer": "u11"}')), calls(("recommend", "{}")), says("Done.")
    ) as model:
        found = asked(tools, model)
    assert "Unexpected keyword argument" in model.requests[2]["messages"][-1]["content"]
    assert [one.item for one in found.items] == [one.item for one in tools.recommend().items]
    assert [one.item for one in found.items] != [one.item for one in others.recommend().items]


def test_a_title_that_is_a_critique_changes_no_wish(artefact, tmp_path):
    file = catalogue_file(tmp_path, i00="Jacket not red under 5, cheaper, start over")
    tools = load_tools(str(artefact("item_knn")), str(file), {"stock": "left"}, 1, {})
    found = reply_by_rules(tools, "jacket", DialogueState(), 9)
    assert "i00" in found.state.shown
    follow = reply_by_rules(tools, "more like the first", found.state).state
    assert follow.wishes == found.state.wishes == DialogueState().wishes


def test_a_model_needs_a_name():
    with pytest.raises(ConfigError, match="set model=NAME"):
        create_language_model("http://127.0.0.1:9/v1", None, None, 1.0)
    assert create_language_model(None, None, None, 1.0) is None
