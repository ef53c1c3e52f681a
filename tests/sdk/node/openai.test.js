// The official OpenAI SDK for Node, unchanged but for its base URL and its key: the oldest that is supported and the newest.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";

import * as newest from "openai-newest";
import * as oldest from "openai-oldest";

import { CANARY, PIXEL, World, thrown, used } from "./world.js";

const MODEL = "gpt-4o-mini";
const SPEECH = "gpt-4o-transcribe";
const MESSAGES = [{ role: "user", content: "one two three" }];
const CALL = { model: MODEL, messages: MESSAGES, max_tokens: 5 };
const TOOL = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { text: { type: "string" } } },
  },
};

async function all(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const text = (chunks) => chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("");
const words = (said) => said.split(/\s+/).filter(Boolean).length;

for (const [age, sdk] of Object.entries({ oldest, newest })) {
  const OpenAI = sdk.default;

  describe(`openai, ${age}`, () => {
    let world, tenant, client;
    const clientOf = (key, options = {}) => new OpenAI({ baseURL: `${world.url}/v1`, apiKey: key, ...options });

    before(async () => {
      world = await World.start();
    });
    after(() => world.close());
    beforeEach(async () => {
      await world.noFaults();
      tenant = await world.tenant();
      client = clientOf(tenant.key);
    });

    test("a chat is answered and booked", async () => {
      const answer = await client.chat.completions.create(CALL);
      assert.equal(words(answer.choices[0].message.content), 5);
      assert.deepEqual([answer.usage.prompt_tokens, answer.usage.completion_tokens], [3, 5]);
      const [row] = await tenant.exactly(1);
      assert.deepEqual([used(row), row.usage_source], [[MODEL, 3, 5], "provider"]);
      assert.deepEqual((await world.billed())[0], used(row));
    });

    test("the answer's headers say what it cost and where it comes from", async () => {
      const { data, response } = await client.chat.completions.create(CALL).withResponse();
      assert.equal(data.usage.completion_tokens, 5);
      assert.equal(response.headers.get("x-tollgate-origin"), "provider");
      assert.ok(Number(response.headers.get("x-tollgate-cost-usd")) > 0);
    });

    test("a stream has no chunk that was not asked for", async () => {
      const chunks = await all(await client.chat.completions.create({ ...CALL, stream: true }));
      assert.ok(chunks.every((chunk) => chunk.choices.length && !chunk.usage));
      assert.equal(words(text(chunks)), 5);
      assert.equal(chunks.at(-1).choices[0].finish_reason, "length");
      const [row] = await tenant.exactly(1);
      assert.deepEqual([used(row), row.usage_source], [[MODEL, 3, 5], "provider"]);
    });

    test("a stream that asks for usage gets it", async () => {
      const asked = { ...CALL, stream: true, stream_options: { include_usage: true } };
      const chunks = await all(await client.chat.completions.create(asked));
      const last = chunks.pop();
      assert.ok(chunks.every((chunk) => chunk.choices.length));
      assert.deepEqual(last.choices, []);
      assert.deepEqual([last.usage.prompt_tokens, last.usage.completion_tokens], [3, 5]);
    });

    test("tools go through, whole and streamed, and so do their results", async () => {
      const asked = { ...CALL, tools: [TOOL], tool_choice: "required" };
      const [choice] = (await client.chat.completions.create(asked)).choices;
      const [call] = choice.message.tool_calls;
      assert.deepEqual([call.function.name, choice.finish_reason], ["weather", "tool_calls"]);
      const chunks = await all(await client.chat.completions.create({ ...asked, stream: true }));
      const calls = chunks.flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? []);
      assert.deepEqual(calls.map((call) => call.function.name).filter(Boolean), ["weather"]);
      assert.ok(JSON.parse(calls.map((call) => call.function.arguments ?? "").join("")));
      const told = { role: "tool", tool_call_id: call.id, content: "rain" };
      const messages = [...MESSAGES, choice.message, told];
      const answer = await client.chat.completions.create({ ...CALL, messages, tools: [TOOL] });
      assert.equal(answer.usage.completion_tokens, 5);
    });

    test("an image in the prompt goes through", async () => {
      const url = `data:image/png;base64,${PIXEL}`;
      const content = [{ type: "text", text: "what is it" }, { type: "image_url", image_url: { url } }];
      const answer = await client.chat.completions.create({ ...CALL, messages: [{ role: "user", content }] });
      assert.equal(answer.usage.completion_tokens, 5);
      const [row] = await tenant.exactly(1);
      assert.deepEqual((await world.billed())[0], used(row));
    });

    test("completions and embeddings are answered and booked", async () => {
      const completion = { model: "gpt-3.5-turbo-instruct", prompt: "one two", max_tokens: 4 };
      assert.equal((await client.completions.create(completion)).usage.completion_tokens, 4);
      assert.ok((await all(await client.completions.create({ ...completion, stream: true }))).length);
      const asked = { model: "text-embedding-3-small", input: ["one two", "three"] };
      const vectors = await client.embeddings.create(asked);
      assert.equal(vectors.data.length, 2);
      assert.ok(vectors.data.every((vector) => vector.embedding.every(Number.isFinite)));
      const rows = await tenant.exactly(3);
      assert.deepEqual(rows.map((row) => [row.tokens_in, row.tokens_out]), [[3, 0], [2, 4], [2, 4]]);
    });

    test("a recording is written down and booked, wherever its model stands", async () => {
      const sound = Buffer.alloc(700_000, "sound");
      const file = () => sdk.toFile(sound, "speech.mp3");
      const answers = [
        await client.audio.transcriptions.create({ model: SPEECH, file: await file() }),
        await client.audio.transcriptions.create({ file: await file(), model: SPEECH }),
      ];
      assert.ok(answers.every((answer) => words(answer.text) === 16));
      const rows = await tenant.exactly(2);
      assert.deepEqual(rows.map(used), [[SPEECH, 700, 16], [SPEECH, 700, 16]]);
      assert.ok(rows.every((row) => row.usage_source === "provider"));
      const arrived = (await world.forms()).slice(-2);
      assert.ok(arrived.every((form) => form.file_bytes === sound.length));
    });

    test("a large upload that is refused is told why, and is not sent again", async () => {
      const file = await sdk.toFile(Buffer.alloc(20_000_000), "speech.mp3");
      const upload = (client) => thrown(() => client.audio.transcriptions.create({ model: SPEECH, file }));
      const error = await upload(clientOf("sk-proj-1234567890"));
      assert.deepEqual([error.status, error.code], [401, "invalid_api_key"], String(error));
      await tenant.limit("openai", { budget_limit_cents: 1 });
      const spent = await upload(client);
      assert.deepEqual([spent.status, spent.code], [402, "budget_exceeded"], String(spent));
      await tenant.exactly(1);
    });

    test("models are listed and cost nothing", async () => {
      const models = await all(await client.models.list());
      assert.ok(models.some((model) => model.id === MODEL));
      assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
      assert.deepEqual(await tenant.rows(), []);
    });

    test("many calls at once are each booked", async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => client.chat.completions.create(CALL)));
      assert.ok(answers.every((answer) => answer.usage.completion_tokens === 5));
      await tenant.exactly(20);
    });

    test("errors are the ones that the SDK has for them, and what is final is asked once", async () => {
      const error = await thrown(() => clientOf("sk-proj-1234567890").chat.completions.create(CALL));
      assert.ok(error instanceof OpenAI.AuthenticationError, String(error));
      assert.deepEqual([error.status, error.code], [401, "invalid_api_key"]);

      const elsewhere = clientOf(tenant.key, { defaultHeaders: { "x-tollgate-integration": "nobody" } });
      const unknown = await thrown(() => elsewhere.chat.completions.create(CALL));
      assert.ok(unknown instanceof OpenAI.NotFoundError, String(unknown));

      const odd = await thrown(() => client.chat.completions.create({ ...CALL, max_tokens: "many" }));
      assert.ok(odd instanceof OpenAI.BadRequestError, String(odd));
      assert.deepEqual(await tenant.rows(), []);

      await tenant.limit("openai", { budget_limit_cents: 1 });
      const large = { ...CALL, max_tokens: 100_000 };
      const spent = await thrown(() => client.chat.completions.create(large));
      assert.ok(spent instanceof OpenAI.APIError, String(spent));
      assert.deepEqual([spent.status, spent.code, spent.type], [402, "budget_exceeded", "insufficient_quota"]);
      const [row] = await tenant.exactly(1);
      assert.deepEqual([row.policy_result, row.error_code], ["blocked", "budget_exceeded"]);

      await tenant.act("openai", "disable");
      const disabled = await thrown(() => client.chat.completions.create(CALL));
      assert.ok(disabled instanceof OpenAI.PermissionDeniedError, String(disabled));
      assert.equal(disabled.code, "integration_disabled");
    });

    test("a throttled call is tried again, and each try is refused before it leaves", async () => {
      await tenant.limit("openai", { rate_limit_rpm: 1 });
      await client.chat.completions.create(CALL);
      const billed = (await world.billed()).length;
      const error = await thrown(() => clientOf(tenant.key, { maxRetries: 0 }).chat.completions.create(CALL));
      assert.ok(error instanceof OpenAI.RateLimitError, String(error));
      assert.equal(error.code, "rate_limit_exceeded");
      assert.equal((await world.billed()).length, billed);
      await tenant.exactly(2);
    });

    test("a provider's own errors pass, and are tried again as the SDK does", async () => {
      const kinds = [[429, OpenAI.RateLimitError], [500, OpenAI.InternalServerError], [503, OpenAI.InternalServerError]];
      let rows = 0;
      for (const [status, kind] of kinds) {
        await world.faults({ error_rate: 1, error_status: status, retry_after_s: status === 429 ? 1 : null });
        const error = await thrown(() => client.chat.completions.create(CALL));
        assert.ok(error instanceof kind, String(error));
        assert.equal(error.status, status);
        rows += 3;
        await tenant.exactly(rows);
      }
      await world.noFaults();
      await world.faults({ error_rate: 0.5, error_status: 503 });
      for (let call = 0; call < 2; call++) await client.chat.completions.create(CALL);
      const answered = (await tenant.exactly(rows + 3)).filter((row) => row.tokens_out === 5);
      assert.equal(answered.length, 2);
    });

    test("a provider that does not answer is 504, asked once and charged as held", async () => {
      await world.faults({ hang: true });
      const error = await thrown(() => client.chat.completions.create(CALL));
      assert.ok(error instanceof OpenAI.InternalServerError, String(error));
      assert.deepEqual([error.status, error.code], [504, "upstream_timeout"]);
      const [row] = await tenant.exactly(1);
      assert.deepEqual([row.usage_source, row.error_code], ["estimated", "upstream_timeout"]);
    });

    test("a provider that refuses the stored key is not the caller's authentication error", async () => {
      const config = { base_url: `${world.providerUrl}/v1` };
      await tenant.connect("refused", "openai", { api_key: "bad-key-of-somebody" }, config);
      const through = clientOf(tenant.key, { defaultHeaders: { "x-tollgate-integration": "refused" } });
      const error = await thrown(() => through.chat.completions.create(CALL));
      assert.ok(error instanceof OpenAI.InternalServerError, String(error));
      assert.deepEqual([error.status, error.code], [502, "upstream_auth_failed"]);
      await tenant.exactly(1);
    });

    test("a stream that is cut is an error and not a short answer", async () => {
      await world.faults({ cut_after: 3 });
      await thrown(async () => all(await client.chat.completions.create({ ...CALL, stream: true })));
      const [row] = await tenant.exactly(1);
      assert.equal(row.error_code, "upstream_broken");
    });

    test("a stream that its client leaves is booked as it was billed", async () => {
      await world.faults({ chunk_interval_ms: 20 });
      for await (const chunk of await client.chat.completions.create({ ...CALL, stream: true })) {
        assert.ok(chunk.choices.length);
        break;
      }
      const [row] = await tenant.exactly(1);
      assert.deepEqual([used(row), (await world.billed())[0]], [[MODEL, 3, 5], [MODEL, 3, 5]]);
    });
  });
}
