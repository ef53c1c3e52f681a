"""One gateway with its simulated provider for the whole session, and tenants for tests that set limits."""

import importlib.metadata
import itertools
import json
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 60

# For a provider that never answers: how long the gateway waits for it.
FIRST_BYTE_SECONDS = "5"
PATIENCE_SECONDS = 60

# Worth nothing anywhere; it must not be found in anything that the program writes.
CANARY = "sk-canary-7Qm2vX9ZkT4wLr8NbY3hJd6F"
NAMES = itertools.count()


# The picture of one red pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="


def since(package: str, *version: int):
    """Marks a test of what an SDK has only since this version of it."""
    installed = tuple(int(part) for part in importlib.metadata.version(package).split(".")[: len(version)])
    return pytest.mark.skipif(installed < version, reason=f"{package} has it since {version}")


def binary() -> str:
    """The shipped program."""
    built = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "tollgate"
    path = pathlib.Path(os.environ.get("TOLLGATE_BIN", built))
    assert path.is_file(), f"there is no program at {path}: run bin/test, or name it in TOLLGATE_BIN"
    return str(path)


class Program:
    """A process of the program that tells on its first line that it is ready."""

    def __init__(self, *arguments: str, log: pathlib.Path):
        self._log = log.open("w")
        self._process = subprocess.Popen(
            [binary(), *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={
                **os.environ,
                "TOLLGATE__LOG__LEVEL": "trace",
                "TOLLGATE__GATEWAY__FIRST_BYTE_SECONDS": FIRST_BYTE_SECONDS,
            },
        )
        lines = queue.Queue()
        reader = threading.Thread(target=lambda: lines.put(self._process.stdout.readline()), daemon=True)
        reader.start()
        try:
            line = lines.get(timeout=START_SECONDS)
            assert line, f"the program ended before it was ready: {log.read_text()}"
            self.ready = json.loads(line)
        except BaseException:
            self._process.kill()
            raise

    def stop(self) -> int:
        """Asks it to end, and waits until it has."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout=60)
        finally:
            self._process.kill()
            self._process.stdout.close()
            self._log.close()


def ask(method: str, url: str, body=None, **headers: str):
    """One request of JSON that must succeed."""
    payload = None if body is None else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, payload, {"content-type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {url}: {error.code} {error.read().decode()}") from error
    return json.loads(text) if text else None


class Tenant:
    """A tenant with one integration of each kind and a caller's key."""

    def __init__(self, world: "World", limits: dict):
        self._world = world
        self.id = world.control("POST", "/tenants", {"name": f"SDK tenant {next(NAMES)}"})["id"]
        self.integrations = {}
        for kind, path in {"openai": "/v1", "anthropic": ""}.items():
            self.connect(kind, kind, {"api_key": CANARY}, {"base_url": world.provider_url + path}, **limits)
        made = self.control("POST", "/keys", {"name": "application", "role": "caller"})
        self.key, self.key_id = made["key"], made["id"]

    def connect(self, name: str, kind: str, credential: dict, config: dict, **limits: int):
        """One more integration, enabled."""
        told = {"name": name, "provider_type": kind, "credential": credential, "config": config, **limits}
        self.integrations[name] = self.control("POST", "/integrations", told)["id"]
        self.act(name, "enable")

    def control(self, method: str, path: str, body=None):
        """A request of the operator, acting on this tenant."""
        return self._world.control(method, path, body, x_tollgate_tenant=self.id)

    def act(self, kind: str, verb: str):
        """Enables or disables an integration."""
        return self.control("POST", f"/integrations/{self.integrations[kind]}/{verb}")

    def limit(self, kind: str, **limits: int):
        """Sets limits of an integration."""
        return self.control("PATCH", f"/integrations/{self.integrations[kind]}", limits)

    def rows(self) -> list:
        """The rows of its calls, newest first."""
        return self.control("GET", "/telemetry/usage-history?limit=200")["data"]

    def exactly(self, count: int) -> list:
        """The rows of its calls once there are so many, and not one more."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(rows := self.rows()) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(rows) == count, rows
        return rows

    def booked(self) -> list:
        """The rows of calls that reached the provider, as its journal has them."""
        rows = [row for row in self.rows() if row["policy_result"] != "blocked"]
        return [(row["model"], row["tokens_in"], row["tokens_out"]) for row in rows]


class World:
    """A gateway in front of a simulated provider."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.provider = Program("simulate", "--json", "--listen", "127.0.0.1:0", log=folder / "provider.log")
        self.provider_url = self.provider.ready["url"]
        try:
            self.gateway = Program(
                *("dev", "--json", "--listen", "127.0.0.1:0"),
                *("--data-dir", str(folder / "data"), "--provider-url", self.provider_url),
                log=folder / "gateway.log",
            )
        except BaseException:
            self.provider.stop()
            raise
        self.url = self.gateway.ready["url"]

    def control(self, method: str, path: str, body=None, **headers: str):
        """A request of the operator to the control plane."""
        bearer = f"Bearer {self.gateway.ready['operator_key']}"
        url = f"{self.gateway.ready['admin_url']}/api/v1{path}"
        return ask(method, url, body, authorization=bearer, **headers)

    def tenant(self, **limits: int) -> Tenant:
        """A new tenant whose integrations have these limits."""
        return Tenant(self, limits)

    def billed(self) -> list:
        """What the provider billed, newest first: model, tokens in, tokens out."""
        lines = ask("GET", f"{self.provider_url}/__journal")
        return [(line["model"], line["tokens_in"], line["tokens_out"]) for line in reversed(lines)]

    def faults(self, **faults):
        """Has the provider do these things wrong from now on."""
        ask("POST", f"{self.provider_url}/__faults", faults)

    def no_faults(self):
        """Has the provider do nothing wrong from now on."""
        ask("POST", f"{self.provider_url}/__reset", {})


@pytest.fixture(scope="session")
def session(tmp_path_factory):
    """The gateway of all tests; at the end its books must verify and it must end well."""
    world = World(tmp_path_factory.mktemp("world"))
    try:
        yield world
        report = world.control("GET", "/ledger/verify")
        assert report["exact"], report
    finally:
        ended = world.gateway.stop()
        world.provider.stop()
    assert ended == 0
    written = [path for path in world.folder.rglob("*") if path.is_file()]
    assert written and not [path for path in written if CANARY.encode() in path.read_bytes()]


@pytest.fixture
def world(session):
    """The gateway, in front of a provider without faults."""
    session.no_faults()
    return session


@pytest.fixture
def tenant(world):
    """A tenant without limits."""
    return world.tenant()
