// A gateway with its simulated provider, and tenants for tests: what conftest.py is for Python's SDKs.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");
const START_MS = 60_000;
const PATIENCE_MS = 60_000;
const GLANCE_MS = 50;

// Worth nothing anywhere; it must not be found in anything that the program writes.
export const CANARY = "sk-canary-4Jt9wB1RnE6xUc5KfM8sQz2V";

// The shipped program.
function binary() {
  const built = join(ROOT, process.env.CARGO_TARGET_DIR ?? "target", "debug/tollgate");
  const path = process.env.TOLLGATE_BIN ?? built;
  assert.ok(existsSync(path), `there is no program at ${path}: run bin/test, or name it in TOLLGATE_BIN`);
  return path;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Looks again and again until there is something.
export async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await pause(GLANCE_MS);
  }
}

// A process of the program that tells on its first line that it is ready.
class Program {
  static async start(log, args, env = {}) {
    const program = new Program();
    program.process = spawn(binary(), args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TOLLGATE__LOG__LEVEL: "trace", ...env },
    });
    program.ended = once(program.process, "exit");
    program.process.stderr.pipe(createWriteStream(log));
    const lines = createInterface({ input: program.process.stdout });
    const late = setTimeout(() => program.process.kill("SIGKILL"), START_MS);
    const first = await Promise.race([once(lines, "line"), program.ended.then(() => [])]);
    clearTimeout(late);
    if (first.length !== 1) {
      throw new Error(`the program ended before it was ready: ${readFileSync(log)}`);
    }
    program.ready = JSON.parse(first[0]);
    return program;
  }

  // Asks it to end, and waits until it has.
  async stop() {
    this.process.kill("SIGTERM");
    const late = setTimeout(() => this.process.kill("SIGKILL"), START_MS);
    const [code] = await this.ended;
    clearTimeout(late);
    return code;
  }
}

// One request of JSON that must succeed.
async function ask(method, url, body, headers = {}) {
  const answer = await fetch(url, {
    method,
    headers: { "content-type": "application/json", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${url}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

// A tenant with one integration of each kind and a caller's key.
class Tenant {
  static async create(world) {
    const tenant = new Tenant();
    tenant.world = world;
    tenant.integrations = {};
    tenant.id = (await world.control("POST", "/tenants", { name: `Node tenant ${world.tenants++}` })).id;
    for (const [kind, path] of [["openai", "/v1"], ["anthropic", ""]]) {
      await tenant.connect(kind, kind, { api_key: CANARY }, { base_url: world.providerUrl + path });
    }
    tenant.key = (await tenant.control("POST", "/keys", { name: "application", role: "caller" })).key;
    return tenant;
  }

  // One more integration, enabled.
  async connect(name, kind, credential, config) {
    const told = { name, provider_type: kind, credential, config };
    this.integrations[name] = (await this.control("POST", "/integrations", told)).id;
    await this.act(name, "enable");
  }

  // A request of the operator, acting on this tenant.
  control(method, path, body) {
    return this.world.control(method, path, body, { "x-tollgate-tenant": this.id });
  }

  // Enables or disables an integration.
  act(kind, verb) {
    return this.control("POST", `/integrations/${this.integrations[kind]}/${verb}`);
  }

  // Sets limits of an integration.
  limit(kind, limits) {
    return this.control("PATCH", `/integrations/${this.integrations[kind]}`, limits);
  }

  // The rows of its calls, newest first.
  async rows() {
    return (await this.control("GET", "/telemetry/usage-history?limit=200")).data;
  }

  // The rows of its calls once there are so many, and not one more.
  async exactly(count) {
    const rows = await until(`${count} rows`, async () => {
      const rows = await this.rows();
      return rows.length >= count && rows;
    });
    assert.equal(rows.length, count, JSON.stringify(rows));
    return rows;
  }
}

// A gateway in front of a simulated provider.
export class World {
  static async start() {
    const world = new World();
    world.tenants = 0;
    world.folder = mkdtempSync(join(tmpdir(), "tollgate-node-"));
    const log = (name) => join(world.folder, `${name}.log`);
    const anywhere = ["--json", "--listen", "127.0.0.1:0"];
    world.provider = await Program.start(log("provider"), ["simulate", ...anywhere]);
    world.providerUrl = world.provider.ready.url;
    try {
      const place = ["--data-dir", join(world.folder, "data"), "--provider-url", world.providerUrl];
      const quick = { TOLLGATE__GATEWAY__FIRST_BYTE_SECONDS: "5" };
      world.gateway = await Program.start(log("gateway"), ["dev", ...anywhere, ...place], quick);
    } catch (error) {
      await world.provider.stop();
      throw error;
    }
    world.url = world.gateway.ready.url;
    return world;
  }

  // A request of the operator to the control plane.
  control(method, path, body, headers = {}) {
    const { operator_key: key, admin_url: url } = this.gateway.ready;
    return ask(method, `${url}/api/v1${path}`, body, { authorization: `Bearer ${key}`, ...headers });
  }

  tenant() {
    return Tenant.create(this);
  }

  // What the provider billed, newest first: model, tokens in, tokens out.
  async billed() {
    const lines = await ask("GET", `${this.providerUrl}/__journal`);
    return lines.reverse().map((line) => [line.model, line.tokens_in, line.tokens_out]);
  }

  // The forms that the provider got, oldest first.
  forms() {
    return ask("GET", `${this.providerUrl}/__forms`);
  }

  // What arrived at the provider of forms of several parts, oldest first.
  forms() {
    return ask("GET", `${this.providerUrl}/__forms`);
  }

  // Has the provider do these things wrong from now on.
  faults(faults) {
    return ask("POST", `${this.providerUrl}/__faults`, faults);
  }

  // Has the provider do nothing wrong from now on.
  noFaults() {
    return ask("POST", `${this.providerUrl}/__reset`, {});
  }

  // The end: the books must verify, the gateway must end well, and the canary stands nowhere.
  async close() {
    try {
      const report = await this.control("GET", "/ledger/verify");
      assert.ok(report.exact, JSON.stringify(report));
    } finally {
      this.code = await this.gateway.stop();
      await this.provider.stop();
    }
    assert.equal(this.code, 0);
    const written = readdirSync(this.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    assert.ok(written.length > 0);
    assert.deepEqual(written.filter((path) => readFileSync(path).includes(CANARY)), []);
    rmSync(this.folder, { recursive: true });
  }
}

// What a row says was used.
export const used = (row) => [row.model, row.tokens_in, row.tokens_out];

// What is thrown; a test fails where nothing is.
export async function thrown(doing) {
  try {
    await doing();
  } catch (error) {
    return error;
  }
  assert.fail("nothing was thrown");
}

// The picture of one red pixel.
export const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
