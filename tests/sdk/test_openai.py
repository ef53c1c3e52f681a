"""The official OpenAI SDK, unchanged but for its base URL and its key."""

import asyncio
import time

import openai
import pytest
from conftest import CANARY, PIXEL, Program, since
from openai import AsyncOpenAI, OpenAI

MODEL = "gpt-4o-mini"
MESSAGES = [{"role": "user", "content": "one two three"}]
CALL = {"model": MODEL, "messages": MESSAGES, "max_tokens": 5}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
}


@pytest.fixture
def client(world, tenant):
    with OpenAI(base_url=f"{world.url}/v1", api_key=tenant.key) as client:
        yield client


def test_a_chat_is_answered_and_booked(client, tenant):
    answer = client.chat.completions.create(**CALL)
    assert len(answer.choices[0].message.content.split()) == 5
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 5)
    [row] = tenant.rows()
    assert (row["tokens_in"], row["tokens_out"], row["model"]) == (3, 5, MODEL)
    assert row["usage_source"] == "provider"


def test_the_raw_answer_has_its_headers(client):
    raw = client.chat.completions.with_raw_response.create(**CALL)
    assert raw.headers["x-tollgate-origin"] == "provider"
    assert raw.headers["x-tollgate-verdict"] == "allowed"
    assert float(raw.headers["x-tollgate-cost-usd"]) > 0
    assert raw.headers["x-request-id"]
    assert getattr(raw.parse(), "_request_id", raw.headers["x-request-id"]) == raw.headers["x-request-id"]


def test_a_stream_has_no_chunk_that_was_not_asked_for(client, tenant):
    chunks = list(client.chat.completions.create(**CALL, stream=True))
    assert all(chunk.choices for chunk in chunks), "a chunk without choices breaks applications"
    assert all(chunk.usage is None for chunk in chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert len(text.split()) == 5
    assert chunks[-1].choices[0].finish_reason == "length"
    [row] = tenant.rows()
    assert (row["tokens_in"], row["tokens_out"], row["usage_source"]) == (3, 5, "provider")


def test_a_stream_that_asks_for_usage_gets_it(client, tenant):
    stream = client.chat.completions.create(**CALL, stream=True, stream_options={"include_usage": True})
    *chunks, last = list(stream)
    assert all(chunk.choices for chunk in chunks)
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (3, 5)
    [row] = tenant.rows()
    assert (row["tokens_in"], row["tokens_out"], row["usage_source"]) == (3, 5, "provider")


@since("openai", 1, 92)
def test_the_streaming_helper_ends_with_the_whole_answer(client):
    with client.chat.completions.stream(model=MODEL, messages=MESSAGES) as stream:
        kinds = {event.type for event in stream}
        answer = stream.get_final_completion()
    assert "content.done" in kinds
    assert answer.choices[0].message.content


def test_tools_go_through(client):
    answer = client.chat.completions.create(**CALL, tools=[TOOL], tool_choice="required")
    [call] = answer.choices[0].message.tool_calls
    assert (call.function.name, answer.choices[0].finish_reason) == ("weather", "tool_calls")
    names = [
        call.function.name
        for chunk in client.chat.completions.create(**CALL, tools=[TOOL], tool_choice="required", stream=True)
        for call in chunk.choices[0].delta.tool_calls or []
        if call.function.name
    ]
    assert names == ["weather"]
    told = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    asked = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
    answer = client.chat.completions.create(**{**CALL, "messages": [*MESSAGES, asked, told]}, tools=[TOOL])
    assert answer.usage.completion_tokens == 5


def test_an_image_in_the_prompt_goes_through(client, tenant, world):
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    content = [{"type": "text", "text": "what is it"}, picture]
    answer = client.chat.completions.create(**{**CALL, "messages": [{"role": "user", "content": content}]})
    assert answer.usage.completion_tokens == 5
    assert tenant.booked() == world.billed()[:1] == [(MODEL, 3, 5)]


def test_completions_and_embeddings_are_answered_and_booked(client, tenant):
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="one two", max_tokens=4)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 4)
    chunks = list(
        client.completions.create(model="gpt-3.5-turbo-instruct", prompt="one two", max_tokens=4, stream=True)
    )
    assert all(chunk.choices for chunk in chunks)
    vectors = client.embeddings.create(model="text-embedding-3-small", input=["one two", "three"])
    assert len(vectors.data) == 2 and len(vectors.data[0].embedding) > 1
    assert vectors.usage.prompt_tokens == 3
    used = [(row["tokens_in"], row["tokens_out"]) for row in tenant.rows()]
    assert used == [(3, 0), (2, 4), (2, 4)]


