"""The command line: `labkit --help`. Each command is a few lines over a function of labkit, which does the work."""

import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from labkit.errors import LabkitError

# labkit's other modules are imported where they are needed, so that --help and a wrong command answer at once.


class OneLineErrors(typer.core.TyperGroup):
    """Errors that labkit foresees, and files that cannot be opened, are told in one line; an interrupt, or `kill`, says that
    nothing is lost.
    """

    def invoke(self, context):
        # `kill` as Ctrl-C; and that too where a script started us with &, which lets us and all that we start ignore it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler)
        try:
            return super().invoke(context)
        except LabkitError as error:
            print(f"labkit: {error}", file=sys.stderr)
            raise typer.Exit(1) from None
        except OSError as error:  # a folder that may not be read, say
            if not error.filename:
                raise
            from labkit.files import shown

            print(f"labkit: {shown(error.filename)}: {error.strerror}", file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print(
                "labkit: interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr
            )
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A lab report on chest X-ray segmentation that rebuilds itself. Not for clinical use.",
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
RunName = Annotated[
    str, typer.Argument(help="<preset>/<experiment>, with /seed<k> for another seed than 0; `labkit runs` lists them.")
]


@app.command()
def report(
    preset: Annotated[str, typer.Argument(help="A file of workflow/presets: smoke, demo, laptop, paper, …")],
    data: Annotated[
        str,
        typer.Option(
            help="Folder of COVID-QU-Ex, or 'phantom'; the preset's if left out. A relative path counts from labkit's folder."
        ),
    ] = "",
    profile: Annotated[str, typer.Option(help="Folder that says where jobs run: workflow/profiles/slurm.")] = "",
    gpus: Annotated[
        int,
        typer.Option(
            min=0, help="GPUs of this machine, with a training on each; 0: as many at once as the preset says."
        ),
    ] = 0,
) -> None:
    """Make a preset's report: train, score, draw and write whatever is missing or out of date.

    Example: labkit report laptop --data ../covidqu
    """
    from labkit import workflow

    workflow.report(preset, data, profile, gpus)


@app.command()
def render(preset: Annotated[str, typer.Argument(help="A preset whose results are there.")]) -> None:
    """Only write report.pdf and report.html again, from results.json and figures.

    Example: labkit render demo
    """
    from labkit.report import render

    render(preset)


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(help="Where to draw them; a folder that is empty or not there yet.")],
    films: Annotated[int, typer.Option(min=12, max=100_000, help="Films to train on in each task.")] = 192,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same films.")] = 0,
) -> None:
    """Draw a synthetic data set in the layout of COVID-QU-Ex, for trials and tests.

    Example: labkit phantom /tmp/films --films 60, then labkit report smoke --data /tmp/films
    """
    from labkit.files import shown
    from labkit.phantom import write_tree

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LabkitError(f"{shown(folder)}: is not empty; name a folder that is empty or not there yet")
    try:
        write_tree(folder, films, seed)
    except KeyboardInterrupt:
        raise LabkitError(
            f"{shown(folder)}: interrupted, so films are missing; remove it before you draw again"
        ) from None
    print(
        f"{shown(folder)}: {films} films to train on in each task, or nearly; others, and controls, in the official proportions"
    )


@app.command()
def check(
    data: Annotated[
        str,
        typer.Argument(help="Folder laid out like COVID-QU-Ex; a relative path counts from labkit's folder."),
    ],
    as_json: Json = False,
) -> None:
    """Audit a data folder: what is there, what is missing, odd or twice. Writes a page with pictures too.

    Example: labkit check data/covidqu
    """
    from labkit import check
    from labkit.files import shown

    with contextlib.redirect_stdout(sys.stderr):  # how far it is: a script reads the findings alone
        found = check.check(data)
    # Before the page: where that cannot be written, what was found is not lost.
    print(
        json.dumps({one.task: one.as_dict() for one in found}, indent=2) if as_json else check.text(found), flush=True
    )
    page = check.write_page(found, data)
    print(f"with pictures: {shown(page)}", file=sys.stderr)
    if any(one.unusable for one in found):
        raise typer.Exit(1)


