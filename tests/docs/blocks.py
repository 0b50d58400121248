"""Code blocks of Markdown pages, run as a reader would run them.

Every ``python`` and ``console`` block runs, in the order of its page, in one folder and
one namespace. An HTML comment right above a block changes that:
``<!-- not run: needs a GPU -->`` skips it, ``<!-- file: mine.yaml -->`` saves it,
``<!-- output: depends on the training -->`` does not compare what it prints.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[a-z ]+): (?P<value>[^\n]*) -->\n+)?"
    r"^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*\.?\d*(?:e-?\d+)?")
TOLERANCE = 0.02  # of a number, absolute and relative: processors round differently
COMMAND_SECONDS = 300
START_SECONDS = 60


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its code, and the comment above it."""

    language: str
    code: str
    mark: str
    value: str

    @property
    def runs(self) -> bool:
        return self.language in ("python", "console") and self.mark != "not run"


def blocks_of(text: str) -> list[Block]:
    """Fenced blocks of a page that name a language, in order."""
    return [
        Block(found["language"], found["code"], found["mark"] or "", found["value"] or "")
        for found in FENCE.finditer(text)
    ]


def run_page(page: Path, folder: Path, port: int) -> int:
    """Run a page's blocks in ``folder``; the service answers at ``port``.

    Returns:
        How many blocks were run.

    Raises:
        AssertionError: If a command fails or prints something else.
    """
    text = page.read_text().replace(":8000", f":{port}")
    text = text.replace("onelook serve", f"onelook serve --port {port}")
    names: dict[str, Any] = {"__name__": "__main__"}
    servers: list[subprocess.Popen[str]] = []
    n_run = 0
    try:
        for block in blocks_of(text):
            if block.mark == "file":
                (folder / block.value).write_text(block.code)
            elif block.runs:
                n_run += 1
                if block.language == "python":
                    _run_python(block.code, names, str(page))
                else:
                    _run_console(block, folder, servers)
    finally:
        for server in servers:
            server.terminate()
            server.wait(START_SECONDS)
    return n_run


def _run_python(code: str, names: dict[str, Any], page: str) -> None:
    """``>>>`` examples are checked, other code is run."""
    if ">>>" not in code:
        exec(compile(code, page, "exec"), names)
        return
    for source, expected in examples_of(code):
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(source, page, "single"), names)
        assert_same_output(source, expected, printed.getvalue())


def examples_of(code: str) -> list[tuple[str, str]]:
    """Source and expected output of each ``>>>`` example."""
    import doctest

    return [(e.source, e.want) for e in doctest.DocTestParser().get_examples(code)]


def _run_console(block: Block, folder: Path, servers: list[subprocess.Popen[str]]) -> None:
    for command, expected in commands_of(block.code):
        if command.endswith("&"):
            servers.append(start_service(command.removesuffix("&"), folder))
            continue
        answer = subprocess.run(
            ["bash", "-ec", command],
            cwd=folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert answer.returncode == 0, f"$ {command}\n{answer.stdout}{answer.stderr}"
        if expected and block.mark != "output":
            assert_same_output(command, expected, answer.stdout)


def commands_of(code: str) -> list[tuple[str, str]]:
    """Each command of a session, without its comment, and what it prints."""
    found: list[tuple[str, str]] = []
    lines = iter(code.splitlines())
    for line in lines:
        if not line.startswith("$ "):
            assert found, f"a session begins with a command, not with {line!r}"
            command, output = found.pop()
            found.append((command, output + line + "\n"))
            continue
        command = line[2:]
        while command.endswith("\\"):
            command = command[:-1] + next(lines).strip()
        found.append((re.sub(r"\s+# .*$", "", command), ""))
    return found


def start_service(command: str, folder: Path) -> subprocess.Popen[str]:
    """Start a service and wait until it says where it answers."""
    log = folder / "service.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            shlex.split(command),
            cwd=folder,
            env=_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    end = time.monotonic() + START_SECONDS
    while "http://" not in log.read_text():
        assert server.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    return server


def _environment() -> dict[str, str]:
    """The commands of this Python; no colours and no wrapped lines."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "200"}


def assert_same_output(command: str, expected: str, printed: str) -> None:
    """Compare texts: numbers within a tolerance, ``…`` stands for anything."""
    pattern = ""
    for part in re.split(r"(…|\.\.\.)", " ".join(expected.split())):
        if part in ("…", "..."):
            pattern += ".*?"
        else:
            pieces = NUMBER.split(part)
            pattern += f"({NUMBER.pattern})".join(map(re.escape, pieces))
    found = re.fullmatch(pattern, " ".join(printed.split()))
    message = f"$ {command}\nexpected:\n{expected}\nprinted:\n{printed}"
    assert found, message
    wanted = [
        _number(number)
        for part in re.split(r"…|\.\.\.", " ".join(expected.split()))
        for number in NUMBER.findall(part)
    ]
    for one, other in zip(wanted, map(_number, found.groups()), strict=True):
        assert abs(one - other) <= TOLERANCE * max(1.0, abs(one)), message


def _number(text: str) -> float:
    return float(text.replace(",", ""))
