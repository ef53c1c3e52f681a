// The official Anthropic SDK for Node, unchanged but for its base URL and its key: the oldest that is supported and the newest.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";

import * as newest from "anthropic-newest";
import * as oldest from "anthropic-oldest";

import { PIXEL, World, thrown, used } from "./world.js";

const MODEL = "claude-haiku-4-5";
const MESSAGES = [{ role: "user", content: "one two three" }];
const CALL = { model: MODEL, messages: MESSAGES, max_tokens: 5 };
const TOOL = {
  name: "weather",
  description: "The weather of a city",
  input_schema: { type: "object", properties: { text: { type: "string" } } },
};

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

const words = (said) => said.split(/\s+/).filter(Boolean).length;

for (const [age, sdk] of Object.entries({ oldest, newest })) {
  const Anthropic = sdk.default;

  describe(`@anthropic-ai/sdk, ${age}`, () => {
    let world, tenant, client;
    const clientOf = (key, options = {}) => new Anthropic({ baseURL: world.url, apiKey: key, ...options });

    before(async () => {
      world = await World.start();
    });
    after(() => world.close());
    beforeEach(async () => {
      await world.noFaults();
      tenant = await world.tenant();
      client = clientOf(tenant.key);
    });

    test("a message is answered and booked", async () => {
      const message = await client.messages.create({ ...CALL, system: "be brief" });
      assert.equal(words(message.content[0].text), 5);
      assert.deepEqual([message.usage.input_tokens, message.usage.output_tokens], [5, 5]);
      const [row] = await tenant.exactly(1);
      assert.deepEqual([used(row), row.usage_source], [[MODEL, 5, 5], "provider"]);
      assert.deepEqual((await world.billed())[0], used(row));
    });

    test("a key may come as a bearer token", async () => {
      const bearer = new Anthropic({ baseURL: world.url, authToken: tenant.key, apiKey: null });
      assert.equal((await bearer.messages.create(CALL)).usage.output_tokens, 5);
    });

    test("a streamed message is whole and booked", async () => {
      const message = await client.messages.stream(CALL).finalMessage();
      assert.equal(words(message.content[0].text), 5);
      assert.deepEqual([message.usage.output_tokens, message.stop_reason], [5, "max_tokens"]);
      const events = await all(await client.messages.create({ ...CALL, stream: true }));
      assert.deepEqual([events[0].type, events.at(-1).type], ["message_start", "message_stop"]);
      const rows = await tenant.exactly(2);
      assert.ok(rows.every((row) => row.usage_source === "provider" && row.tokens_in === 3 && row.tokens_out === 5));
    });

    test("tools go through, whole and streamed, and so do their results", async () => {
      const asked = { ...CALL, tools: [TOOL], tool_choice: { type: "any" } };
      const message = await client.messages.create(asked);
      const [block] = message.content.filter((block) => block.type === "tool_use");
      assert.deepEqual([block.name, message.stop_reason], ["weather", "tool_use"]);
      const streamed = await client.messages.stream(asked).finalMessage();
      assert.deepEqual(streamed.content.map((block) => block.name), ["weather"]);
      const result = { type: "tool_result", tool_use_id: block.id, content: "rain" };
      const messages = [...MESSAGES, { role: "assistant", content: message.content }, { role: "user", content: [result] }];
      const answer = await client.messages.create({ ...CALL, tools: [TOOL], messages });
      assert.equal(answer.usage.output_tokens, 5);
    });

    test("an image in the prompt goes through", async () => {
      const source = { type: "base64", media_type: "image/png", data: PIXEL };
      const content = [{ type: "image", source }, { type: "text", text: "what is it" }];
      await client.messages.create({ ...CALL, messages: [{ role: "user", content }] });
      const [row] = await tenant.exactly(1);
      assert.deepEqual((await world.billed())[0], used(row));
    });

    const counts = age === "newest";
    test("tokens are counted and models listed for nothing", { skip: !counts && "not in this version" }, async () => {
      assert.equal((await client.messages.countTokens({ model: MODEL, messages: MESSAGES })).input_tokens, 3);
      assert.ok((await all(client.models.list())).some((model) => model.id === MODEL));
      assert.deepEqual(await tenant.rows(), []);
    });

    test("errors are the ones that the SDK has for them, and what is final is asked once", async () => {
      const error = await thrown(() => clientOf("sk-ant-wrong").messages.create(CALL));
      assert.ok(error instanceof Anthropic.AuthenticationError, String(error));
      assert.equal(error.error.error.type, "authentication_error");

      const elsewhere = clientOf(tenant.key, { defaultHeaders: { "x-tollgate-integration": "nobody" } });
      const unknown = await thrown(() => elsewhere.messages.create(CALL));
      assert.ok(unknown instanceof Anthropic.NotFoundError, String(unknown));
      assert.deepEqual(await tenant.rows(), []);

      await tenant.limit("anthropic", { budget_limit_cents: 1 });
      const large = { ...CALL, max_tokens: 20_000, stream: true };
      const spent = await thrown(() => client.messages.create(large));
      assert.ok(spent instanceof Anthropic.APIError, String(spent));
      assert.deepEqual([spent.status, spent.error.error.type], [402, "billing_error"]);
      const [row] = await tenant.exactly(1);
      assert.deepEqual([row.policy_result, row.error_code], ["blocked", "budget_exceeded"]);

      await tenant.act("anthropic", "disable");
      const disabled = await thrown(() => client.messages.create(CALL));
      assert.ok(disabled instanceof Anthropic.PermissionDeniedError, String(disabled));
    });

    test("a throttled call is a rate limit error", async () => {
      await tenant.limit("anthropic", { rate_limit_rpm: 1 });
      await client.messages.create(CALL);
      const error = await thrown(() => clientOf(tenant.key, { maxRetries: 0 }).messages.create(CALL));
      assert.ok(error instanceof Anthropic.RateLimitError, String(error));
      assert.equal(error.error.error.type, "rate_limit_error");
      await tenant.exactly(2);
    });

    test("a provider's own errors pass, and are tried again as the SDK does", async () => {
      let rows = 0;
      for (const status of [429, 503, 529]) {
        await world.faults({ error_rate: 1, error_status: status, retry_after_s: status === 429 ? 1 : null });
        const error = await thrown(() => client.messages.create(CALL));
        assert.ok(error instanceof Anthropic.APIError, String(error));
        assert.equal(error.status, status);
        rows += 3;
        await tenant.exactly(rows);
      }
    });

    test("a provider that does not answer is 504, asked once and charged as held", async () => {
      await world.faults({ hang: true });
      const error = await thrown(() => client.messages.create(CALL));
      assert.equal(error.status, 504, String(error));
      const [row] = await tenant.exactly(1);
      assert.deepEqual([row.usage_source, row.error_code], ["estimated", "upstream_timeout"]);
    });

    test("a stream that is cut is an error and not a short answer", async () => {
      await world.faults({ cut_after: 4 });
      await thrown(async () => all(await client.messages.create({ ...CALL, stream: true })));
      const [row] = await tenant.exactly(1);
      assert.equal(row.error_code, "upstream_broken");
    });

    test("a stream that its client leaves is booked as it was billed", async () => {
      await world.faults({ chunk_interval_ms: 20 });
      for await (const event of await client.messages.create({ ...CALL, stream: true })) {
        assert.equal(event.type, "message_start");
        break;
      }
      const [row] = await tenant.exactly(1);
      assert.deepEqual([used(row), (await world.billed())[0]], [[MODEL, 3, 5], [MODEL, 3, 5]]);
    });
  });
}
