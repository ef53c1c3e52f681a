// What the official OpenAI SDK for Node can do beside chat: responses, pictures, speech, files, batches. What a version
// does not have yet is skipped.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";

import * as newest from "openai-newest";
import * as oldest from "openai-oldest";

import { PIXEL, World, thrown, used } from "./world.js";

const MODEL = "gpt-4o-mini";
const CALL = { model: MODEL, input: "one two three", max_output_tokens: 5 };
const SPEECH = "gpt-4o-transcribe";
const SOUND = Buffer.alloc(102_400, Uint8Array.from({ length: 256 }, (_, at) => at));
const TOOL = {
  type: "function",
  name: "weather",
  description: "The weather of a city",
  parameters: { type: "object", properties: { text: { type: "string" } } },
  strict: false,
};

const words = (said) => said.split(/\s+/).filter(Boolean).length;

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

for (const [age, sdk] of Object.entries({ oldest, newest })) {
  const OpenAI = sdk.default;
  const { toFile } = sdk;
  const known = new OpenAI({ apiKey: "of nobody" });
  const since = (has) => ({ skip: !has && "not in this version" });
  const responses = since(known.responses);
  const batches = since(known.batches);
  const speech = since(known.audio.speech);

  describe(`openai beside chat, ${age}`, () => {
    let world, tenant, client;

    before(async () => {
      world = await World.start();
    });
    after(() => world.close());
    beforeEach(async () => {
      await world.noFaults();
      tenant = await world.tenant();
      client = new OpenAI({ baseURL: `${world.url}/v1`, apiKey: tenant.key });
    });

    test("a response is answered and booked", responses, async () => {
      const response = await client.responses.create({ ...CALL, instructions: "be brief" });
      assert.equal(words(response.output_text), 5);
      const [row] = await tenant.exactly(1);
      assert.deepEqual([used(row), row.usage_source], [[MODEL, 5, 5], "provider"]);
    });

    test("a streamed response is whole and booked", responses, async () => {
      const events = await all(await client.responses.create({ ...CALL, stream: true }));
      const kinds = events.map((event) => event.type);
      assert.deepEqual([kinds[0], kinds.at(-1)], ["response.created", "response.incomplete"]);
      const text = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
      assert.equal(words(text.join("")), 5);
      const [row] = await tenant.exactly(1);
      assert.deepEqual([used(row), row.usage_source], [[MODEL, 3, 5], "provider"]);
    });

    test("tools, their results and pictures go through a response", responses, async () => {
      const asked = await client.responses.create({ ...CALL, tools: [TOOL], tool_choice: "required" });
      const [call] = asked.output.filter((item) => item.type === "function_call");
      assert.equal(call.name, "weather");
      const told = { type: "function_call_output", call_id: call.call_id, output: "rain" };
      const image = { type: "input_image", image_url: `data:image/png;base64,${PIXEL}`, detail: "auto" };
      const content = [{ type: "input_text", text: "one two" }, image];
      const input = [{ role: "user", content }, call, told];
      const answer = await client.responses.create({ ...CALL, input, tools: [TOOL] });
      assert.equal(answer.usage.output_tokens, 5);
      await tenant.exactly(2);
    });

    test("a response in the background is booked once, and reading it is free", responses, async () => {
      const made = await client.responses.create({ ...CALL, background: true });
      assert.equal(made.status, "queued");
      await tenant.exactly(1);
      for (let time = 0; time < 3; time++) {
        assert.equal((await client.responses.retrieve(made.id)).usage.output_tokens, 5);
      }
      const [row] = await tenant.exactly(1);
      assert.deepEqual([used(row), row.usage_source], [[MODEL, 3, 5], "provider"]);
    });

    test("a response that is cut is an error, and one that is left is booked as it was billed", responses, async () => {
      await world.faults({ cut_after: 4 });
      await thrown(async () => all(await client.responses.create({ ...CALL, stream: true })));
      const [cut] = await tenant.exactly(1);
      assert.equal(cut.error_code, "upstream_broken");
      await world.noFaults();
      await world.faults({ chunk_interval_ms: 20 });
      for await (const event of await client.responses.create({ ...CALL, stream: true })) {
        assert.equal(event.type, "response.created");
        break;
      }
      const [row] = await tenant.exactly(2);
      assert.deepEqual([used(row), (await world.billed())[0]], [[MODEL, 3, 5], [MODEL, 3, 5]]);
    });

    test("errors of operations beside chat are those of chat, and so are the tries", async () => {
      const vectors = (client) => client.embeddings.create({ model: "text-embedding-3-small", input: "one two" });
      const pictures = (client) => client.images.generate({ model: "gpt-image-1", prompt: "a calm sea" });
      const answers = (client) => client.responses.create(CALL);
      let rows = 0;
      for (const asked of known.responses ? [vectors, pictures, answers] : [vectors, pictures]) {
        const nobody = new OpenAI({ baseURL: `${world.url}/v1`, apiKey: "sk-proj-1234567890" });
        const refused = await thrown(() => asked(nobody));
        assert.ok(refused instanceof OpenAI.AuthenticationError, String(refused));
        for (const [status, kind] of [[429, OpenAI.RateLimitError], [503, OpenAI.InternalServerError]]) {
          await world.faults({ error_rate: 1, error_status: status, retry_after_s: status === 429 ? 1 : null });
          const error = await thrown(() => asked(client));
          assert.ok(error instanceof kind, String(error));
          rows += 3;
          await tenant.exactly(rows);
        }
        await world.noFaults();
      }
      await tenant.act("openai", "disable");
      assert.ok((await thrown(() => vectors(client))) instanceof OpenAI.PermissionDeniedError);
    });

    test("a recording arrives as it was sent, is written down and booked", async () => {
      const file = await toFile(SOUND, "speech.mp3");
      const answer = await client.audio.transcriptions.create({ file, model: SPEECH, prompt: "one two" });
      assert.equal(words(answer.text), 16);
      const [row] = await tenant.exactly(1);
      assert.deepEqual([used(row), row.usage_source, row.error_code], [[SPEECH, 105, 16], "provider", null]);
      const [form] = (await world.forms()).slice(-1);
      assert.deepEqual([form.file_bytes, form.fields.model], [SOUND.length, SPEECH]);
    });

    test("pictures are made and changed, and moderations are free", async () => {
      const made = await client.images.generate({ model: "gpt-image-1", prompt: "a calm sea", n: 2 });
      assert.equal(made.data.length, 2);
      const image = await toFile(Buffer.from(PIXEL, "base64"), "a.png", { type: "image/png" });
      const changed = await client.images.edit({ model: "gpt-image-1", image, prompt: "make it blue" });
      assert.equal(changed.data.length, 1);
      const rows = await tenant.exactly(2);
      assert.ok(rows.every((row) => row.model === "gpt-image-1" && row.usage_source === "provider"));
      assert.equal((await client.moderations.create({ input: "one two" })).results[0].flagged, false);
      await tenant.exactly(2);
    });

    test("speech comes as sound and as events", speech, async () => {
      const asked = { model: "gpt-4o-mini-tts", voice: "alloy", input: "one two" };
      const answer = await client.audio.speech.create(asked);
      assert.equal(answer.headers.get("content-type"), "audio/mpeg");
      assert.ok((await answer.arrayBuffer()).byteLength > 0);
      const events = await client.audio.speech.create({ ...asked, stream_format: "sse" });
      assert.match(await events.text(), /speech\.audio\.done/);
      const rows = await tenant.exactly(2);
      assert.deepEqual(rows.map((row) => row.usage_source), ["provider", "estimated"]);
    });

    test("a file is kept and costs nothing", async () => {
      const file = await toFile(Buffer.from("{}\n".repeat(1000)), "calls.jsonl");
      const kept = await client.files.create({ file, purpose: "fine-tune" });
      assert.equal(kept.bytes, 3000);
      assert.deepEqual(await tenant.rows(), []);
    });

    test("a batch goes round and is booked once at half price", batches, async () => {
      const messages = [{ role: "user", content: "one two three" }];
      const body = { model: MODEL, messages, max_tokens: 5 };
      const line = (id) => JSON.stringify({ custom_id: id, method: "POST", url: "/v1/chat/completions", body });
      // The file is put there past the gateway: this is about what follows.
      const put = await fetch(`${world.providerUrl}/__files`, { method: "POST", body: ["a", "b", "c"].map(line).join("\n") });
      const file = (await put.json()).id;
      const made = await client.batches.create({
        input_file_id: file, endpoint: "/v1/chat/completions", completion_window: "24h",
      });
      const batch = await client.batches.retrieve(made.id);
      assert.equal(batch.status, "completed");
      for (let time = 0; time < 2; time++) {
        const results = await (await client.files.content(batch.output_file_id)).text();
        assert.equal(results.trim().split("\n").length, 3);
        const [row] = await tenant.exactly(1);
        // Half of 9 × $0.15 and 15 × $0.60 a million.
        assert.deepEqual([used(row), row.cost_usd], [[MODEL, 9, 15], "0.000005175"]);
      }
    });

    test("what is not served says what is, and what to do instead", async () => {
      const error = await thrown(() => client.post("/uploads", { body: { filename: "a", bytes: 1 } }));
      assert.ok(error instanceof OpenAI.NotFoundError, String(error));
      assert.equal(error.code, "unknown_path");
      assert.match(error.message, /\/v1\/files/);
    });
  });
}
