"""AWS's own client for Bedrock, unchanged but for its endpoint and its key."""

import json
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from conftest import ask

SECRET = "simulated-secret-access-key"
KEYS = {"access_key_id": "AKIDSIMULATED", "secret_access_key": SECRET}
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
MESSAGES = [{"role": "user", "content": [{"text": "one two three"}]}]
CALL = {"modelId": MODEL, "messages": MESSAGES, "inferenceConfig": {"maxTokens": 5}}
TOOLS = {
    "tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}],
    "toolChoice": {"any": {}},
}


def connect(tenant, world, name="bedrock", credential=None, **config):
    tenant.connect(name, "bedrock", credential or KEYS, {"region": "us-east-1", "base_url": world.provider_url, **config})


def bedrock(url, key, secret="is not looked at"):
    """A client whose key stands in the environment, as applications have it. A bearer it sends by TLS only."""
    config = Config(retries={"max_attempts": 3, "mode": "standard"}, connect_timeout=10, read_timeout=60)
    keys = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    return boto3.client("bedrock-runtime", endpoint_url=url, region_name="eu-west-1", config=config, **keys)


@pytest.fixture
def connected(world, tenant):
    connect(tenant, world)
    return tenant


@pytest.fixture
def client(world, connected):
    return bedrock(world.url, connected.key)


def test_a_conversation_is_answered_signed_and_booked(client, connected, world):
    answer = client.converse(**CALL)
    [block] = answer["output"]["message"]["content"]
    assert len(block["text"].split()) == 5 and answer["stopReason"] == "max_tokens"
    assert answer["usage"]["totalTokens"] == 8
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-tollgate-origin"] == "provider" and answer["ResponseMetadata"]["RequestId"]
    [row] = connected.rows()
    assert (row["provider"], row["usage_source"]) == ("bedrock", "provider")
    # $3.30 and $16.50 a million tokens: the price of a region's profile.
    assert row["cost_usd"] == headers["x-tollgate-cost-usd"] == "0.000092400"
    assert connected.booked() == world.billed()[:1] == [(MODEL, 3, 5)]


def test_a_streamed_conversation(client, connected, world):
    events = list(client.converse_stream(**CALL)["stream"])
    text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
    assert len(text.split()) == 5
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 5
    assert connected.booked() == world.billed()[:1] == [(MODEL, 3, 5)]


def test_tools_go_through(client):
    answer = client.converse(**CALL, toolConfig=TOOLS)
    assert answer["output"]["message"]["content"][0]["toolUse"]["name"] == "weather"
    events = list(client.converse_stream(**CALL, toolConfig=TOOLS)["stream"])
    [start] = [event["contentBlockStart"] for event in events if "contentBlockStart" in event]
    assert start["start"]["toolUse"]["name"] == "weather"
    parts = [event["contentBlockDelta"]["delta"]["toolUse"]["input"] for event in events if "contentBlockDelta" in event]
    assert json.loads("".join(parts))
    asked = answer["output"]["message"]
    [use] = [block["toolUse"] for block in asked["content"] if "toolUse" in block]
    result = {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"text": "rain"}]}}
    messages = [*MESSAGES, asked, {"role": "user", "content": [result]}]
    told = {"tools": TOOLS["tools"]}
    assert client.converse(**{**CALL, "messages": messages}, toolConfig=told)["usage"]["outputTokens"] == 5


def test_vectors_are_asked_for_in_their_makers_words(client, connected, world):
    model = "amazon.titan-embed-text-v2:0"
    answer = client.invoke_model(modelId=model, body=json.dumps({"inputText": "one two three", "dimensions": 256}))
    vector = json.loads(answer["body"].read())
    assert (len(vector["embedding"]), vector["inputTextTokenCount"]) == (256, 3)
    [row] = connected.rows()
    # $0.02 a million tokens.
    assert (row["tokens_in"], row["tokens_out"], row["cost_usd"]) == (3, 0, "0.000000060")
    assert connected.booked() == world.billed()[:1] == [(model, 3, 0)]


def test_a_provider_that_is_busy_is_asked_again_as_the_client_does(client, connected, world):
    expected = 0
    for status in [429, 503]:
        world.faults(error_rate=1.0, error_status=status)
        with pytest.raises(ClientError) as caught:
            client.converse(**CALL)
        answer = caught.value.response["ResponseMetadata"]
        assert (answer["HTTPStatusCode"], answer["RetryAttempts"]) == (status, 3)
        expected += 4
        connected.exactly(expected)


