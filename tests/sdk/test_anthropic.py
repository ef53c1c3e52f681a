"""The official Anthropic SDK, unchanged but for its base URL and its key."""

import asyncio

import anthropic
import pytest
from conftest import PIXEL, since
from anthropic import Anthropic, AsyncAnthropic
from conftest import CANARY

MODEL = "claude-haiku-4-5"
MESSAGES = [{"role": "user", "content": "one two three"}]
CALL = {"model": MODEL, "messages": MESSAGES, "max_tokens": 5}
TOOL = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}},
}


@pytest.fixture
def client(world, tenant):
    with Anthropic(base_url=world.url, api_key=tenant.key) as client:
        yield client


def test_a_message_is_answered_and_booked(client, tenant):
    message = client.messages.create(**CALL, system="be brief")
    assert len(message.content[0].text.split()) == 5
    assert (message.usage.input_tokens, message.usage.output_tokens) == (5, 5)
    [row] = tenant.rows()
    assert (row["tokens_in"], row["tokens_out"], row["model"]) == (5, 5, MODEL)
    assert row["usage_source"] == "provider"


def test_a_key_may_come_as_a_bearer_token(world, tenant):
    with Anthropic(base_url=world.url, auth_token=tenant.key, api_key=None) as client:
        assert client.messages.create(**CALL).usage.output_tokens == 5


def test_a_streamed_message_is_whole_and_booked(client, tenant):
    with client.messages.stream(**CALL) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert len(text.split()) == 5
    assert (message.usage.output_tokens, message.stop_reason) == (5, "max_tokens")
    kinds = [event.type for event in client.messages.create(**CALL, stream=True)]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    used = [(row["tokens_in"], row["tokens_out"], row["usage_source"]) for row in tenant.rows()]
    assert used == [(3, 5, "provider")] * 2


def test_tools_go_through(client):
    message = client.messages.create(**CALL, tools=[TOOL], tool_choice={"type": "any"})
    [block] = [block for block in message.content if block.type == "tool_use"]
    assert (block.name, message.stop_reason) == ("weather", "tool_use")
    events = client.messages.create(**CALL, tools=[TOOL], tool_choice={"type": "any"}, stream=True)
    started = [event.content_block for event in events if event.type == "content_block_start"]
    assert [block.name for block in started] == ["weather"]
    asked = {"role": "assistant", "content": [block.model_dump(include={"type", "id", "name", "input"})]}
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "rain"}
    messages = [*MESSAGES, asked, {"role": "user", "content": [result]}]
    answer = client.messages.create(**{**CALL, "messages": messages}, tools=[TOOL])
    assert answer.usage.output_tokens == 5


def test_an_image_in_the_prompt_goes_through(client, tenant, world):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "what is it"}]
    message = client.messages.create(**{**CALL, "messages": [{"role": "user", "content": content}]})
    assert message.usage.output_tokens == 5
    assert tenant.booked() == world.billed()[:1] == [(MODEL, 3, 5)]


@since("anthropic", 0, 42)
def test_tokens_are_counted_and_models_listed_for_nothing(client, tenant):
    assert client.messages.count_tokens(model=MODEL, messages=MESSAGES).input_tokens == 3
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL
    assert tenant.rows() == []


def test_the_async_client_works_in_parallel(world, tenant):
    async def calls():
        async with AsyncAnthropic(base_url=world.url, api_key=tenant.key) as client:
            messages = await asyncio.gather(*(client.messages.create(**CALL) for _ in range(20)))
            assert all(message.usage.output_tokens == 5 for message in messages)
            async with client.messages.stream(**CALL) as stream:
                return await stream.get_final_message()

    assert asyncio.run(calls()).usage.output_tokens == 5
    assert len(tenant.rows()) == 21


def test_a_wrong_key_is_an_authentication_error_at_once(client):
    with pytest.raises(anthropic.AuthenticationError) as caught:
        client.with_options(api_key="sk-ant-wrong").messages.create(**CALL)
    assert caught.value.body["error"]["type"] == "authentication_error"
    assert caught.value.response.headers["request-id"]


