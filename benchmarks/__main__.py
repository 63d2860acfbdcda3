"""`python -m benchmarks [PART ...]`: measure, print, and leave JSON and plots in results/."""

from __future__ import annotations

import argparse
import sys
import time

from .measure import say, set_up


def main() -> int:
    """0, or 1 where work was unequal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to measure; default: all")
    parser.add_argument("--list", action="store_true", help="the parts, one line each")
    parser.add_argument("--quick", action="store_true", help="a first look, about two minutes")
    parser.add_argument("--smoke", action="store_true", help="no figures: is all work still equal?")
    parser.add_argument("--setup", action="store_true", help="only install what clients need")
    parser.add_argument("--rounds", type=int, help="interleaved rounds of each comparison")
    asked = parser.parse_args()
    if asked.smoke:
        from .smoke import smoke

        return smoke()

    if asked.setup:
        set_up()
        return 0

    from .parts import PARTS
    from .plots import draw
    from .results import Options, Result, provenance, save, summary

    if asked.list:
        print("\n".join(f"{name:<12}{part.about}" for name, part in PARTS.items()))
        return 0
    unknown = [name for name in asked.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}; --list shows them")
    names = asked.parts or [n for n, part in PARTS.items() if part.quick or not asked.quick]
    stem = time.strftime("%Y%m%d-%H%M%S") + "-quick" * asked.quick
    began, results = provenance(), dict[str, Result]()
    for name in names:
        say(f"{name}: {PARTS[name].about}")
        results[name] = PARTS[name].run(Options(asked.rounds, asked.quick))
        print(f"\n{name}: {PARTS[name].about}", *results[name].lines, sep="\n", flush=True)
        path = save(results, stem, began)  # after each part: a long run that dies keeps the rest
    print("", *summary(results), "", f"raw results: {path}", *draw(path), sep="\n")
    return int(any(row.void for result in results.values() for row in result.rows))


if __name__ == "__main__":
    sys.exit(main())
