"""The official clients of one dialect at integrations that speak another, unchanged as ever."""

import json
import re
import subprocess
import sys
import time

import anthropic
import openai
import pytest
from anthropic import Anthropic
from conftest import ROOT
from openai import OpenAI

CLAUDE = "claude-haiku-4-5"
BEDROCK = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-lite-v1:0"
GPT = "gpt-4o-mini"
KEYS = {"access_key_id": "AKIDSIMULATED", "secret_access_key": "simulated-secret-access-key"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA}}
MESSAGES = [{"role": "user", "content": "one two three"}]


@pytest.fixture
def bedrock(world, tenant):
    tenant.connect("bedrock", "bedrock", KEYS, {"region": "us-east-1", "base_url": world.provider_url})
    return tenant


@pytest.fixture(params=["anthropic", "bedrock"])
def openai_call(request, world, bedrock):
    """OpenAI's client, and a call of its that goes to Anthropic or to Bedrock."""
    model = {"anthropic": CLAUDE, "bedrock": BEDROCK}[request.param]
    with OpenAI(base_url=f"{world.url}/v1", api_key=bedrock.key) as client:
        yield client, {"model": f"{request.param}/{model}", "messages": MESSAGES, "max_tokens": 5}


@pytest.fixture(params=["openai", "bedrock"])
def anthropic_call(request, world, bedrock):
    """Anthropic's client, and a call of its that goes to OpenAI or to Bedrock."""
    model = {"openai": GPT, "bedrock": BEDROCK}[request.param]
    with Anthropic(base_url=world.url, api_key=bedrock.key) as client:
        yield client, {"model": f"{request.param}/{model}", "messages": MESSAGES, "max_tokens": 5}


def booked(tenant) -> list:
    """The rows of calls that reached the provider, as its journal has them."""
    return [(row["model"], row["tokens_in"], row["tokens_out"]) for row in tenant.rows()]


def test_openais_client_chats(openai_call, bedrock, world):
    client, call = openai_call
    raw = client.chat.completions.with_raw_response.create(**call)
    answer = raw.parse()
    [choice] = answer.choices
    assert len(choice.message.content.split()) == 5 and choice.finish_reason == "length"
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 5, 8)
    assert raw.headers["x-tollgate-origin"] == "provider"
    assert answer._request_id == raw.headers["x-request-id"]
    [row] = bedrock.rows()
    assert row["cost_usd"] == raw.headers["x-tollgate-cost-usd"] and float(row["cost_usd"]) > 0
    assert row["usage_source"] == "provider"
    assert booked(bedrock) == world.billed()[:1]


def test_openais_client_streams(openai_call, bedrock, world):
    client, call = openai_call
    chunks = list(client.chat.completions.create(**call, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert len(text.split()) == 5 and chunks[-1].choices[0].finish_reason == "length"
    *_, last = client.chat.completions.create(**call, stream=True, stream_options={"include_usage": True})
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (3, 5)
    with client.chat.completions.stream(**call) as stream:
        stream.until_done()
        assert len(stream.current_completion_snapshot.choices[0].message.content.split()) == 5
    assert booked(bedrock) == world.billed()[:3]
    assert {row["usage_source"] for row in bedrock.rows()} == {"provider"}


def test_openais_client_has_tools_called_and_tells_what_they_gave(openai_call, bedrock):
    client, call = openai_call
    asked = {**call, "tools": [TOOL]}
    forced = {"type": "function", "function": {"name": "weather"}}
    message = client.chat.completions.create(**asked, tool_choice=forced).choices[0].message
    [tool_call] = message.tool_calls
    assert tool_call.function.name == "weather" and json.loads(tool_call.function.arguments)["text"]
    given = {"role": "tool", "tool_call_id": tool_call.id, "content": "sun"}
    answer = client.chat.completions.create(**{**asked, "messages": [*MESSAGES, message, given]})
    assert len(answer.choices[0].message.content.split()) == 5
    chunks = list(client.chat.completions.create(**asked, tool_choice="required", stream=True))
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert deltas[0].function.name == "weather" and deltas[0].id
    assert json.loads("".join(delta.function.arguments for delta in deltas))["text"]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_openais_client_sends_an_image(openai_call, bedrock, world):
    client, call = openai_call
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    content = [{"type": "text", "text": "what is this"}, picture]
    client.chat.completions.create(**{**call, "messages": [{"role": "user", "content": content}]})
    assert booked(bedrock) == world.billed()[:1]


def test_openais_client_is_told_what_has_no_counterpart(openai_call, bedrock):
    client, call = openai_call
    for more, param in [({"n": 2}, "n"), ({"seed": 1}, "seed"), ({"reasoning_effort": "low"}, "reasoning_effort")]:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**call, extra_body=more)
        assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")
    assert bedrock.rows() == []


def test_a_providers_error_is_what_openais_client_makes_of_it(openai_call, world):
    client, call = openai_call
    world.faults(error_rate=1.0, error_status=429)
    with pytest.raises(openai.RateLimitError) as caught:
        client.with_options(max_retries=0).chat.completions.create(**call)
    assert caught.value.response.headers["x-tollgate-origin"] == "provider"
    assert caught.value.body["message"]
    world.faults(error_rate=0.5, error_status=429)
    assert client.with_options(max_retries=3).chat.completions.create(**call).usage.completion_tokens == 5


def test_a_cut_stream_is_an_error_of_openais_client(openai_call, world):
    client, call = openai_call
    world.faults(cut_after=3)
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(**call, stream=True))


def test_a_stream_that_openais_client_leaves_is_booked_as_it_was_billed(openai_call, bedrock, world):
    client, call = openai_call
    world.faults(chunk_interval_ms=20)
    stream = client.chat.completions.create(**call, stream=True)
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 30
    while not bedrock.rows() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert booked(bedrock) == world.billed()[:1]


