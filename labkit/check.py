"""`labkit check`: the audit of a data folder, as text and as a page with pictures. Every file is looked at, none is changed."""

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from labkit import audit, dataset, eda_figures, store
from labkit.errors import LabkitError
from labkit.files import build_folder, resolve, shown, written
from labkit.threads import in_threads

PAGE = Path(__file__).parents[1] / "report" / "check.html"
SHOWN = 8  # files or films in a list; the JSON has all


@dataclass(frozen=True)
class Checked:
    """What was found of one task's films."""

    task: str
    unusable: list[str]  # a line for each thing that stops a run; the rest is empty then
    pack: store.Pack | None = None
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)  # audit.duplicates
    odd: pd.DataFrame = field(default_factory=pd.DataFrame)  # audit.odd_masks
    summary: dict = field(default_factory=dict)  # audit.summarise

    def as_dict(self) -> dict:
        """What --json prints: `unusable`, and, where nothing is, films by split and class, warnings, and the audit."""
        if self.pack is None:
            return {"unusable": self.unusable}
        counts = dataset.counts(self.pack.samples).to_dict("index")
        return {"unusable": [], "films": counts, "warnings": self.pack.about["warnings"], "audit": self.summary}


def check(data: str) -> list[Checked]:
    """Audit both tasks of a data folder. Raises LabkitError if it is no folder."""
    root = resolve(data)
    if not root.is_dir():
        raise LabkitError(f"data: {shown(root)} is not a folder; give one laid out like COVID-QU-Ex (data/README.md)")
    lung, infection = (_check_task(root, task) for task in ("lung", "infection"))
    if lung.pack and infection.pack:
        infection.summary["shared"] = audit.shared(infection.pack, lung.pack)
    return [lung, infection]


def _check_task(root: Path, task: str) -> Checked:
    try:
        samples = dataset.index(root, task)
    except LabkitError as error:
        return Checked(task, [str(error)])
    try:
        pack = store.pack(root, task, dataset.OFFICIAL_SIDE)
    except LabkitError as error:  # the first that is wrong
        return Checked(task, _unusable(samples) or [str(error)])
    findings = audit.look(pack)
    return Checked(task, [], pack, findings.duplicates, findings.odd_masks, audit.summarise(pack, findings))


def _unusable(samples: pd.DataFrame) -> list[str]:
    """All that is wrong with the files of a task, a line each: a run would stop at the first."""

    def one(sample) -> str | None:
        try:
            film = dataset.read_film(sample.image)
            dataset.read_mask(sample.mask, film, sample.control)
            dataset.read_mask(sample.lung, film)
        except LabkitError as error:
            return str(error)
        return None

    found = in_threads(one, list(samples.itertuples()))
    return [line for line in tqdm(found, "reading films", len(samples), unit="film", mininterval=1) if line]


def text(checked: list[Checked]) -> str:
    """What was found, as a few lines a task."""
    return "\n".join(line for one in checked for line in _lines(one))


def _lines(one: Checked) -> list[str]:
    title = f"{one.task} task: "
    if one.pack is None:
        listed = [f"  {line}" for line in one.unusable[:SHOWN]]
        more = len(one.unusable) - SHOWN
        return [f"{title}cannot be used", *listed, *([f"  and {more} more"] if more > 0 else [])]
    found, warnings = one.summary, one.pack.about["warnings"]
    lines = [f"{title}{found['films']:,} films, all can be used; the whole collection has {found['official']:,}"]
    for split, row in dataset.counts(one.pack.samples).iterrows():
        lines.append(f"  {str(split) + ':':6} " + ", ".join(f"{count} {name}" for name, count in row.items()))
    lines.append(
        f"  {found['pairs']} pairs show one picture twice, {found['exact']} pixel by pixel, {found['across']} across splits"
    )
    if found["mask_iou"] is not None:
        lines[-1] += f"; their two masks have an IoU of {found['mask_iou']:.2f} in the mean"
    if found["leaked"]:
        lines.append(f"  {_counted(found['leaked'])} stand in another split too")
    if found.get("shared"):
        lines.append(f"  {_counted(found['shared'])} are among those that the lung task learns from")
    odd = {"tiny": "under 0.5 % of the film", "specks": "with specks", "outside": "that leave the lung"}
    lines.append("  masks to look at: " + ", ".join(f"{found[kind]} {words}" for kind, words in odd.items()))
    for category, row in found["shortcuts"].items():
        names = {"brightness": "brightness", "marks": "burned-in letters"}
        auc = [f"{words} {row[f'{key}_auc']:.2f}" for key, words in names.items() if row[f"{key}_auc"] is not None]
        if auc:
            lines.append(f"  gives {category} away (AUC; .5 tells nothing, 0 and 1 all): {', '.join(auc)}")
    lines += [f"  odd: {line}" for line in warnings[:SHOWN]]
    return lines + ([f"  and {len(warnings) - SHOWN} more"] if len(warnings) > SHOWN else [])


def _counted(films: list[str]) -> str:
    return f"{len(films)} test films ({', '.join(films[:SHOWN])}{', ...' if len(films) > SHOWN else ''})"


def write_page(checked: list[Checked], data: str) -> Path:
    """Write report/build/check/<folder>.html: the same with pictures, in one file that needs no other; returns its path."""
    # jinja2 because it escapes: file names are not ours.
    template = jinja2.Environment(autoescape=True).from_string(PAGE.read_text(encoding="utf-8"))
    tasks = [{"task": one.task, "lines": _lines(one), "pictures": _pictures(one)} for one in checked]
    path = build_folder("check") / f"{resolve(data).name}.html"
    with written(path) as temporary:
        temporary.write_text(template.render(data=shown(resolve(data)), tasks=tasks), encoding="utf-8")
    return path


def _pictures(one: Checked) -> list[tuple[str, str]]:
    """Captions, and PNGs as data URLs: some films of each class, films that stand twice, and films with odd masks."""
    if one.pack is None:
        return []
    some = one.pack.samples.groupby("class").head(4).index
    pictures = [("Films of each class", _outlined(one.task, one.pack, some))]
    if len(one.pairs):
        pictures.append(
            ("Films that show one picture, those in two splits first", eda_figures.film_pairs(one.pack, one.pairs))
        )
    if len(one.odd):
        pictures.append(("Films whose masks are worth a look", _outlined(one.task, one.pack, one.odd.index[:SHOWN])))
    return [(caption, _data_url(figure)) for caption, figure in pictures]


def _outlined(task: str, pack: store.Pack, rows: pd.Index) -> Figure:
    outlines = {"lung": pack.lungs[rows]} | ({"infection": pack.masks[rows]} if task == "infection" else {})
    titles = [eda_figures.named(film) for _, film in pack.samples.loc[rows].iterrows()]
    return eda_figures.outlined_films(pack.images[rows], outlines, titles)


def _data_url(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
