"""The `labkit` command as a user types it, on small runs and films."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import live_in
from PIL import ExifTags, Image
from typer.testing import CliRunner

from labkit import dataset, download, export, metrics, phantom, predict, progress, runs, statistics, store
from labkit.cli import app
from labkit.evaluation import evaluate
from labkit.presets import Preset, load
from labkit.training import fit


def labkit(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


NAMES = ("lung-bce_iou", "infection-bce", "infection-bce_iou")


@pytest.fixture(scope="module")
def project(tree, tmp_path_factory):
    """A project folder with a lung run and two infection runs, scored; to be copied."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        live_in(root, patch)
        for name in NAMES:
            evaluate(load("smoke", name, data=str(tree), epochs=1, size=32, base=2))
    return root


@pytest.fixture
def trained(project, home):
    """The runs of a copy of that project, in which the test is at home."""
    shutil.copytree(project, home, dirs_exist_ok=True)
    return [runs.Run(next(home.glob(f"runs/smoke/{name},*/seed0"))) for name in NAMES]


def test_help_of_every_command():
    commands = [command.callback.__name__ for command in app.registered_commands]
    assert set(commands) >= {"report", "render", "phantom", "check", "download", "predict", "export", "runs", "compare"}
    for command in commands:
        shown = labkit(command, "--help")
        assert shown.exit_code == 0 and "Usage: " in shown.output
    assert labkit("reprot").exit_code == 2


def test_runs(home, trained):
    listed = json.loads(labkit("runs", "--json").stdout)
    assert [row["run"] for row in listed] == sorted(run.name for run in trained)
    for row, run in zip(listed, runs.every()):
        rows = pd.read_csv(run.folder / "test.csv")
        assert row["state"] == "scored" and row["epochs"] == "1/1"
        assert row["test iou"] == pytest.approx(metrics.iou(rows[~rows["control"]]))
    told = labkit("runs", "smoke").stdout
    assert told.count("scored") == 3 and f"IoU and Dice: {metrics.REDUCTION}" in told
    assert "nothing of preset 'demo' has been run yet" in labkit("runs", "demo").stdout
    assert "nothing of preset '/tmp/*' has been run yet" in labkit("runs", "/tmp/*").stdout
    assert "nothing of preset 'smok' has been run yet (did you mean 'smoke'?)" in labkit("runs", "smok").stdout
    assert runs.find(trained[0].name) == runs.find(trained[0].name.removesuffix("/seed0")) == trained[0]
    assert trained[0].experiment.size == 32
    wrong = labkit("predict", trained[0].name.replace("lung", "lugn"), home)
    assert wrong.exit_code == 1 and f"did you mean '{trained[0].name}'" in wrong.stderr


def test_no_run_yet(home):
    for preset in ([], ["demo"]):
        assert "nothing has been run yet; `labkit report demo`" in labkit("runs", *preset).stdout


def test_a_run_prints_itself(trained):
    assert trained[0].name in trained[0]._repr_html_() and "scored" in trained[0]._repr_html_()


def test_states_of_a_run(trained):
    run = runs.Run(trained[0].folder)
    weights = (run.folder / "best.pt").read_bytes()
    (run.folder / "best.pt").write_bytes(weights + b"of another training")
    assert runs.Run(run.folder).state == "outdated"
    (run.folder / "best.pt").write_bytes(weights)
    assert runs.Run(run.folder).state == "scored"
    summary = json.loads((run.folder / "evaluation.json").read_text())
    summary["identity"]["code"] = "0" * 16
    del summary["checksum"]
    (run.folder / "evaluation.json").write_text(json.dumps(summary))
    assert run.state == "outdated"
    refused = labkit("compare", trained[0].name, trained[0].name)
    assert refused.exit_code == 1 and "is outdated, not scored" in refused.stderr
    (run.folder / "evaluation.json").unlink()
    assert runs.Run(run.folder).state == "trained"
    listed = labkit("runs").stdout
    assert "trained" in listed and "None" not in listed and "nan" not in listed.casefold()
    of_other_code(run)
    assert runs.Run(run.folder).state == "outdated"
    (run.folder / "training.json").unlink()
    assert runs.Run(run.folder).state == "interrupted"


def of_other_code(run):
    """Let a run be one that was trained before an edit."""
    made = json.loads((run.folder / "experiment.json").read_text())
    made["identity"]["code"] = "0" * 16
    del made["checksum"]
    (run.folder / "experiment.json").write_text(json.dumps(made))


