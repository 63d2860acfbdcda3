"""Runs a page of documentation: its ```python blocks, in order, in one module namespace."""

from __future__ import annotations

import ast
import inspect
import re
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durastate.emulator import Emulator

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is where its code begins on the page, from 1."""

    path: Path
    line: int
    language: str
    code: str


def blocks(path: Path, language: str = "python") -> list[Block]:
    """The blocks of one language on a page, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(path, text.count("\n", 0, found.start("code")) + 1, language, found["code"])
        for found in _FENCED.finditer(text)
        if found["language"] == language
    ]


async def run(name: str, **given: Any) -> types.ModuleType:
    """A module with everything that the page's blocks define.

    The blocks may await at the top, as a notebook's cells do. `given` is what the reader of the
    page is said to have already.
    """
    path = ROOT / name
    module = types.ModuleType(path.stem.lower())
    vars(module).update(given)
    for block in blocks(path):
        await _run_block(block, vars(module))
    return module


async def _run_block(block: Block, namespace: dict[str, Any]) -> None:
    # Line numbers of a traceback are those of the page.
    source = "\n" * (block.line - 1) + block.code
    code = compile(source, block.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, namespace)  # noqa: S307 - our own documentation
    if code.co_flags & inspect.CO_COROUTINE:
        await result


def settings_of(emulator: Emulator) -> dict[str, str]:
    """What a user would set in the environment to have everything go to `emulator`."""
    return {
        "AWS_ENDPOINT_URL_LAMBDA": emulator.endpoint_url,
        "AWS_ACCESS_KEY_ID": emulator.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": emulator.credentials.secret_access_key,
        "AWS_REGION": "eu-west-1",
    }
