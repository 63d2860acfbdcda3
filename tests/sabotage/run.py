"""Breaks each promise on purpose, in a copy, and sees its test turn red.

    python tests/sabotage/run.py [NAME …]

A `NAME.patch` here has, in its first line after a `#`, the test that must notice it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_COPIED = ("src", "tests", "docs", "benchmarks", "pyproject.toml", "README.md", "CHANGELOG.md")
_PASSED, _FAILED = 0, 1  # exit codes of pytest; every other is an error


def _code(copy: Path, test: str) -> int:
    """The exit code of the test in `copy`, with the copy's own src."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    env = os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
    if done.returncode not in (_PASSED, _FAILED):
        print(done.stdout[-2_000:], done.stderr[-2_000:], sep="\n", file=sys.stderr)
    return done.returncode


def _verdict(patch: Path, copy: Path) -> str:
    """What became of one break; empty where its test has noticed it."""
    test = patch.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()
    if code := _code(copy, test):
        return f"its test does not pass without it: exit code {code}, {test}"
    apply = ["git", "apply", "--whitespace=nowarn", str(patch)]
    done = subprocess.run(apply, cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"does not apply: {done.stderr.strip()}"
    try:
        code = _code(copy, test)
    finally:
        subprocess.run([*apply, "--reverse"], cwd=copy, check=True)
    return "" if code == _FAILED else f"its test ends with exit code {code}, not 1: {test}"


def main(names: list[str]) -> int:
    patches = [each for each in sorted(_HERE.glob("*.patch")) if not names or each.stem in names]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        copy.mkdir()
        for name in _COPIED:
            made = shutil.copytree if (_ROOT / name).is_dir() else shutil.copy2
            made(_ROOT / name, copy / name)
        for patch in patches:
            verdict = _verdict(patch, copy)
            bad += bool(verdict)
            print(f"{patch.stem}: {verdict or 'noticed'}", flush=True)
    print(f"{len(patches)} promises broken on purpose, {len(patches) - bad} noticed")
    return 1 if bad or not patches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
