// What the official Anthropic SDK for Node can do beside messages: batches and betas. What a version does not have yet is
// skipped.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";

import * as newest from "anthropic-newest";
import * as oldest from "anthropic-oldest";

import { World, thrown, used } from "./world.js";

const MODEL = "claude-haiku-4-5";
const MESSAGES = [{ role: "user", content: "one two three" }];
const CALL = { model: MODEL, messages: MESSAGES, max_tokens: 5 };

for (const [age, sdk] of Object.entries({ oldest, newest })) {
  const Anthropic = sdk.default;
  const known = new Anthropic({ apiKey: "of nobody" });
  const since = (has) => ({ skip: !has && "not in this version" });
  const batches = since(known.messages.batches);
  const betas = since(known.beta?.messages);

  describe(`@anthropic-ai/sdk beside messages, ${age}`, () => {
    let world, tenant, client;

    before(async () => {
      world = await World.start();
    });
    after(() => world.close());
    beforeEach(async () => {
      await world.noFaults();
      tenant = await world.tenant();
      client = new Anthropic({ baseURL: world.url, apiKey: tenant.key });
    });

    test("a batch of messages goes round and is booked once at half price", batches, async () => {
      const requests = ["a", "b", "c"].map((id) => ({ custom_id: id, params: CALL }));
      const made = await client.messages.batches.create({ requests });
      assert.equal(made.processing_status, "in_progress");
      assert.equal((await client.messages.batches.retrieve(made.id)).processing_status, "ended");
      for (let time = 0; time < 2; time++) {
        const kinds = [];
        // The SDK goes to the address that the batch names, with the key that it has.
        for await (const result of await client.messages.batches.results(made.id)) kinds.push(result.result.type);
        assert.deepEqual(kinds, ["succeeded", "succeeded", "succeeded"]);
        const [row] = await tenant.exactly(1);
        // Half of 9 × $1 and 15 × $5 a million.
        assert.deepEqual([used(row), row.cost_usd], [[MODEL, 9, 15], "0.000042000"]);
      }
      await tenant.act("anthropic", "disable");
      const refused = await thrown(() => client.messages.batches.create({ requests }));
      assert.ok(refused instanceof Anthropic.PermissionDeniedError, String(refused));
    });

    test("betas go through", betas, async () => {
      const asked = { ...CALL, betas: ["context-1m-2025-08-07"] };
      assert.equal((await client.beta.messages.create(asked)).usage.output_tokens, 5);
      await tenant.exactly(1);
    });

    test("a client of Anthropic's dialect uses an integration of another vendor", async () => {
      const config = { base_url: `${world.providerUrl}/v1` };
      await tenant.connect("other", "openai", { api_key: "worth-nothing" }, config);
      const through = new Anthropic({
        baseURL: world.url, apiKey: tenant.key, defaultHeaders: { "x-tollgate-integration": "other" },
      });
      const message = await through.messages.create({ ...CALL, model: "gpt-4o-mini" });
      assert.deepEqual([message.usage.output_tokens, message.stop_reason], [5, "max_tokens"]);
      const streamed = await through.messages.stream({ ...CALL, model: "gpt-4o-mini" }).finalMessage();
      assert.equal(streamed.usage.output_tokens, 5);
      const rows = await tenant.exactly(2);
      assert.ok(rows.every((row) => row.provider === "openai" && row.tokens_out === 5));
    });
  });
}