def test_a_copied_run_is_not_taken_for_the_one_in_its_place(home, trained, grey):
    copy = shutil.copytree(trained[1].folder, home / "kept" / "smoke" / "infection-bce" / "seed0")
    Image.fromarray(grey).save(home / "film.png")
    for command, *films in (("predict", home / "film.png"), ("export",)):
        refused = labkit(command, copy, *films)
        assert refused.exit_code == 1 and "was moved or copied; put it back" in refused.stderr


def test_compare(trained):
    _, first, second = trained
    found = json.loads(labkit("compare", first.name, second.name, "--json").stdout)
    assert found["knobs"] == {"loss": ["bce", "bce_iou"]}
    ious = []
    for run in (first, second):
        rows = pd.read_csv(run.folder / "test.csv")
        ious.append(metrics.film_iou(rows[~rows["control"]]).to_numpy())
    assert found["difference"]["mean"] == pytest.approx(statistics.paired_difference(*ious)["mean"])
    told = labkit("compare", first.name, second.name).stdout
    assert f"over {first.name}" in told and f"IoU and Dice: {metrics.REDUCTION}" in told
    assert "not comparable" in labkit("compare", trained[0].name, first.name).stderr
    made = json.loads((second.folder / "experiment.json").read_text())
    made["identity"]["films"] = "of other films"
    del made["checksum"]
    (second.folder / "experiment.json").write_text(json.dumps(made))
    told = labkit("compare", first.name, second.name).stdout
    assert "of other films" in told and "their films differ; those of the same class and file name are paired" in told


def test_phantom(tmp_path, monkeypatch):
    assert labkit("phantom", tmp_path / "new", "--films", 12, "--seed", 3).exit_code == 0
    assert len(dataset.index(tmp_path / "new", "lung")) > 12
    again = labkit("phantom", tmp_path / "new")
    assert again.exit_code == 1 and "is not empty" in again.stderr
    with monkeypatch.context() as patched:
        patched.setattr(phantom, "draw", interrupt)
        stopped = labkit("phantom", tmp_path / "part")
    assert stopped.exit_code == 1 and "remove it before you draw again" in stopped.stderr


def interrupt(*_):
    raise KeyboardInterrupt


def test_check(home, tree, monkeypatch):
    monkeypatch.setattr(progress, "LONG", 0.0)
    found = labkit("check", tree, "--json")
    assert found.exit_code == 0 and "looking for letters on 18 films: 10 %" in found.stderr
    told = json.loads(found.stdout)
    for task in ("lung", "infection"):
        assert told[task]["unusable"] == []
        assert told[task]["films"]["All"]["All"] == sum(~dataset.index(tree, task)["control"] | (task == "infection"))
    page = (home / "report" / "build" / "check" / f"{tree.name}.html").read_text()
    pictures = r"data:image/png;base64,[A-Za-z0-9+/=]+"  # four letters stand in them by chance
    assert len(re.findall(pictures, page)) >= 2 and "http" not in re.sub(pictures, "", page).replace("http-equiv", "")


def test_findings_are_told_where_the_page_cannot_be_written(home, tree):
    (home / "report").write_text("in the way of the folder")
    found = labkit("check", tree, "--json")
    assert found.exit_code == 1 and json.loads(found.stdout)["lung"]["unusable"] == []
    assert "check" in found.stderr.splitlines()[-1] and "cannot be written" in found.stderr.splitlines()[-1]


def test_names_of_films_are_no_formulas(home, tree, tmp_path):
    """To matplotlib dollars enclose one. Two films are the same, so that both pictures of the page show such a name."""
    copy = shutil.copytree(tree, tmp_path / "copy")
    for number, sample in enumerate(dataset.index(copy, "lung").query("`class` == 'Normal'").head(2).itertuples()):
        for path in (Path(sample.image), Path(sample.mask)):
            shutil.copy(path, path.with_name(f"$\\frac$ {number}.png"))
    assert labkit("check", copy).exit_code == 0