@app.command()
def download() -> None:
    """Fetch COVID-QU-Ex from Kaggle into data/covidqu, or say exactly what to fetch and where to put it.

    Example: labkit download
    """
    from labkit.download import download

    download()


@app.command()
def predict(
    run: RunName,
    files: Annotated[
        list[Path], typer.Argument(help="Films (PNG, JPEG, DICOM; any size and depth), or folders of them.")
    ],
    to: Annotated[Path, typer.Option(help="Folder for masks, overlays, predictions.csv and contact sheets.")] = Path(
        "predictions"
    ),
    lung: Annotated[
        str, typer.Option(help="The lung run for an infection run's share of the lungs; else one of its preset.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Find lungs or infections in films of your own. Not for clinical use.

    Writes a mask and an overlay of each film's own size, predictions.csv and contact sheets. For an infection run it also
    says what share of the lungs is infected; the lungs are found by --lung, or by the lung run of the same preset.

    Example: labkit predict demo/infection-bce_iou film.dcm more-films/
    """
    from labkit import predict, runs
    from labkit.files import shown

    chosen = runs.find(run)
    paths = predict.films_in(files, to)
    predictor = predict.Predictor(chosen, runs.find(lung) if lung else predict.lung_run_for(chosen))
    rows, refused = predict.write(predictor, paths, to)
    if as_json:
        print(rows.to_json(orient="records", indent=2))
    elif len(rows):
        print(rows.round(4).to_string(index=False))
    if len(rows):
        print(f"masks, overlays and contact sheets: {shown(to)}. {predict.NOTICE}", file=sys.stderr)
    if chosen.experiment.task == "infection" and "lung" not in predictor.parts:
        print("no share of the lungs: no lung run is trained beside this one; name one with --lung", file=sys.stderr)
    for line in refused:
        print(f"labkit: {line}", file=sys.stderr)
    if refused:
        raise typer.Exit(1)


@app.command()
def export(
    run: RunName,
    to: Annotated[Path, typer.Option(help="Folder for model.onnx and MODEL_CARD.md.")] = Path("exports"),
    data: Annotated[
        str,
        typer.Option(help="Films to check it on, counted from labkit's folder; those of the run's preset if left out."),
    ] = "",
) -> None:
    """Write a run's best network as ONNX, checked against the checkpoint, with a model card.

    Example: labkit export laptop/infection-bce_iou
    """
    from labkit import export, runs
    from labkit.files import shown

    folder = to / run.strip("/").replace("/", "-")
    checked = export.export(runs.find(run), folder, data)
    print(
        f"{shown(folder)}: model.onnx and MODEL_CARD.md. On {checked['films']} test films the probabilities differ from the "
        f"checkpoint's by at most {checked['largest_difference']:.1e}, and {checked['mask_agreement']:.4%} of mask pixels agree"
    )


@app.command()
def runs(
    preset: Annotated[str, typer.Argument(help="Only runs of this preset.")] = "",
    as_json: Json = False,
) -> None:
    """List what has been run: settings, scores on the test films, time.

    Example: labkit runs demo
    """
    import pandas as pd

    from labkit.errors import meant
    from labkit.runs import REDUCTION, SCORES, every

    rows = [run.summary() for run in every(preset)]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        table = pd.DataFrame(rows).astype({f"test {score}": float for score in SCORES})
        print(table.to_string(index=False, na_rep="", float_format="{:.3f}".format))
        print(REDUCTION)
    elif known := sorted({run.folder.parts[-3] for run in every()}) if preset else []:
        print(
            f"nothing of preset {preset!r} has been run yet{meant(preset, known)}; there are runs of {', '.join(known)}"
        )
    else:
        print("nothing has been run yet; `labkit report demo` runs four experiments")


@app.command()
def compare(first: RunName, second: RunName, as_json: Json = False) -> None:
    """Two runs side by side: settings that differ, scores, and whether the difference is more than chance.

    Example: labkit compare demo/infection-bce demo/infection-bce_iou
    """
    from labkit import runs

    found = runs.compare(runs.find(first), runs.find(second))
    print(json.dumps(found, indent=2) if as_json else runs.compared_text(found))


def main() -> None:
    """What `labkit` and `python -m labkit` call."""
    app(prog_name="labkit")
