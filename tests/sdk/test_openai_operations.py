"""What OpenAI's SDK can do beside chat: responses, images, speech, moderations, files, batches."""

import json
import time
import urllib.request

import openai
import pytest
from conftest import since
from openai import OpenAI

MODEL = "gpt-4o-mini"  # 150 nano-dollars a token of input, 75 of cached input, 600 of output
CALL = {"model": MODEL, "input": "one two three", "max_output_tokens": 5}
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
    "strict": False,
}


@pytest.fixture
def client(world, tenant):
    with OpenAI(base_url=f"{world.url}/v1", api_key=tenant.key) as client:
        yield client


def nanos(row) -> int:
    """The cost of a row, exactly."""
    whole, _, places = row["cost_usd"].partition(".")
    return int(whole) * 10**9 + int(places.ljust(9, "0"))


def rows_once(tenant, count: int) -> list:
    """The rows, once there are so many: what is made in the background is booked later."""
    until = time.monotonic() + 60
    while len(rows := tenant.rows()) < count:
        assert time.monotonic() < until, rows
    return rows


@since("openai", 1, 66)
def test_a_response_is_answered_and_booked(client, tenant):
    response = client.responses.create(**CALL, instructions="be brief")
    assert len(response.output_text.split()) == 5
    assert (response.usage.input_tokens, response.usage.output_tokens) == (5, 5)
    [row] = tenant.rows()
    assert (row["tokens_in"], row["tokens_out"], row["model"]) == (5, 5, MODEL)
    assert (row["usage_source"], nanos(row)) == ("provider", 5 * 150 + 5 * 600)


@since("openai", 1, 66)
def test_a_streamed_response_is_whole_and_booked(client, tenant, world):
    world.faults(cached_tokens=2, reasoning_tokens=3)
    events = list(client.responses.create(**CALL, stream=True))
    kinds = [event.type for event in events]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.incomplete")
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert len(text.split()) == 5
    assert [event.sequence_number for event in events] == list(range(len(events)))
    with client.responses.stream(model=MODEL, input="one two three") as stream:
        assert stream.get_final_response().usage.output_tokens == 16
    for row, output in zip(tenant.rows(), [16, 5], strict=True):
        assert (row["tokens_in"], row["tokens_out"], row["usage_source"]) == (3, output, "provider")
        assert nanos(row) == 1 * 150 + 2 * 75 + output * 600


