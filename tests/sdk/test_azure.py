"""The official AzureOpenAI client, unchanged but for its endpoint and its key; and OpenAI's on an Azure integration."""

import json
import time
import urllib.request

import openai
import pytest
from conftest import CANARY, PIXEL, since
from openai import AzureOpenAI, OpenAI

MESSAGES = [{"role": "user", "content": "one two three"}]
CALL = {"model": "my-chat", "messages": MESSAGES, "max_tokens": 5}
VERSION = "2024-10-21"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
}


@pytest.fixture
def azure(world, tenant):
    config = {"endpoint": world.provider_url, "deployments": {"my-chat": "gpt-4o-mini"}}
    tenant.connect("azure", "azure_openai", {"api_key": CANARY}, config)
    return tenant


@pytest.fixture
def client(world, azure):
    with AzureOpenAI(azure_endpoint=world.url, api_key=azure.key, api_version=VERSION) as client:
        yield client


def test_a_chat_is_answered_and_booked_at_the_price_of_its_model(client, azure, world):
    raw = client.chat.completions.with_raw_response.create(**CALL)
    answer = raw.parse()
    assert len(answer.choices[0].message.content.split()) == 5
    [row] = azure.rows()
    assert (row["tokens_in"], row["tokens_out"], row["model"]) == (3, 5, "my-chat")
    assert (row["usage_source"], row["provider"]) == ("provider", "azure_openai")
    # $0.15 and $0.60 a million tokens.
    assert row["cost_usd"] == raw.headers["x-tollgate-cost-usd"] == "0.000003450"
    assert azure.booked() == world.billed()[:1]


def test_a_stream_keeps_azures_own_chunks_and_loses_the_one_that_was_not_asked_for(client, azure, world):
    first, *chunks = list(client.chat.completions.create(**CALL, stream=True))
    assert first.choices == [] and first.model_extra["prompt_filter_results"]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert len(text.split()) == 5
    *_, last = client.chat.completions.create(**CALL, stream=True, stream_options={"include_usage": True})
    assert last.usage.completion_tokens == 5
    assert azure.booked() == world.billed()[:2] == [("my-chat", 3, 5)] * 2


def test_a_version_that_knows_no_usage_in_streams_is_not_asked_for_it(world, azure):
    with AzureOpenAI(azure_endpoint=world.url, api_key=azure.key, api_version="2024-06-01") as client:
        chunks = list(client.chat.completions.create(**CALL, stream=True))
    assert chunks[-1].choices[0].finish_reason == "length"
    [row] = azure.rows()
    assert row["usage_source"] == "counted" and row["tokens_out"] >= 5


def test_tools_embeddings_and_models(client, azure, world):
    answer = client.chat.completions.create(**CALL, tools=[TOOL], tool_choice="required")
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    vectors = client.embeddings.create(model="my-vectors", input=["one two", "three"])
    assert len(vectors.data) == 2 and vectors.usage.prompt_tokens == 3
    text = client.completions.create(model="my-text", prompt="one two", max_tokens=4)
    assert text.usage.completion_tokens == 4
    assert azure.booked() == world.billed()[:3]
    assert "gpt-4o-mini" in [model.id for model in client.models.list()]
    assert len(azure.rows()) == 3


def test_tools_come_in_streams_too_and_so_do_their_results(client, azure):
    asked = client.chat.completions.create(**CALL, tools=[TOOL], tool_choice="required")
    [call] = asked.choices[0].message.tool_calls
    chunks = client.chat.completions.create(**CALL, tools=[TOOL], tool_choice="required", stream=True)
    deltas = [delta for chunk in chunks if chunk.choices for delta in chunk.choices[0].delta.tool_calls or []]
    assert [delta.function.name for delta in deltas if delta.function.name] == ["weather"]
    told = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    said = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
    answer = client.chat.completions.create(**{**CALL, "messages": [*MESSAGES, said, told]}, tools=[TOOL])
    assert answer.usage.completion_tokens == 5
    azure.exactly(3)


def test_an_image_in_the_prompt_goes_through(client, azure, world):
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    content = [{"type": "text", "text": "what is it"}, picture]
    client.chat.completions.create(**{**CALL, "messages": [{"role": "user", "content": content}]})
    assert azure.booked() == world.billed()[:1] == [("my-chat", 3, 5)]


@since("openai", 1, 66)
def test_responses_are_answered_and_booked_whole_and_streamed(client, azure, world):
    call = {"model": "my-chat", "input": "one two three", "max_output_tokens": 5}
    response = client.responses.create(**call)
    assert (len(response.output_text.split()), response.usage.output_tokens) == (5, 5)
    kinds = [event.type for event in client.responses.create(**call, stream=True)]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.incomplete")
    assert client.responses.retrieve(response.id).id == response.id
    rows = azure.exactly(2)
    # $0.15 and $0.60 a million tokens, of the model behind the deployment.
    assert [(row["model"], row["tokens_in"], row["tokens_out"], row["cost_usd"]) for row in rows] == [
        ("my-chat", 3, 5, "0.000003450")
    ] * 2
    with OpenAI(base_url=f"{world.url}/openai/v1", api_key=azure.key) as newer:
        assert newer.responses.create(**call).usage.output_tokens == 5
    assert azure.exactly(3)[0]["cost_usd"] == "0.000003450"