def test_check_names_all_bad_files_and_escapes_them(home, tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "copy")
    paths = [Path(path) for path in dataset.index(copy, "lung")["image"][:3]]
    paths[0].write_bytes(b"no film")
    Image.new("L", (256, 200)).save(paths[1])
    evil = paths[2].with_name("<script>alert(1)</script>".replace("/", "_") + ".png")
    paths[2].rename(evil)  # its mask has another name now
    found = labkit("check", copy)
    assert found.exit_code == 1 and "has no mask of the same name" in found.output
    evil.rename(paths[2])
    found = labkit("check", copy)
    assert found.exit_code == 1 and paths[0].name in found.output and paths[1].name in found.output
    for kind in ("images", "lung masks"):
        folder = paths[0].parent.parent / kind
        (folder / paths[0].name).rename(folder / evil.name)
    labkit("check", copy)
    page = (home / "report" / "build" / "check" / "copy.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert labkit("check", tmp_path / "nothing").exit_code == 1


def test_download_without_a_network_says_what_to_do(tmp_path):
    closed = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    code = f"""
from pathlib import Path
from labkit import files
files.ROOT = Path({str(tmp_path)!r})
from labkit.cli import main
main()
"""
    environment = os.environ | closed | {"NO_PROXY": "", "no_proxy": ""}
    run = subprocess.run([sys.executable, "-c", code, "download"], env=environment, capture_output=True, text=True)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert "CC BY-SA 4.0" in run.stdout and download.HANDLE in run.stderr and "data/covidqu" in run.stderr


def test_download_links_what_kaggle_gave(home, tree, monkeypatch):
    (home / "data").mkdir(exist_ok=True)
    monkeypatch.setattr("kagglehub.dataset_download", lambda handle: str(tree))
    assert labkit("download").exit_code == 0
    assert len(dataset.index(home / "data" / "covidqu", "lung"))
    assert "is there already" in labkit("download").stdout
    (home / "data" / "covidqu").unlink()
    monkeypatch.setattr("kagglehub.dataset_download", lambda handle: str(home / "data"))
    assert "has no folder" in labkit("download").stderr


# predict


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    """A film that uses all 8 bits, from 0 to 255."""
    film = np.random.default_rng(0).integers(0, 256, (48, 40), dtype=np.uint8)
    film[0, :2] = 0, 255
    return film


def write_dicom(path, values: np.ndarray, photometric="MONOCHROME2", **tags):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        DigitalXRayImageStorageForPresentation,
        generate_uid(),
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, photometric, 0
    bits = 8 if values.dtype == np.uint8 else 12
    data.BitsAllocated, data.BitsStored, data.HighBit = 16 if bits == 12 else 8, bits, bits - 1
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = values.astype(np.uint16 if bits == 12 else np.uint8).tobytes()
    data.save_as(path)
    return path


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless"])
def test_compressed_dicom(tmp_path, grey, syntax):
    import gdcm

    plain, compressed = write_dicom(tmp_path / "plain.dcm", grey.astype(int) * 16), tmp_path / "compressed.dcm"
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(compressed))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert (predict.read(compressed) == predict.read(plain)).all()


def test_films_of_any_kind_are_read_alike(tmp_path, grey):
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.stack([grey] * 3, axis=2)).save(tmp_path / "colour.png")
    write_dicom(tmp_path / "film.dcm", grey.astype(int) * 16)
    write_dicom(tmp_path / "inverted.dcm", 4080 - grey.astype(int) * 16, "MONOCHROME1")
    for name in ("grey.png", "deep.png", "colour.png", "film.dcm", "inverted.dcm"):
        assert (predict.read(tmp_path / name) == grey).all(), name
    Image.fromarray(grey).save(tmp_path / "film.jpg", quality=95)
    assert np.abs(predict.read(tmp_path / "film.jpg").astype(int) - grey).mean() < 5  # JPEG loses some of it
    # 8-bit grey values stay as they are in any format, whatever range they fill.
    dull = grey // 4 + 100
    Image.fromarray(dull).save(tmp_path / "dull.png")
    write_dicom(tmp_path / "dull.dcm", dull)
    write_dicom(tmp_path / "dull inverted.dcm", 255 - dull, "MONOCHROME1")
    same = {"RescaleSlope": 1, "RescaleIntercept": 0}  # as the standard wants them of such films
    write_dicom(tmp_path / "dull scaled.dcm", 255 - dull, "MONOCHROME1", **same)
    write_dicom(tmp_path / "dull window.dcm", dull, WindowCenter=128, WindowWidth=256, **same)
    for name in ("dull.png", "dull.dcm", "dull inverted.dcm", "dull scaled.dcm", "dull window.dcm"):
        read = predict.read(tmp_path / name)
        assert read.dtype == np.uint8 and (read == dull).all(), name
    write_dicom(tmp_path / "doubled.dcm", grey // 2, RescaleSlope=2, RescaleIntercept=0)
    assert predict.read(tmp_path / "doubled.dcm").max() == 255  # another is applied, and its values are spread
    # A photograph stored on its side, with a note that says so.
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(grey)).save(tmp_path / "turned.jpg", quality=95, exif=turned)
    assert np.abs(predict.read(tmp_path / "turned.jpg").astype(int) - grey).mean() < 5
    windowed = write_dicom(tmp_path / "window.dcm", grey.astype(int) * 16, WindowCenter=1024, WindowWidth=2048)
    assert (predict.read(windowed)[grey > 160] == 255).all()  # above the window all is white
    Image.new("I;16", (8, 8), 7).save(tmp_path / "flat.png")
    assert not predict.read(tmp_path / "flat.png").any()