def test_other_makers_models_are_asked_in_bedrocks_words(world, bedrock):
    with OpenAI(base_url=f"{world.url}/v1", api_key=bedrock.key) as client:
        asked = {"model": f"bedrock/{NOVA}", "messages": MESSAGES, "max_completion_tokens": 5}
        assert client.chat.completions.create(**asked).model == NOVA
    assert booked(bedrock) == world.billed()[:1] == [(NOVA, 3, 5)]


def test_anthropics_client_gets_messages(anthropic_call, bedrock, world):
    client, call = anthropic_call
    raw = client.messages.with_raw_response.create(**call, system="be brief")
    message = raw.parse()
    [block] = message.content
    assert len(block.text.split()) == 5 and message.stop_reason == "max_tokens"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (5, 5)
    [row] = bedrock.rows()
    assert row["cost_usd"] == raw.headers["x-tollgate-cost-usd"] and float(row["cost_usd"]) > 0
    assert booked(bedrock) == world.billed()[:1]


def test_anthropics_client_streams(anthropic_call, bedrock, world):
    client, call = anthropic_call
    with client.messages.stream(**call) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert len(text.split()) == 5 and message.stop_reason == "max_tokens"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3, 5)
    kinds = [event.type for event in client.messages.create(**call, stream=True)]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    assert booked(bedrock) == world.billed()[:2]
    assert {row["usage_source"] for row in bedrock.rows()} == {"provider"}


def test_anthropics_client_has_tools_called_and_tells_what_they_gave(anthropic_call, bedrock):
    client, call = anthropic_call
    tool = {"name": "weather", "description": "The weather", "input_schema": SCHEMA}
    asked = {**call, "tools": [tool]}
    message = client.messages.create(**asked, tool_choice={"type": "tool", "name": "weather"})
    [block] = [block for block in message.content if block.type == "tool_use"]
    assert (block.name, message.stop_reason) == ("weather", "tool_use") and block.input["text"]
    given = {"type": "tool_result", "tool_use_id": block.id, "content": "sun"}
    said = [{"role": "assistant", "content": message.content}, {"role": "user", "content": [given]}]
    answer = client.messages.create(**{**asked, "messages": [*MESSAGES, *said]})
    assert len(answer.content[0].text.split()) == 5
    with client.messages.stream(**asked, tool_choice={"type": "any"}) as stream:
        streamed = stream.get_final_message()
    [block] = [block for block in streamed.content if block.type == "tool_use"]
    assert block.name == "weather" and block.input["text"] and streamed.stop_reason == "tool_use"


def test_anthropics_client_sends_an_image(anthropic_call, bedrock, world):
    client, call = anthropic_call
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "what is this"}]
    client.messages.create(**{**call, "messages": [{"role": "user", "content": content}]})
    assert booked(bedrock) == world.billed()[:1]


def test_anthropics_client_is_told_what_has_no_counterpart(anthropic_call, bedrock):
    client, call = anthropic_call
    for more, param in [({"top_k": 5}, "top_k"), ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking.type")]:
        with pytest.raises(anthropic.BadRequestError) as caught:
            client.messages.create(**call, extra_body=more)
        assert f"`{param}`" in caught.value.body["error"]["message"]
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.count_tokens(model=call["model"], messages=MESSAGES)
    assert caught.value.body["tollgate"]["code"] == "operation_not_served"
    assert bedrock.rows() == []


def test_a_providers_error_is_what_anthropics_client_makes_of_it(anthropic_call, world):
    client, call = anthropic_call
    world.faults(error_rate=1.0, error_status=429)
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.with_options(max_retries=0).messages.create(**call)
    assert caught.value.body["error"]["type"] == "rate_limit_error"
    assert caught.value.response.headers["x-tollgate-origin"] == "provider"


def test_a_cut_stream_is_an_error_of_anthropics_client(anthropic_call, world):
    client, call = anthropic_call
    world.faults(cut_after=3)
    with pytest.raises(anthropic.APIError):
        list(client.messages.create(**call, stream=True))


def test_a_compatible_server_and_an_azure_resource_answer_anthropics_client(world, tenant):
    tenant.connect("local", "custom", {"api_key": "x"}, {"base_url": f"{world.provider_url}/v1"})
    with Anthropic(base_url=world.url, api_key=tenant.key) as client:
        call = {"model": "local/any-model", "messages": MESSAGES, "max_tokens": 5}
        assert client.messages.create(**call).usage.output_tokens == 5
        with client.messages.stream(**call) as stream:
            assert len("".join(stream.text_stream).split()) == 5
    assert booked(tenant) == world.billed()[:2] == [("any-model", 3, 5)] * 2


def test_the_only_integration_of_a_tenant_is_found_and_none_of_another_dialect_takes_its_place(world, tenant):
    with OpenAI(base_url=f"{world.url}/v1", api_key=tenant.key) as client:
        tenant.act("openai", "disable")
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(model=CLAUDE, messages=MESSAGES, max_tokens=5)
        tenant.control("DELETE", f"/integrations/{tenant.integrations['openai']}")
        answer = client.chat.completions.create(model=CLAUDE, messages=MESSAGES, max_tokens=5)
        assert answer.usage.completion_tokens == 5
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="text-embedding-3-small", input="x")


def test_the_guides_python_works(world):
    guide = (ROOT / "docs/connect/cross-dialect.md").read_text()
    [snippet] = re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    snippet = snippet.replace("http://127.0.0.1:8080", world.url)
    snippet = snippet.replace("a caller's key of Tollgate", world.gateway.ready["caller_key"])
    ran = subprocess.run([sys.executable, "-c", f"{snippet}\nprint(answer.model)"], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == CLAUDE, ran.stderr