@since("openai", 1, 66)
def test_tools_and_images_go_through_a_response(client, tenant):
    response = client.responses.create(**CALL, tools=[TOOL], tool_choice="required")
    [call] = [item for item in response.output if item.type == "function_call"]
    assert call.name == "weather" and "text" in json.loads(call.arguments)
    content = [
        {"type": "input_text", "text": "one two"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGVsbG8=", "detail": "auto"},
    ]
    response = client.responses.create(model=MODEL, input=[{"role": "user", "content": content}])
    assert response.usage.input_tokens == 2
    assert len(tenant.rows()) == 2


@since("openai", 1, 66)
def test_searches_that_the_provider_runs_are_charged(client, tenant):
    client.responses.create(**CALL, tools=[{"type": "web_search"}])
    [row] = tenant.rows()
    assert nanos(row) == 3 * 150 + 5 * 600 + 10_000_000
    assert row["extra_data"]["tool_uses"]["web_search"] == 1


@since("openai", 1, 66)
def test_what_is_served_as_flex_costs_half(client, tenant):
    client.responses.create(**CALL, service_tier="flex")
    [row] = tenant.rows()
    assert nanos(row) == (3 * 150 + 5 * 600) // 2


@since("openai", 1, 66)
def test_a_response_in_the_background_is_booked_once_and_reading_it_is_free(client, tenant):
    response = client.responses.create(**CALL, background=True)
    assert (response.status, response.usage) == ("queued", None)
    rows_once(tenant, 1)
    for _ in range(3):
        response = client.responses.retrieve(response.id)
    assert (response.status, response.usage.output_tokens) == ("incomplete", 5)
    assert client.responses.cancel(response.id).id == response.id
    assert client.responses.input_items.list(response.id).data == []
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    [row] = tenant.rows()
    assert (row["tokens_in"], row["tokens_out"], row["usage_source"]) == (3, 5, "provider")
    assert nanos(row) == 3 * 150 + 5 * 600


@since("openai", 1, 66)
def test_a_response_that_is_cut_is_an_error_and_not_a_short_answer(client, world):
    world.faults(cut_after=4)
    with pytest.raises(openai.APIError):
        for _ in client.responses.create(**CALL, stream=True):
            pass


@since("openai", 1, 66)
def test_a_response_that_is_cancelled_in_its_middle_is_booked(client, tenant, world):
    world.faults(chunk_interval_ms=20)
    with client.responses.create(**CALL, stream=True) as stream:
        next(iter(stream))
    [row] = rows_once(tenant, 1)
    assert (row["tokens_in"], row["tokens_out"], row["usage_source"]) == (3, 5, "provider")


def test_a_chat_with_images_and_a_cancelled_stream_are_booked(client, tenant, world):
    content = [
        {"type": "text", "text": "one two three"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
    ]
    chat = {"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 5}
    assert client.chat.completions.create(**chat).usage.prompt_tokens == 3
    world.faults(chunk_interval_ms=20)
    with client.chat.completions.create(**chat, stream=True) as stream:
        next(iter(stream))
    used = [(row["tokens_in"], row["tokens_out"], row["usage_source"]) for row in rows_once(tenant, 2)]
    assert used == [(3, 5, "provider")] * 2


def test_images_and_speech_come_and_moderations_are_free(client, tenant):
    # Nano-dollars for a million tokens: $5 for text, $40 for images.
    prices = {"gpt-image-1": {"input": 5 * 10**9, "output": 0, "image_output": 40 * 10**9}}
    tenant.control("PATCH", f"/integrations/{tenant.integrations['openai']}", {"config": {"prices": prices}})
    images = client.images.generate(model="gpt-image-1", prompt="a calm sea", n=2)
    assert [image.b64_json for image in images.data] == ["YW4gaW1hZ2U="] * 2
    [row] = tenant.rows()
    assert nanos(row) == 3 * 5000 + 2112 * 40000
    speech = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "one two"}
    with client.audio.speech.with_streaming_response.create(**speech) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert len(b"".join(answer.iter_bytes())) == 4 * 11
    row = tenant.rows()[0]
    assert (row["tokens_in"], row["tokens_out"], row["usage_source"]) == (7, 56, "estimated")
    with client.audio.speech.with_streaming_response.create(**speech, extra_body={"stream_format": "sse"}) as answer:
        assert b"speech.audio.done" in b"".join(answer.iter_bytes())
    row = tenant.rows()[0]
    assert (row["tokens_in"], row["tokens_out"], row["usage_source"]) == (2, 4, "provider")
    assert client.moderations.create(input="one two").results[0].flagged is False
    assert len(tenant.rows()) == 3


def test_a_batch_goes_round_and_is_booked_once_at_half_price(client, tenant, world):
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 5}
    lines = [
        {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": chat}
        for number in range(20)
    ]
    lines.append({"custom_id": "v", "method": "POST", "url": "/v1/embeddings",
                  "body": {"model": "text-embedding-3-small", "input": "one two", "dimensions": 2}})
    content = "\n".join(json.dumps(line) for line in lines).encode()
    # The file is put there past the gateway: this is about what follows.
    with urllib.request.urlopen(f"{world.provider_url}/__files", data=content, timeout=60) as answer:
        file = json.load(answer)["id"]
    assert client.files.retrieve(file).bytes == len(content)
    made = client.batches.create(
        input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h"
    )
    batch = client.batches.retrieve(made.id)
    assert batch.status == "completed"
    assert made.id in [one.id for one in client.batches.list().data]
    assert tenant.rows() == []
    for _ in range(3):
        results = client.files.content(batch.output_file_id).text.splitlines()
        assert len(results) == 21
        rows = rows_once(tenant, 2)
        assert len(rows) == 2
    by_model = {row["model"]: row for row in rows}
    chats, vectors = by_model[MODEL], by_model["text-embedding-3-small"]
    assert (chats["tokens_in"], chats["tokens_out"]) == (60, 100)
    assert nanos(chats) == (60 * 150 + 100 * 600) // 2
    assert nanos(vectors) == 2 * 20 // 2
    assert chats["extra_data"]["calls"] == 20
    assert client.files.delete(file).deleted


def test_what_is_not_served_says_what_is(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.fine_tuning.jobs.list()
    assert caught.value.code == "unknown_path"
    assert "/v1/responses" in str(caught.value)