def test_a_spent_budget_is_402_after_one_attempt(client, tenant):
    tenant.limit("anthropic", budget_limit_cents=1)
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.with_options(max_retries=5).messages.create(**{**CALL, "max_tokens": 20_000})
    assert caught.value.status_code == 402
    assert caught.value.body["error"]["type"] == "billing_error"
    [row] = tenant.exactly(1)
    assert (row["policy_result"], row["error_code"]) == ("blocked", "budget_exceeded")


def test_a_disabled_integration_is_permission_denied_after_one_attempt(client, tenant):
    tenant.act("anthropic", "disable")
    with pytest.raises(anthropic.PermissionDeniedError) as caught:
        client.with_options(max_retries=5).messages.create(**CALL)
    tenant.exactly(1)


def test_too_many_calls_a_minute_are_a_rate_limit_error_with_a_short_wait(client, tenant):
    tenant.limit("anthropic", rate_limit_rpm=1)
    client.messages.create(**CALL)
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.with_options(max_retries=0).messages.create(**CALL)
    assert caught.value.body["error"]["type"] == "rate_limit_error"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60


def test_a_providers_overload_is_what_the_sdk_makes_of_it(client, world):
    world.faults(error_rate=1.0, error_status=529)
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.with_options(max_retries=0).messages.create(**CALL)
    assert caught.value.status_code == 529
    assert caught.value.response.headers["x-tollgate-origin"] == "provider"


def test_a_provider_that_is_busy_is_asked_again_as_the_sdk_does(client, tenant, world):
    expected = 0
    for status in [429, 503, 529]:
        world.faults(error_rate=1.0, error_status=status, retry_after_s=1)
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.messages.create(**CALL)
        assert caught.value.status_code == status
        expected += 3
        tenant.exactly(expected)


def test_a_provider_that_does_not_answer_is_504_asked_once_and_charged_as_held(client, tenant, world):
    world.faults(hang=True)
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**CALL)
    assert caught.value.status_code == 504
    [row] = tenant.exactly(1)
    assert (row["usage_source"], row["error_code"]) == ("estimated", "upstream_timeout")


def test_a_stream_that_its_client_leaves_is_booked_as_it_was_billed(client, tenant, world):
    world.faults(chunk_interval_ms=20)
    stream = client.messages.create(**CALL, stream=True)
    next(iter(stream))
    stream.response.close()
    tenant.exactly(1)
    assert tenant.booked() == world.billed()[:1] == [(MODEL, 3, 5)]


def test_a_stream_that_is_cut_is_an_error_and_not_a_short_answer(client, world):
    world.faults(cut_after=4)
    with pytest.raises(anthropic.APIError):
        for _ in client.messages.create(**CALL, stream=True):
            pass


@since("anthropic", 0, 42)
def test_a_server_of_ones_own_that_speaks_like_anthropics_is_served_at_its_own_prices(world, tenant):
    config = {
        "base_url": world.provider_url,
        "dialect": "anthropic",
        "aliases": {"own-large": MODEL},
        "prices": {MODEL: {"input": 2_000_000_000, "output": 7_000_000_000}},
    }
    tenant.connect("own", "custom", {"api_key": CANARY}, config)
    call = {**CALL, "model": "own-large"}
    headers = {"x-tollgate-integration": "own"}
    with Anthropic(base_url=world.url, api_key=tenant.key, default_headers=headers) as client:
        raw = client.messages.with_raw_response.create(**call)
        with client.messages.stream(**call) as stream:
            assert len("".join(stream.text_stream).split()) == 5
        assert client.messages.count_tokens(model="own-large", messages=MESSAGES).input_tokens == 3
        assert client.models.retrieve(MODEL).id == MODEL
    # 3 tokens at $2 and 5 at $7 a million.
    assert raw.headers["x-tollgate-cost-usd"] == "0.000041000"
    rows = tenant.rows()
    assert [(row["provider"], row["model"], row["cost_usd"]) for row in rows] == [("custom", MODEL, "0.000041000")] * 2
    health = tenant.control("POST", f"/integrations/{tenant.integrations['own']}/test", {"force": True})
    assert health["health_state"] == "healthy", health
