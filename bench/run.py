"""`make bench`: run the measurements named, or all, and write what they print into bench/RESULTS.md."""

import ast
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch

from labkit.files import ROOT
from labkit.provenance import commit, processor

HEAD = """# What was measured

Made by `make bench`. Variants of one row were timed in turns, round by round; ratios are the median over rounds, with the
smallest and the largest in brackets. Only ratios carry over to another machine.
"""
BENCH = Path(__file__).parent
RESULTS = BENCH / "RESULTS.md"
ALL = ("step", "epoch", "pipeline", "peers", "packing", "judging", "growth", "precision", "report")
MORE = ("fuzz",)  # no measurement of speed: only by name


def main(names: list[str]) -> None:
    sections = _sections()
    # Asked once, before RESULTS.md is written and while the code is what is measured.
    where = f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, commit {commit()}"
    for name in names:
        print(f"{name} ...", flush=True)
        done = subprocess.run([sys.executable, f"bench/{name}.py"], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr}")
        told = done.stdout.strip()
        print(told)
        about = ast.get_docstring(ast.parse((BENCH / f"{name}.py").read_text(encoding="utf-8")))
        command = "make fuzz" if name in MORE else f"make bench ONLY={name}"
        sections[name] = f"## {name}\n\n{about}\n\n`{command}`, {date.today()}, {where}\n\n{told}\n"
        RESULTS.write_text(
            "\n".join([HEAD, *(sections[key] for key in ALL + MORE if key in sections)]), encoding="utf-8"
        )


def _sections() -> dict[str, str]:
    """The sections that RESULTS.md has already, by name."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else ""
    return {part.split("\n", 1)[0]: f"## {part.rstrip()}\n" for part in re.split(r"^## ", text, flags=re.M)[1:]}


if __name__ == "__main__":
    main(sys.argv[1:] or list(ALL))
