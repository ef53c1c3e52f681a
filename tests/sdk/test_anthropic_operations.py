"""What Anthropic's SDK can do beside messages: batches, beta headers, images."""

import anthropic
import pytest
from anthropic import Anthropic
from conftest import since

MODEL = "claude-haiku-4-5"
MESSAGES = [{"role": "user", "content": "one two three"}]
CALL = {"model": MODEL, "messages": MESSAGES, "max_tokens": 5}


@pytest.fixture
def client(world, tenant):
    with Anthropic(base_url=world.url, api_key=tenant.key) as client:
        yield client


def nanos(row) -> int:
    """The cost of a row, exactly."""
    whole, _, places = row["cost_usd"].partition(".")
    return int(whole) * 10**9 + int(places.ljust(9, "0"))


@since("anthropic", 0, 42)
def test_a_batch_of_messages_goes_round_and_is_booked_once_at_half_price(client, tenant):
    requests = [{"custom_id": str(number), "params": CALL} for number in range(7)]
    made = client.messages.batches.create(requests=requests)
    assert (made.processing_status, made.results_url) == ("in_progress", None)
    assert tenant.rows() == []
    batch = client.messages.batches.retrieve(made.id)
    assert (batch.processing_status, batch.request_counts.succeeded) == ("ended", 7)
    assert made.id in [one.id for one in client.messages.batches.list()]
    for _ in range(3):
        # The SDK goes to the address that the batch names, with the key that it has.
        results = list(client.messages.batches.results(made.id))
        assert [result.result.type for result in results] == ["succeeded"] * 7
        [row] = tenant.rows()
    assert (row["tokens_in"], row["tokens_out"], row["model"]) == (21, 35, MODEL)
    # $1 and $5 a million, by half.
    assert nanos(row) == (21 * 1000 + 35 * 5000) // 2
    assert client.messages.batches.cancel(made.id).id == made.id
    assert client.messages.batches.delete(made.id).id == made.id
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(made.id)


@since("anthropic", 0, 42)
def test_a_batch_is_refused_where_it_cannot_be_bounded(client, tenant):
    tenant.act("anthropic", "disable")
    with pytest.raises(anthropic.PermissionDeniedError):
        client.messages.batches.create(requests=[{"custom_id": "a", "params": CALL}])


def test_images_go_through(client, tenant):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}
    content = [{"type": "text", "text": "one two three"}, image]
    message = client.messages.create(**{**CALL, "messages": [{"role": "user", "content": content}]})
    assert message.usage.input_tokens == 3
    assert len(tenant.rows()) == 1


@since("anthropic", 0, 42)
def test_betas_go_through(client, tenant):
    message = client.beta.messages.create(**CALL, betas=["context-1m-2025-08-07"])
    assert message.usage.output_tokens == 5
    assert len(tenant.rows()) == 1


def test_a_stream_that_is_cancelled_is_booked(client, tenant, world):
    world.faults(chunk_interval_ms=20)
    with client.messages.stream(**CALL) as stream:
        next(iter(stream))
    while not (rows := tenant.rows()):
        pass
    assert [(row["tokens_in"], row["tokens_out"], row["usage_source"]) for row in rows] == [(3, 5, "provider")]