def test_what_is_no_film_is_refused_by_name(tmp_path, grey):
    (tmp_path / "bad.png").write_bytes(b"no film")
    (tmp_path / "bad.dcm").write_bytes(b"no film")
    (tmp_path / "words.txt").write_text("words")
    Image.new("L", (9000, 9000)).save(tmp_path / "huge.png")
    write_dicom(tmp_path / "many.dcm", grey, NumberOfFrames=2)
    for name in ("bad.png", "bad.dcm", "words.txt", "huge.png", "many.dcm"):
        with pytest.raises(predict.LabkitError, match=name):
            predict.read(tmp_path / name)


def test_a_film_of_the_runs_own_size_gets_the_mask_it_was_scored_with(trained):
    for run in trained:
        pack = store.load(run.experiment)
        predictor = predict.Predictor(run)
        scored = pd.read_csv(run.folder / "test.csv")
        for row, predicted in list(zip(pack.rows("Test", controls=True), scored["predicted"]))[:4]:
            found = predict.find_in(pack.images[row], *predictor.parts[run.experiment.task])
            assert (found > 0.5).sum() == predicted


def test_padding_is_taken_off_again(trained):
    part = predict.Predictor(trained[0]).parts["lung"]
    film = np.random.default_rng(1).integers(0, 256, (32, 20), dtype=np.uint8)
    square = np.zeros((32, 32), np.uint8)
    square[:, 6:26] = film
    assert (predict.find_in(film, *part) == predict.find_in(square, *part)[:, 6:26]).all()


def test_share_of_the_lungs():
    mask, lung = np.zeros((2, 4, 4), bool)
    mask[:2], lung[1:] = True, True
    film = predict.Film("a.png", "infection", np.zeros((4, 4), np.uint8), mask, lung)
    assert film.row()["lung_share"] == pytest.approx(4 / 12) and film.row()["mask_share"] == 0.5
    nothing = predict.Film("a.png", "infection", film.pixels, mask, np.zeros((4, 4), bool))
    assert nothing.row()["lung_share"] is None