def test_a_batch_goes_round_and_is_booked_once_at_half_price(client, azure, world):
    chat = {"model": "gpt-4o-mini", "messages": MESSAGES, "max_tokens": 5}
    lines = [
        {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": chat} for number in range(4)
    ]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    # The file is put there past the gateway: this is about what follows.
    with urllib.request.urlopen(f"{world.provider_url}/__files", data=content, timeout=60) as answer:
        file = json.load(answer)["id"]
    made = client.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")
    batch = client.batches.retrieve(made.id)
    assert (batch.status, azure.rows()) == ("completed", [])
    for _ in range(2):
        assert len(client.files.content(batch.output_file_id).text.splitlines()) == 4
        [row] = azure.exactly(1)
    assert (row["model"], row["tokens_in"], row["tokens_out"]) == ("gpt-4o-mini", 12, 20)
    # Half of $0.15 and $0.60 a million tokens.
    assert row["cost_usd"] == "0.000006900"


def test_a_provider_that_is_busy_is_asked_again_as_the_client_does(client, azure, world):
    expected = 0
    for status, kind in [(429, openai.RateLimitError), (503, openai.InternalServerError)]:
        world.faults(error_rate=1.0, error_status=status, retry_after_s=1)
        with pytest.raises(kind):
            client.chat.completions.create(**CALL)
        expected += 3
        azure.exactly(expected)


def test_a_spent_budget_and_a_provider_that_does_not_answer_are_final(client, azure, world):
    world.faults(hang=True)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**CALL)
    assert caught.value.status_code == 504
    world.no_faults()
    azure.limit("azure", budget_limit_cents=1)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**{**CALL, "max_tokens": 100_000})
    assert (caught.value.status_code, caught.value.code) == (402, "budget_exceeded")
    assert [row["error_code"] for row in azure.exactly(2)] == ["budget_exceeded", "upstream_timeout"]


def test_a_token_in_place_of_the_key_is_the_tollgate_key_too(world, azure):
    with AzureOpenAI(azure_endpoint=world.url, azure_ad_token=azure.key, api_version=VERSION) as client:
        assert client.chat.completions.create(**CALL).usage.completion_tokens == 5


def test_openais_client_asks_azure_by_either_of_its_paths(world, azure):
    with OpenAI(base_url=f"{world.url}/openai/v1", api_key=azure.key) as client:
        assert client.chat.completions.create(**CALL).usage.completion_tokens == 5
    with OpenAI(base_url=f"{world.url}/v1", api_key=azure.key) as client:
        named = {**CALL, "model": "azure/my-chat"}
        assert client.chat.completions.create(**named).usage.completion_tokens == 5
    assert azure.booked() == world.billed()[:2] == [("my-chat", 3, 5)] * 2


def test_a_deployment_that_nobody_has_priced_is_refused_under_a_budget(client, azure):
    azure.limit("azure", budget_limit_cents=100)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(**{**CALL, "model": "unmapped"})
    assert caught.value.code == "price_unknown"
    assert client.chat.completions.create(**CALL).usage.completion_tokens == 5


def test_errors_are_what_the_client_makes_of_them(client, azure, world):
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").chat.completions.create(**CALL)
    world.faults(error_rate=1.0, error_status=429, retry_after_s=1)
    with pytest.raises(openai.RateLimitError):
        client.with_options(max_retries=0).chat.completions.create(**CALL)
    world.no_faults()
    world.faults(cut_after=4)
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(**CALL, stream=True))


def test_a_stream_that_its_client_leaves_is_booked_as_it_was_billed(client, azure, world):
    world.faults(chunk_interval_ms=20)
    with client.chat.completions.create(**CALL, stream=True) as stream:
        next(iter(stream))
    deadline = time.monotonic() + 30
    while not azure.rows() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert azure.booked() == world.billed()[:1] == [("my-chat", 3, 5)]


def test_a_setting_that_cannot_be_azures_is_refused_with_its_place(azure):
    for config, place in [
        ({"endpoint": "https://portal.azure.com"}, "/config/base_url"),
        ({"endpoint": "https://res.openai.azure.com", "api_version": "newest"}, "/config/api_version"),
        ({}, "/config/base_url"),
    ]:
        told = {
            "name": "mistaken",
            "provider_type": "azure_openai",
            "credential": {"api_key": CANARY},
            "config": config,
        }
        with pytest.raises(AssertionError) as caught:
            azure.control("POST", "/integrations", told)
        assert " 422 " in str(caught.value) and place in str(caught.value)


def test_a_recording_goes_to_the_deployment_of_its_path(client, azure):
    config = {"deployments": {"my-chat": "gpt-4o-mini", "my-speech": "gpt-4o-transcribe"}}
    azure.control("PATCH", f"/integrations/{azure.integrations['azure']}", {"config": config})
    for size in (1_000, 700_000):
        answer = client.audio.transcriptions.create(model="my-speech", file=("speech.mp3", bytes(size)))
        assert len(answer.text.split()) == 16
    rows = azure.rows()
    assert [(row["model"], row["tokens_in"], row["tokens_out"]) for row in rows] == [
        ("my-speech", 700, 16),
        ("my-speech", 1, 16),
    ]
    assert all(float(row["cost_usd"]) > 0 for row in rows)
