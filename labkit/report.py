"""report.typ and results.json -> report.pdf and report.html."""

import re
from pathlib import Path
from typing import Literal

import typst

from labkit.errors import LabkitError
from labkit.files import ROOT, shown, written

KINDS: tuple[Literal["pdf", "html"], ...] = ("pdf", "html")
SIZES = 4  # of letters, to be tried one after the other


def pictures() -> list[str]:
    """The names of the pictures that report.typ shows, each a file in figures/<preset>/ once its notebook has run."""
    return re.findall(r'picture\(figures, "(\w+)"', (ROOT / "report" / "report.typ").read_text(encoding="utf-8"))


def render(preset: str, root: Path = ROOT) -> list[Path]:
    """Compile the report of a preset into report/build/<preset>/report.pdf and report.html; returns the two paths.

    `root` is the folder with report/ and figures/. Raises LabkitError, with typst's own message, if a number that the
    text needs is missing or a guard in the text fails.
    """
    folder = root / "report" / "build" / preset
    results = folder / "results.json"
    if not results.is_file():
        raise LabkitError(f"{shown(results)}: is not there yet; run `make report PRESET={preset}`")
    # Only the fonts that come with typst: the same pages on every machine.
    compiler = typst.Compiler(root / "report" / "report.typ", root=root, ignore_system_fonts=True)
    paths = []
    for kind in KINDS:
        inputs = {
            "format": kind,
            "results": f"/{results.relative_to(root).as_posix()}",
            "figures": f"/figures/{preset}",
        }
        try:
            document = _compiled(compiler, kind, inputs)
            assert isinstance(document, bytes)  # a list for PNGs, one a page
        except typst.TypstError as error:
            raise LabkitError(f"report/report.typ: {' '.join(error.message.split())}") from None
        if kind == "html":
            # Both go into the page: it is one file, and needs no network.
            style, script = (
                (root / "report" / name).read_text(encoding="utf-8") for name in ("style.css", "script.js")
            )
            page = document.decode().replace("</head>", f"<style>{style}</style></head>", 1)
            document = page.replace("</body>", f"<script>{script}</script></body>", 1).encode()
        paths.append(folder / f"report.{kind}")
        with written(paths[-1]) as temporary:
            temporary.write_bytes(document)
    return paths


def _compiled(compiler: typst.Compiler, kind: Literal["pdf", "html"], inputs: dict[str, str]) -> object:
    """The document. Where figures fall on certain places of a page, typst fails to tag a PDF for screen readers.

    These are its issues 8487 and 8776. In letters a twentieth of a point smaller, figures fall on other places; if those do
    not help, the PDF is made without tags, and looks the same.
    """
    for smaller in range(SIZES):
        try:
            return compiler.compile(format=kind, sys_inputs=inputs | {"smaller": str(smaller)})
        except typst.TypstError as error:
            if kind == "html" or "internal error" not in error.message:
                raise
    print(
        "report.pdf has no tags for screen readers: typst cannot make them for these pages. report.html can be read aloud"
    )
    return compiler.compile(format=kind, sys_inputs=inputs, pdf_tags=False)