def test_predict(home, trained, grey, monkeypatch):
    def found(pixels, network, experiment):
        """What trained networks might say: the lungs are all of a film, and infected in the upper half of that."""
        upper = np.arange(len(pixels))[:, None] < len(pixels) / 2
        return np.broadcast_to(upper if experiment.task == "infection" else True, pixels.shape).astype(np.float32)

    monkeypatch.setattr(predict, "find_in", found)
    folder = home / "films"
    for name in ("a/film.png", "b/film.png", "b/film-2.png", "b/it's <b>$x$.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(folder / name)
    done = labkit("predict", trained[2].name, folder, "--to", home / "out", "--lung", trained[0].name)
    assert done.exit_code == 0, done.output
    assert "Not for clinical use" in done.stderr
    table = pd.read_csv(home / "out" / "predictions.csv")
    assert table["lung_share"].tolist() == table["mask_share"].tolist() == [0.5] * 4
    for name, share in zip(table["mask"], table["mask_share"]):
        mask = np.asarray(Image.open(home / "out" / name))
        assert mask.shape == grey.shape and (mask == 255).mean() == pytest.approx(share)
        assert Image.open(home / "out" / name.replace("-mask", "-overlay")).size == grey.shape[::-1]
    assert len(set(table["mask"])) == 4 and (home / "out" / "contact-sheet-01.png").is_file()
    # Another call leaves nothing of the films of the first but their masks and overlays.
    (home / "out" / "contact-sheet-02.png").touch()
    labkit("predict", trained[2].name, folder / "a", "--to", home / "out", "--lung", trained[0].name)
    assert len(pd.read_csv(home / "out" / "predictions.csv")) == 1
    assert [path.name for path in home.glob("out/contact-sheet-*")] == ["contact-sheet-01.png"]
    into_a_file = labkit("predict", trained[2].name, folder / "a", "--to", home / "out" / "predictions.csv")
    assert into_a_file.exit_code == 1 and "cannot be written (Not a directory)" in into_a_file.stderr
    beside = labkit("predict", trained[2].name, folder / "a" / "film.png", "--to", folder / "a")
    assert beside.exit_code == 1 and "film.png lies in it, beside which nothing is written" in beside.stderr
    # What was written among the films is not taken for more of them.
    labkit("predict", trained[2].name, folder, "--to", folder / "out", "--lung", trained[0].name)
    again = labkit("predict", trained[2].name, folder, "--to", folder / "out", "--lung", trained[0].name, "--json")
    assert len(json.loads(again.stdout)) == 4
    shutil.rmtree(folder / "out")
    (folder / "bad.png").write_bytes(b"no film")
    some = labkit("predict", trained[2].name, folder, "--to", home / "more", "--lung", trained[0].name, "--json")
    assert some.exit_code == 1 and "bad.png" in some.stderr and len(json.loads(some.stdout)) == 4
    none = labkit("predict", trained[2].name, folder / "bad.png", "--to", home / "none", "--lung", trained[0].name)
    assert none.exit_code == 1 and not none.stdout and "overlays" not in none.stderr
    inside = labkit("predict", trained[2].name, folder / "a", "--to", folder)
    assert inside.exit_code == 1 and inside.stderr.startswith("labkit: --to: ") and "lies in it" in inside.stderr


def test_predict_refuses(home, trained, grey):
    wrong_lung = labkit("predict", trained[1].name, home, "--lung", trained[2].name)
    assert wrong_lung.exit_code == 1 and "holds no film" in wrong_lung.stderr
    Image.fromarray(grey).save(home / "film.png")
    assert "give a run of the lung task" in labkit("predict", trained[1].name, home, "--lung", trained[2].name).stderr
    alone = labkit("predict", trained[1].name, home / "film.png", "--to", home / "out")
    assert alone.exit_code == 0 and "no share of the lungs" in alone.stderr
    of_other_code(trained[1])
    assert "another version of the code" in labkit("predict", trained[1].name, home / "film.png").stderr
    (trained[1].folder / "training.json").unlink()
    assert "its training is not done" in labkit("predict", trained[1].name, home / "film.png").stderr


def test_the_lung_run_beside_an_infection_run(smoke):
    fit(smoke("infection-bce"))
    folder = smoke("infection-bce").folder
    assert predict.lung_run_for(runs.Run(folder)) is None
    fit(smoke("lung-bce"))
    assert predict.lung_run_for(runs.Run(folder)).folder == smoke("lung-bce").folder
    assert predict.lung_run_for(runs.Run(smoke("lung-bce").folder)) is None


# export


def test_export(home, trained, monkeypatch):
    import onnxruntime

    run = trained[1]
    done = labkit("export", run.name, "--to", home / "out")
    assert done.exit_code == 0, done.output
    (folder,) = (home / "out").iterdir()
    pack = store.load(run.experiment)
    films = pack.images[pack.rows("Test")][:, None].astype(np.float32) / 255
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    found = session.run(None, {"film": films})[0]
    card = " ".join((folder / "MODEL_CARD.md").read_text().split())
    assert "none of these shows a picture that stands among the others too" in card
    rows = pd.read_csv(run.folder / "test.csv")
    counted = rows.loc[~rows["control"], "probability"]
    # The run was scored in the machine's number format, bfloat16 perhaps.
    assert np.allclose(found.sum((1, 2, 3)), counted, rtol=0.02)
    card = (folder / "MODEL_CARD.md").read_text()
    assert "Trained on phantom films" in card and "Tahir" not in card
    assert "Not for clinical use" in card and f"| IoU | {run.evaluation['test']['iou']:.3f} |" in card
    shutil.rmtree(folder)
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    refused = labkit("export", run.name, "--to", home / "out")
    assert refused.exit_code == 1 and "differs from the checkpoint" in refused.stderr and not folder.exists()


def test_a_card_tells_whose_films_they_were(tmp_path, tree, monkeypatch):
    assert "phantom films" in export._films(tree, "laptop")[0]
    assert "not at hand" in export._films(tmp_path / "gone", "laptop")[0]
    assert "COVID-QU-Ex (A. M. Tahir" in export._films(tmp_path, "laptop")[0]
    monkeypatch.setattr(
        export, "load_preset", lambda name: Preset(about="", collection="our hospital", experiments={"a": {}})
    )
    origin, limits = export._films(tmp_path, "mylab")
    assert origin == "chest X-rays from our hospital" and "our hospital" in limits


def test_export_would_see_another_network(trained):
    import torch

    from labkit.training import load_best

    run = trained[1]
    networks = [export.Probabilities(load_best(run.experiment, torch.device("cpu")), run.experiment) for _ in range(2)]
    with torch.no_grad():
        networks[1].network.head.bias += 0.01
    films = torch.rand(2, 1, 32, 32)
    content = export._onnx(networks[0].eval(), 32)
    assert export.compare(networks[0], content, films)["largest_difference"] < export.TOLERANCE
    assert export.compare(networks[1].eval(), content, films)["largest_difference"] > export.TOLERANCE