def test_a_provider_that_does_not_answer_is_asked_once_and_charged_as_held(client, connected, world):
    world.faults(hang=True)
    with pytest.raises(ClientError) as caught:
        client.converse(**CALL)
    answer = caught.value.response["ResponseMetadata"]
    assert answer["RetryAttempts"] == 0
    assert answer["HTTPHeaders"]["x-tollgate-code"] == "upstream_timeout"
    [row] = connected.exactly(1)
    assert (row["usage_source"], row["error_code"]) == ("estimated", "upstream_timeout")


def test_an_image_in_the_prompt_goes_through(client, connected, world):
    picture = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
    client.converse(**{**CALL, "messages": [{"role": "user", "content": [picture, {"text": "what"}]}]})
    assert connected.booked() == world.billed()[:1] == [(MODEL, 1, 5)]


@pytest.mark.parametrize("model", [MODEL, LLAMA])
def test_models_in_their_makers_words(client, connected, world, model):
    body = {"prompt": "one two three", "max_gen_len": 5}
    if "anthropic" in model:
        text = [{"role": "user", "content": "one two three"}]
        body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": text}
    answer = client.invoke_model(modelId=model, body=json.dumps(body))
    assert json.loads(answer["body"].read())["stop_reason"] in ("max_tokens", "length")
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-bedrock-output-token-count"] == "5"
    stream = client.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))["body"]
    chunks = [json.loads(event["chunk"]["bytes"]) for event in stream]
    assert chunks[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 5
    assert connected.booked() == world.billed()[:2] == [(model, 3, 5)] * 2
    assert all(row["usage_source"] == "provider" for row in connected.rows())


def test_a_profile_is_called_by_its_arn_and_priced_as_its_model(tenant, world):
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456"
    connect(tenant, world, deployments={arn: "amazon.nova-lite-v1:0"}, aliases={"best": MODEL})
    tenant.limit("bedrock", budget_limit_cents=100)
    client = bedrock(world.url, tenant.key)
    client.converse(**{**CALL, "modelId": arn})
    assert world.billed()[0] == (arn, 3, 5)
    assert tenant.booked() == [("abc123def456", 3, 5)]
    # $0.06 and $0.24 a million tokens.
    assert tenant.rows()[0]["cost_usd"] == "0.000001380"
    client.converse(**{**CALL, "modelId": "best"})
    client.converse(**{**CALL, "modelId": f"bedrock/{MODEL}"})
    assert world.billed()[:2] == tenant.booked()[:2] == [(MODEL, 3, 5)] * 2


def test_a_bedrock_api_key_is_a_credential_too(tenant, world):
    connect(tenant, world, credential={"api_key": "bedrock-api-key-1"})
    assert bedrock(world.url, tenant.key).converse(**CALL)["usage"]["outputTokens"] == 5


def test_a_secret_that_is_not_the_accounts_is_no_answer_to_the_caller(tenant, world):
    connect(tenant, world, credential={**KEYS, "secret_access_key": "another-secret"})
    with pytest.raises(ClientError) as caught:
        bedrock(world.url, tenant.key).converse(**CALL)
    answer = caught.value.response
    assert answer["Error"]["Code"] == "InternalServerException"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-tollgate-code"] == "upstream_auth_failed"
    assert answer["ResponseMetadata"]["RetryAttempts"] == 0
    deadline = time.monotonic() + 30
    path = f"/integrations/{tenant.integrations['bedrock']}"
    while tenant.control("GET", path)["status"] != "error" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert tenant.control("GET", path)["status"] == "error"


def test_the_connection_is_probed_for_nothing(connected, world):
    path = f"/integrations/{connected.integrations['bedrock']}/test"
    assert connected.control("POST", path, {"force": True})["health_state"] == "healthy"
    assert connected.rows() == []


def test_a_key_is_wanted_and_stands_in_any_of_three_places(world, connected):
    for wrong in ["wrong", "AKIAIOSFODNN7EXAMPLE"]:
        with pytest.raises(ClientError) as caught:
            bedrock(world.url, wrong).converse(**CALL)
        assert caught.value.response["Error"]["Code"] == "UnrecognizedClientException"
        assert "AWS_BEARER_TOKEN_BEDROCK" in caught.value.response["Error"]["Message"]
    signing = bedrock(world.url, "AKIAIOSFODNN7EXAMPLE")

    def add_key(request, **_):
        request.headers["x-tollgate-key"] = connected.key

    signing.meta.events.register("before-send.bedrock-runtime", add_key)
    assert signing.converse(**CALL)["usage"]["outputTokens"] == 5
    told = {name: value for name, value in CALL.items() if name != "modelId"}
    answer = ask("POST", f"{world.url}/model/{MODEL}/converse", told, authorization=f"Bearer {connected.key}")
    assert answer["usage"]["outputTokens"] == 5


def test_the_simulated_provider_checks_signatures_as_awss_client_makes_them(world):
    assert bedrock(world.provider_url, "AKIDDIRECT", SECRET).converse(**CALL)["usage"]["outputTokens"] == 5
    with pytest.raises(ClientError) as caught:
        bedrock(world.provider_url, "AKIDDIRECT", "wrong").converse(**CALL)
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"


def test_a_spent_budget_is_an_exceeded_quota_after_one_attempt(client, connected):
    connected.limit("bedrock", budget_limit_cents=1)
    with pytest.raises(client.exceptions.ServiceQuotaExceededException) as caught:
        client.converse(**{**CALL, "inferenceConfig": {"maxTokens": 100_000}})
    answer = caught.value.response["ResponseMetadata"]
    assert (answer["HTTPStatusCode"], answer["RetryAttempts"]) == (402, 0)
    assert answer["HTTPHeaders"]["x-tollgate-code"] == "budget_exceeded"


def test_a_hard_cap_is_written_in_the_words_of_each(tenant, world):
    connect(tenant, world, hard_cap=True, default_max_output_tokens=7)
    client = bedrock(world.url, tenant.key)
    client.converse(modelId=MODEL, messages=MESSAGES)
    client.invoke_model(modelId=LLAMA, body=json.dumps({"prompt": "one two three"}))
    assert tenant.booked() == world.billed()[:2] == [(LLAMA, 3, 7), (MODEL, 3, 7)]


def test_a_providers_own_errors_are_what_the_client_makes_of_them(client, world):
    world.faults(error_rate=1.0, error_status=400)
    with pytest.raises(client.exceptions.ValidationException):
        client.converse(**CALL)
    world.faults(error_status=403)
    with pytest.raises(client.exceptions.AccessDeniedException):
        client.converse(**CALL)
    world.faults(error_rate=0.5, error_status=429)
    assert client.converse(**CALL)["usage"]["outputTokens"] == 5


def test_a_stream_that_breaks_off_ends_with_an_exception(client, connected, world):
    world.faults(cut_after=3)
    with pytest.raises(EventStreamError) as caught:
        list(client.converse_stream(**CALL)["stream"])
    assert "broke off" in str(caught.value)
    [row] = connected.rows()
    assert (row["error_code"], row["usage_source"]) == ("upstream_broken", "counted")


def test_a_stream_that_its_client_leaves_is_booked_as_it_was_billed(client, connected, world):
    world.faults(chunk_interval_ms=20)
    stream = client.converse_stream(**CALL)["stream"]
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 30
    while not connected.rows() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert connected.booked() == world.billed()[:1] == [(MODEL, 3, 5)]


def test_a_setting_that_cannot_be_bedrocks_is_refused_with_its_place(connected):
    for config, place in [
        ({}, "/config/region"),
        ({"region": "Virginia"}, "/config/region"),
        ({"region": "us-east-1", "base_url": "https://bedrock-runtime.eu-west-1.amazonaws.com"}, "/config/base_url"),
    ]:
        told = {"name": "mistaken", "provider_type": "bedrock", "credential": KEYS, "config": config}
        with pytest.raises(AssertionError) as caught:
            connected.control("POST", "/integrations", told)
        assert " 422 " in str(caught.value) and place in str(caught.value)
    [described] = [one for one in connected.control("GET", "/providers")["data"] if one["provider_type"] == "bedrock"]
    assert [field["name"] for field in described["config_fields"]][0] == "region"


def test_a_lists_path_is_no_models(world, connected):
    with pytest.raises(AssertionError) as caught:
        ask("POST", f"{world.url}/model/{MODEL}/count-tokens", {}, authorization=f"Bearer {connected.key}")
    assert " 404 " in str(caught.value)
