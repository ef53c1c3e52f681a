"""The served description of the control plane: true in every answer, with examples that work.

TOLLGATE_SCHEMATHESIS_SECONDS says for how long schemathesis looks for untruths, over all roles together,
and TOLLGATE_SCHEMATHESIS_SEED where it begins (`random` for somewhere new; a report names its seed).
TOLLGATE_EXAMPLES_BLESS=1 writes the answers anew into crates/api/examples.json; read the difference.
"""

import base64
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.request

import jsonschema_rs
import pytest

from conftest import Program, ask

HERE = pathlib.Path(__file__).parent
EXAMPLES = HERE.parents[1] / "crates/api/examples.json"
SECONDS = int(os.environ.get("TOLLGATE_SCHEMATHESIS_SECONDS", "40"))
SEED = os.environ.get("TOLLGATE_SCHEMATHESIS_SEED", "20261123")
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def description(session):
    return ask("GET", f"{session.gateway.ready['admin_url']}/api/v1/openapi.json")


def operations(description):
    """Every operation with its method and path."""
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def success(operation):
    """The status of an operation that went well, and the content of its answer as JSON."""
    status = next(status for status in operation["responses"] if status.startswith("2"))
    return int(status), operation["responses"][status].get("content", {}).get("application/json")


def check(description, schema, value):
    """Fails where a value is not as its schema says."""
    whole = {**schema, "components": description["components"]}
    errors = [f"{error.instance_path}: {error.message}" for error in jsonschema_rs.iter_errors(whole, value)]
    assert not errors, (errors, value)


def body_of(operation):
    return operation.get("requestBody", {}).get("content", {}).get("application/json")


class Sandbox:
    """Something of each kind for an operation to work on, made anew each time."""

    def __init__(self, world):
        self.world = world
        self.tenant = world.tenant()
        call = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
        bearer = f"Bearer {self.tenant.key}"
        ask("POST", f"{world.url}/v1/chat/completions", call, authorization=bearer)

    def id_for(self, path):
        kind = path.split("/")[3]
        if kind == "tenants":
            return self.tenant.id
        if kind == "keys":
            return self.tenant.control("POST", "/keys", {"name": "Dashboard", "role": "viewer"})["id"]
        if kind == "integrations":
            return self.tenant.integrations["openai"]
        if kind == "enforcement":
            return self.hold()
        pytest.fail(f"say here what the id in {path} is of")

    def hold(self):
        """A hold of the tenant's caller; its id."""
        url = self.world.gateway.ready["admin_url"] + "/api/v1/enforcement/hold"
        body = {"integration_id": self.tenant.integrations["openai"]}
        return ask("POST", url, body, authorization=f"Bearer {self.tenant.key}")["hold_id"]

    def fill(self, value):
        """An example with ids that are there."""
        if isinstance(value, list):
            return [self.fill(one) for one in value]
        if not isinstance(value, dict):
            return value
        filled = {name: self.fill(one) for name, one in value.items()}
        if filled.get("integration_id"):
            filled["integration_id"] = self.tenant.integrations["openai"]
        return filled


def perform(world, description, method, path, operation):
    """Asks as the example does; the status and the answer."""
    sandbox = Sandbox(world)
    content = body_of(operation)
    body = sandbox.fill(content["example"]) if content else None
    if path == "/api/v1/tenants":
        body = body and {**body, "id": f"{body['id']}-{sandbox.tenant.id[:8]}"}
    path = path.replace("{id}", sandbox.id_for(path) if "{id}" in path else "")
    path = path.replace("{provider_type}", "openai").replace("{model}", "gpt-4o-mini")
    url = world.gateway.ready["admin_url"] + path
    for parameter in operation.get("parameters", []):
        if parameter.get("in") == "query" and parameter.get("required"):
            url += f"?{parameter['name']}={sandbox.tenant.integrations['openai']}"
    headers = {"authorization": f"Bearer {world.gateway.ready['operator_key']}", "content-type": "application/json"}
    if not path.startswith("/api/v1/tenants"):
        headers["x-tollgate-tenant"] = sandbox.tenant.id
    if method == "DELETE" and "/prices/" in path:
        price = json.dumps({"rates": {"input": 1, "output": 1}}).encode()
        assert exchange(urllib.request.Request(url, price, headers, method="PUT"))[0] == 200
    data = None if body is None else json.dumps(body).encode()
    status, text = exchange(urllib.request.Request(url, data, headers, method=method))
    if status == 403:  # not the operator's to do, but a caller's
        headers["authorization"] = f"Bearer {sandbox.tenant.key}"
        status, text = exchange(urllib.request.Request(url, data, headers, method=method))
    return status, text