def test_a_recording_is_written_down_and_booked(client, tenant):
    for size in (1_000, 700_000):
        answer = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=("speech.mp3", bytes(size)))
        assert len(answer.text.split()) == 16
    used = [(row["tokens_in"], row["tokens_out"], row["usage_source"]) for row in tenant.rows()]
    assert used == [(700, 16, "provider"), (1, 16, "provider")]


def test_models_are_listed_and_cost_nothing(client, tenant):
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL
    assert tenant.rows() == []


def test_members_that_nobody_here_knows_go_through(client):
    answer = client.chat.completions.create(**CALL, extra_body={"some_new_thing": {"a": [1]}}, user="u", seed=7)
    assert answer.usage.completion_tokens == 5


def test_the_async_client_works_in_parallel(world, tenant):
    async def calls():
        async with AsyncOpenAI(base_url=f"{world.url}/v1", api_key=tenant.key) as client:
            answers = await asyncio.gather(*(client.chat.completions.create(**CALL) for _ in range(20)))
            assert all(answer.usage.completion_tokens == 5 for answer in answers)
            stream = await client.chat.completions.create(**CALL, stream=True)
            return [chunk async for chunk in stream]

    chunks = asyncio.run(calls())
    assert all(chunk.choices for chunk in chunks)
    assert len(tenant.rows()) == 21


def test_a_wrong_key_is_an_authentication_error_at_once(client, world):
    for key in ["wrong", "sk-proj-1234567890"]:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.with_options(api_key=key).chat.completions.create(**CALL)
        assert caught.value.code == "invalid_api_key"
        assert caught.value.response.headers["x-request-id"]


def test_a_spent_budget_is_402_after_one_attempt(client, tenant):
    tenant.limit("openai", budget_limit_cents=1)
    large = {**CALL, "max_tokens": 100_000}
    started = time.monotonic()
    with pytest.raises(openai.APIStatusError) as caught:
        client.with_options(max_retries=5).chat.completions.create(**large)
    assert (caught.value.status_code, caught.value.code) == (402, "budget_exceeded")
    assert caught.value.type == "insufficient_quota"
    assert caught.value.response.json()["tollgate"]["resets_at"]
    assert time.monotonic() - started < 5
    [row] = tenant.exactly(1)
    assert (row["policy_result"], row["error_code"]) == ("blocked", "budget_exceeded")


def test_a_disabled_integration_is_permission_denied_after_one_attempt(client, tenant):
    tenant.act("openai", "disable")
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.with_options(max_retries=5).chat.completions.create(**CALL)
    assert caught.value.code == "integration_disabled"
    tenant.exactly(1)


def test_an_unknown_integration_is_not_found(client):
    for model in ["nobody/gpt-4o-mini"]:
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(**{**CALL, "model": model}, extra_headers={"x-tollgate-integration": "nobody"})


def test_a_throttled_call_waits_as_long_as_it_is_told_and_succeeds(client, tenant):
    tenant.limit("openai", rate_limit_rpm=2)
    for _ in range(2):
        client.chat.completions.create(**CALL)
    with pytest.raises(openai.RateLimitError) as caught:
        client.with_options(max_retries=0).chat.completions.create(**CALL)
    told = float(caught.value.response.headers["retry-after-ms"]) / 1000
    assert 50 < told <= 60
    started = time.monotonic()
    answer = client.with_options(max_retries=2).chat.completions.create(**CALL)
    waited = time.monotonic() - started
    assert answer.usage.completion_tokens == 5
    assert told - 3 < waited < told + 8, f"told to wait {told} s, waited {waited} s"
    rows = tenant.rows()
    assert [row["policy_result"] for row in rows].count("allowed") + [
        row["policy_result"] for row in rows
    ].count("warned") == 3


def test_a_providers_own_error_is_what_the_sdk_makes_of_it(client, world):
    world.faults(error_rate=1.0, error_status=500)
    with pytest.raises(openai.InternalServerError):
        client.with_options(max_retries=0).chat.completions.create(**CALL)
    world.faults(error_status=429, retry_after_s=1)
    with pytest.raises(openai.RateLimitError) as caught:
        client.with_options(max_retries=0).chat.completions.create(**CALL)
    assert caught.value.response.headers["x-tollgate-origin"] == "provider"


