"""What `dev` prints and what the documents say works when it is pasted."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, Program, binary


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What `dev` prints for people."""
    folder = tmp_path_factory.mktemp("dev")
    output = folder / "output"
    with output.open("w") as out, (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [binary(), "dev", "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data")], stdout=out, stderr=log
        )
        try:
            deadline = time.monotonic() + 60
            while "Ctrl-C" not in output.read_text():
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.02)
            yield output.read_text()
        finally:
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(timeout=60) == 0
            finally:
                process.kill()


def shell(script: str, **environment: str) -> str:
    # Documents call the program by its name.
    path = os.pathsep.join([str(pathlib.Path(binary()).resolve().parent), os.environ["PATH"]])
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "PATH": path, **environment},
    )
    assert ran.returncode == 0, f"{script}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def python(script: str) -> str:
    # What is old enough to be warned of does not stand in a document.
    ran = subprocess.run([sys.executable, "-W", "error::DeprecationWarning", "-c", script], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, f"{script}\n{ran.stderr}"
    return ran.stdout


def test_the_printed_curl_works_when_pasted(printed):
    command = re.search(r"^curl .*?(?:[^\\])\n", printed, re.MULTILINE | re.DOTALL).group()
    assert '"completion_tokens":20' in shell(command).replace(" ", "")


def test_the_printed_python_works_when_pasted(printed):
    snippets = re.findall(r"^from (?:openai|anthropic) import.*?^print\(.*?\)$", printed, re.MULTILINE | re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        assert len(python(snippet).split()) == 20


def test_the_printed_commands_work_when_pasted(printed):
    commands = re.search(r"^export TOLLGATE_URL=.*?ledger verify$", printed, re.MULTILINE | re.DOTALL).group()
    assert "ledger verify" in commands
    shell(commands)


def blocks(document: pathlib.Path, language: str) -> list:
    text = document.read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def names(ready: dict) -> dict:
    """The names that the documents use for what `dev --json` printed."""
    return {**{name: value for name, value in ready.items() if isinstance(value, str)}, **{"integration": ready["integrations"]["openai"]}}


def test_the_readmes_python_works(world):
    [snippet] = blocks(ROOT / "README.md", "python")
    snippet = snippet.replace("http://127.0.0.1:8080", world.url)
    snippet = snippet.replace("the caller key that dev printed", world.gateway.ready["caller_key"])
    assert python(snippet).split()


@pytest.mark.parametrize("document", ["quickstart", "cli", "prices"])
def test_the_guides_work(tmp_path, document):
    gateway = Program(
        *("dev", "--json", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")), log=tmp_path / "log"
    )
    try:
        known = names(gateway.ready)
        for snippet in blocks(ROOT / f"docs/{document}.md", "python"):
            assert python("".join(f"{name} = {value!r}\n" for name, value in known.items()) + snippet).split()
        for script in blocks(ROOT / f"docs/{document}.md", "sh"):
            if "cargo " in script or "$id" in script:
                continue
            # A document's curl is silent about errors; here they count.
            assert '"status":4' not in shell(script.replace("curl -s", "curl -sS --fail-with-body"), **known)
    finally:
        assert gateway.stop() == 0
