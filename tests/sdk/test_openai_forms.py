"""The official OpenAI SDK sends recordings, pictures and files: forms of several parts."""

import hashlib
import io

import openai
import pytest
from openai import OpenAI

from conftest import ask, since

SOUND = bytes(range(256)) * 400
SPEECH = "gpt-4o-transcribe"


@pytest.fixture
def client(world, tenant):
    with OpenAI(base_url=f"{world.url}/v1", api_key=tenant.key) as client:
        yield client


def recording(size: int = len(SOUND)):
    file = io.BytesIO((SOUND * (size // len(SOUND) + 1))[:size])
    file.name = "speech.mp3"
    return file


def forms(world) -> list:
    return ask("GET", f"{world.provider_url}/__forms")


def test_a_recording_is_written_down_and_booked(client, tenant, world):
    answer = client.audio.transcriptions.create(model=SPEECH, file=recording(), prompt="one two")
    assert len(answer.text.split()) == 16
    usage = answer.model_dump()["usage"]
    assert (usage["type"], usage["input_tokens"], usage["output_tokens"]) == ("tokens", 105, 16)
    assert usage["input_token_details"]["audio_tokens"] == 103
    [row] = tenant.rows()
    assert (row["tokens_in"], row["tokens_out"], row["model"]) == (105, 16, SPEECH)
    assert (row["usage_source"], row["error_code"]) == ("provider", None)
    # 103 tokens of sound at $6, 2 of text at $2.50 and 16 out at $10 a million.
    assert row["cost_usd"] == "0.000783000"
    [form] = forms(world)
    assert (form["file_bytes"], form["fields"]["model"]) == (len(SOUND), SPEECH)


def test_a_recording_of_any_size_arrives_as_it_was_sent(client, world):
    for size in (1, 300_000, 5_000_000):
        sent = recording(size)
        with client.audio.transcriptions.with_streaming_response.create(model=SPEECH, file=sent) as answer:
            body = answer.http_response.request.read()
        form = forms(world)[-1]
        assert form["file_bytes"] == size
        assert (form["bytes"], form["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


@since("openai", 1, 68)
def test_a_streamed_transcription_ends_with_its_usage(client, tenant):
    events = list(client.audio.transcriptions.create(model=SPEECH, file=recording(), stream=True))
    assert [event.type for event in events] == ["transcript.text.delta"] * 16 + ["transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text
    [row] = tenant.rows()
    assert (row["tokens_in"], row["tokens_out"], row["usage_source"]) == (103, 16, "provider")


def test_formats_without_usage_come_as_they_are(client, tenant):
    for kind, part in {"text": "able", "srt": "-->", "vtt": "WEBVTT"}.items():
        said = client.audio.transcriptions.create(model="whisper-1", file=recording(), response_format=kind)
        assert part in said
    told = client.audio.transcriptions.create(model="whisper-1", file=recording(), response_format="verbose_json")
    assert told.model_dump()["usage"]["seconds"] == 7
    rows = tenant.rows()
    assert [row["usage_source"] for row in rows] == ["provider", "counted", "counted", "counted"]
    assert all(row["error_code"] is None for row in rows)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_translation_is_answered_and_booked(client, tenant):
    answer = client.audio.translations.create(model="whisper-1", file=recording())
    assert len(answer.text.split()) == 16
    [row] = tenant.rows()
    assert (row["model"], row["tokens_in"], row["tokens_out"]) == ("whisper-1", 0, 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_picture_is_changed_and_booked(client, tenant):
    answer = client.images.edit(model="gpt-image-1", image=("a.png", b"\x89PNG" * 100_000), prompt="make it blue")
    assert len(answer.data) == 1 and answer.data[0].b64_json
    [row] = tenant.rows()
    assert (row["model"], row["tokens_out"], row["usage_source"]) == ("gpt-image-1", 272, "provider")


@since("openai", 1, 76)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pictures_are_changed_and_booked(client, tenant):
    pictures = [("a.png", b"\x89PNG" * 100_000), ("b.png", b"\x89PNG" * 10)]
    answer = client.images.edit(model="gpt-image-1", image=pictures, prompt="make it blue", n=2)
    assert len(answer.data) == 2 and answer.data[0].b64_json
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (203, 544)
    varied = client.images.create_variation(image=("a.png", b"\x89PNG"))
    assert len(varied.data) == 1
    # DALL·E tells no usage: what was held for its picture stays.
    used = [(row["model"], row["tokens_in"], row["tokens_out"], row["usage_source"]) for row in tenant.rows()]
    assert used[1] == ("gpt-image-1", 203, 544, "provider")
    assert (used[0][0], used[0][3]) == ("dall-e-2", "estimated") and used[0][2] > 0


def test_a_file_is_kept_and_costs_nothing(client, tenant, world):
    kept = client.files.create(file=("calls.jsonl", b"{}\n" * 200_000), purpose="batch")
    assert (kept.bytes, kept.filename, kept.purpose) == (600_000, "calls.jsonl", "batch")
    assert tenant.rows() == []
    assert forms(world)[-1]["file_bytes"] == 600_000


def test_a_budget_that_does_not_hold_the_worst_case_refuses_the_upload_at_once(client, tenant):
    tenant.limit("openai", budget_limit_cents=1)
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model=SPEECH, file=recording(5_000_000))
    assert (caught.value.status_code, caught.value.code) == (402, "budget_exceeded")
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=recording())
    assert (caught.value.status_code, caught.value.code) == (403, "price_unknown")


def test_the_providers_own_refusal_of_an_upload_reaches_the_caller(client, world):
    world.faults(error_rate=1.0, error_status=413)
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model=SPEECH, file=recording(2_000_000))
    assert caught.value.status_code == 413
    assert caught.value.response.headers["x-tollgate-origin"] == "provider"
