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
smallest and the largest in brackets. Only ratios carry over to another machine; each processor keeps what it gave last.
In virtual machines several processors share one name: where no family and model stand, they were not noted then.
"""
BENCH = Path(__file__).parent
RESULTS = BENCH / "RESULTS.md"
ALL = ("step", "epoch", "pipeline", "peers", "packing", "judging", "growth", "precision", "report")
MORE = ("whole", "fuzz")  # only by name: one takes long, the other is no measurement of speed


def main(names: list[str]) -> None:
    for name in names:
        if name not in ALL + MORE:
            sys.exit(f"nothing here measures {name!r}; there are: {', '.join(ALL + MORE)}")
    measured = _measured()
    # Asked once, before RESULTS.md is written and while the code is what is measured.
    how = f"{torch.get_num_threads()} cores, torch {torch.__version__}, commit {commit()}"
    for name in names:
        print(f"{name} ...", flush=True)
        done = subprocess.run([sys.executable, f"bench/{name}.py"], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr}")
        told = done.stdout.strip()
        print(told)
        command = "make fuzz" if name == "fuzz" else f"make bench ONLY={name}"
        measured.setdefault(name, {})[processor()] = f"`{command}`, {date.today()}, {how}\n\n{told}"
        RESULTS.write_text(_page(measured), encoding="utf-8")


def _measured() -> dict[str, dict[str, str]]:
    """What RESULTS.md has already: by measurement, then by processor."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else ""
    measured = {}
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        about, *each = re.split(r"^### ", section, flags=re.M)
        told = (of_one.split("\n", 1) for of_one in each)
        measured[about.split("\n", 1)[0]] = {where: text.strip() for where, text in told}
    return measured


def _page(measured: dict[str, dict[str, str]]) -> str:
    """RESULTS.md: a section a measurement, and in it what each processor gave last."""
    parts = [HEAD]
    for name in filter(measured.get, ALL + MORE):
        about = ast.get_docstring(ast.parse((BENCH / f"{name}.py").read_text(encoding="utf-8")))
        parts.append(f"## {name}\n\n{about}\n")
        parts += [f"### {where}\n\n{told}\n" for where, told in measured[name].items()]
    return "\n".join(parts)


if __name__ == "__main__":
    main(sys.argv[1:] or list(ALL))