def exchange(request):
    """The status and the text of an answer, whatever it is."""
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_every_example_is_accepted_and_answered_as_described(world, description):
    recorded = json.loads(EXAMPLES.read_text())
    wrong = []
    for method, path, operation in operations(description):
        if path.startswith("/api/v1/nodes/{id}"):
            continue  # the only node is the one that is asked, and it cannot be retired while it lives
        content = success(operation)[1]
        given, text = perform(world, description, method, path, operation)
        if str(given) not in operation["responses"] or given >= 300:
            wrong.append(f"{method} {path}: {given}: {text}")
        elif content:
            answer = json.loads(text)
            check(description, content["schema"], answer)
            if "paths" not in answer:
                told = re.sub(r"(tg_[a-z]+_)\w{10,}", r"\1EXAMPLE", text)
                told = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8089", told)
                recorded.setdefault(operation["operationId"], {})["response"] = json.loads(told)
    if os.environ.get("TOLLGATE_EXAMPLES_BLESS"):
        EXAMPLES.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    assert not wrong, "\n".join(wrong)


def test_every_body_and_answer_has_an_example_that_fits_its_schema(description):
    for method, path, operation in operations(description):
        for content in (body_of(operation), success(operation)[1]):
            # The only node there is cannot be retired, so that nobody was ever answered so.
            if content and not path.endswith("openapi.json") and not path.startswith("/api/v1/nodes/{id}"):
                assert "example" in content, f"{method} {path}: crates/api/examples.json has none"
                check(description, content["schema"], content["example"])
    for name, response in description["components"]["responses"].items():
        content = response["content"]["application/problem+json"]
        check(description, content["schema"], content["example"])


def test_the_reference_page_is_whole_and_may_load_and_run_nothing(world, description):
    url = f"{world.gateway.ready['admin_url']}/api/v1/docs"
    with urllib.request.urlopen(url, timeout=60) as answer:
        page, policy = answer.read().decode(), answer.headers["content-security-policy"]
    style = page.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "<script" not in page and "http://" not in page.replace("http://127.0.0.1", "")
    anchors = set(re.findall(r'id="([^"]+)"', page))
    for _method, _path, operation in operations(description):
        assert operation["operationId"] in anchors
    for target in re.findall(r'href="#([^"]+)"', page):
        assert target in anchors, target


@pytest.fixture(scope="module")
def playground(tmp_path_factory):
    """A gateway of its own: what is done to it harms no other test."""
    folder = tmp_path_factory.mktemp("schemathesis")
    program = Program(
        *("dev", "--json", "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data")), log=folder / "gateway.log"
    )
    yield program
    program.stop()
    log = (folder / "gateway.log").read_text()
    assert "an internal error" not in log and "panicked" not in log


@pytest.mark.parametrize("role", ["operator", "admin", "viewer", "caller"])
def test_schemathesis_finds_nothing_undescribed(playground, tmp_path, role):
    api = f"{playground.ready['admin_url']}/api/v1"
    operator = {"authorization": f"Bearer {playground.ready['operator_key']}"}
    tenant = ask("POST", f"{api}/tenants", {"name": f"Schemathesis as {role}"}, **operator)["id"]
    acting = {**operator, "x_tollgate_tenant": tenant}
    headers = {"x-tollgate-tenant": tenant}
    key, protected = playground.ready["operator_key"], [tenant, playground.ready["tenant_id"]]
    if role == "operator":
        protected += [one["id"] for one in ask("GET", f"{api}/keys", **operator)["data"]]
    else:
        made = ask("POST", f"{api}/keys", {"name": role, "role": role}, **acting)
        key, protected = made["key"], [*protected, made["id"]]
    command = [str(pathlib.Path(sys.executable).parent / "schemathesis"), "--config-file", str(HERE / "schemathesis.toml")]
    command += ["run", f"{api}/openapi.json", "--url", playground.ready["admin_url"], "--checks", "all"]
    # One worker: Python 3.11 cannot parse its own sources in two threads at once ("AST constructor recursion depth mismatch").
    command += ["--max-time", str(max(SECONDS // 4, 5)), "--workers", "1", "--no-color", "--continue-on-failure"]
    command += ["--generation-database", "none", "--request-timeout", "30", "--warnings", "off"]
    command += [] if SEED == "random" else ["--seed", SEED]
    for name, value in {**headers, "Authorization": f"Bearer {key}"}.items():
        command += ["--header", f"{name}: {value}"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "TOLLGATE_PROTECTED": ",".join(protected),
    }
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS + 300)
    report = run.stdout + run.stderr
    (tmp_path / "report.txt").write_text(report)
    assert run.returncode == 0, report[-20_000:]