def test_a_provider_that_is_busy_is_asked_again_as_the_sdk_does(client, tenant, world):
    expected = 0
    for status, kind in [(429, openai.RateLimitError), (503, openai.InternalServerError)]:
        world.faults(error_rate=1.0, error_status=status, retry_after_s=1)
        with pytest.raises(kind):
            client.chat.completions.create(**CALL)
        expected += 3
        tenant.exactly(expected)
    world.no_faults()
    world.faults(error_rate=0.5, error_status=503)
    for _ in range(2):
        assert client.chat.completions.create(**CALL).usage.completion_tokens == 5
    rows = tenant.exactly(expected + 3)
    assert tenant.booked() == [(row["model"], row["tokens_in"], row["tokens_out"]) for row in rows]
    assert [row["tokens_out"] for row in rows].count(5) == 2


def test_a_provider_that_does_not_answer_is_504_asked_once_and_charged_as_held(client, tenant, world):
    world.faults(hang=True)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(**CALL)
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    [row] = tenant.exactly(1)
    assert (row["usage_source"], row["error_code"]) == ("estimated", "upstream_timeout")


def test_a_stream_that_its_client_leaves_is_booked_as_it_was_billed(client, tenant, world):
    world.faults(chunk_interval_ms=20)
    stream = client.chat.completions.create(**CALL, stream=True)
    next(iter(stream))
    stream.response.close()
    tenant.exactly(1)
    assert tenant.booked() == world.billed()[:1] == [(MODEL, 3, 5)]


def test_a_stream_that_is_cut_is_an_error_and_not_a_short_answer(client, world):
    world.faults(cut_after=3)
    with pytest.raises((openai.APIError, Exception)) as caught:
        for _ in client.chat.completions.create(**CALL, stream=True):
            pass
    assert isinstance(caught.value, openai.APIError), repr(caught.value)


def test_a_provider_that_refuses_the_key_is_not_the_callers_authentication_error(client, tenant, world):
    made = tenant.control(
        "POST",
        "/integrations",
        {
            "name": "refused",
            "provider_type": "openai",
            "credential": {"api_key": "bad-key-of-somebody"},
            "config": {"base_url": f"{world.provider_url}/v1"},
        },
    )
    tenant.control("POST", f"/integrations/{made['id']}/enable")
    through = client.with_options(max_retries=3, default_headers={"x-tollgate-integration": "refused"})
    with pytest.raises(openai.InternalServerError) as caught:
        through.chat.completions.create(**CALL)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_auth_failed")
    tenant.exactly(1)


def test_a_call_that_its_provider_refuses_is_answered_by_the_next_integration(world, tenant, tmp_path):
    backup = Program("simulate", "--json", "--listen", "127.0.0.1:0", log=tmp_path / "backup.log")
    try:
        place = {"base_url": f"{backup.ready['url']}/v1"}
        tenant.connect("backup", "openai", {"api_key": CANARY}, place)
        entry = {"integration": "backup", "model": "gpt-4o"}
        tenant.limit("openai", config={"fallback": [entry]})
        world.faults(error_rate=1.0, error_status=429, retry_after_s=30)
        headers = {"x-tollgate-integration": "openai"}
        with OpenAI(base_url=f"{world.url}/v1", api_key=tenant.key, default_headers=headers, max_retries=0) as client:
            raw = client.chat.completions.with_raw_response.create(**CALL)
            chunks = list(client.chat.completions.create(**CALL, stream=True))
        assert raw.parse().model == "gpt-4o"
        assert raw.headers["x-tollgate-attempts"] == "2"
        assert raw.headers["x-tollgate-integration"] == tenant.integrations["backup"]
        assert len("".join(chunk.choices[0].delta.content or "" for chunk in chunks).split()) == 5
    finally:
        backup.stop()
    rows = {row["call_id"]: row for row in tenant.rows()}
    answered = rows[raw.headers["x-tollgate-call-id"]]
    assert answered["cost_usd"] == raw.headers["x-tollgate-cost-usd"]
    refused = rows[answered["extra_data"]["attempt_of"]]
    assert (refused["error_code"], float(refused["cost_usd"])) == ("upstream_rate_limited", 0)
    assert len(rows) == 4
