"""Knobs, presets and the folders of runs."""

import math

import pytest

from labkit import experiment, presets
from labkit.errors import LabkitError
from labkit.files import ROOT
from labkit.parameters import from_notebook
from labkit.presets import load, load_all, load_preset

CELL = "# Parameters of this notebook; whatever\npreset = 'smoke'\nexperiment = 'lung-bce'\nseed = 0\nlr = -1\n"


def refused(**given) -> str:
    with pytest.raises(LabkitError) as error:
        load("smoke", "lung-bce", **given)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_paper_preset_is_the_reference():
    """Every number of the reference report, sections III-B to III-D."""
    runs = load_all("paper")
    assert [(run.task, run.loss) for run in runs] == [
        ("lung", "bce"),
        ("lung", "bce_iou"),
        ("infection", "bce"),
        ("infection", "bce_iou"),
    ]
    for run in runs:
        assert (run.base, run.size, run.batch, run.epochs) == (64, 256, 16, 10)
        assert (run.lr, run.weight_decay, run.patience, run.factor, run.clip) == (1e-4, 1e-5, 7, 0.5, 1.0)
        assert (run.flip, run.rotate, run.degrees, run.brighten, run.brightness) == (0.5, 0.5, 15, 0.5, 0.2)
        assert run.alpha == 0.5


@pytest.mark.parametrize("preset", sorted(path.stem for path in presets.PRESETS.glob("*.yml")))
def test_presets_have_the_four_runs_and_say_why(preset):
    presets.reference_runs(load_all(preset))
    for knob in load_preset(preset).settings:
        lines = (presets.PRESETS / f"{preset}.yml").read_text().splitlines()
        assert any(line.strip().startswith(f"{knob}:") and "#" in line for line in lines), f"{knob} has no reason"


def test_given_wins_over_preset_over_report():
    assert load("smoke", "lung-bce").lr == 0.01  # the preset
    assert load("smoke", "lung-bce").clip == 1.0  # the report
    assert load("smoke", "lung-bce", lr=0.5).lr == 0.5


def test_changed_knob_names_its_own_folder():
    assert load("smoke", "lung-bce").folder.parts[-3:] == ("smoke", "lung-bce", "seed0")
    assert load("smoke", "lung-bce", lr=0.5, seed=2).folder.parts[-2:] == ("lung-bce,lr=0.5", "seed2")
    # The preset's own value, and what only says where or on what a run is made, are no change.
    assert load("smoke", "lung-bce", lr=0.01, threads=1, data="elsewhere").name == "lung-bce"
    assert load("smoke", "lung-bce", precision="fp32").name == "lung-bce,precision=fp32"


def test_errors_name_the_knob():
    assert "epoch: there is no such knob (did you mean 'epochs'?)" in refused(epoch=3)
    assert refused(lr="fast").startswith("lr: ")
    assert refused(epochs=2.5).startswith("epochs: ")
    assert refused(epochs=True).startswith("epochs: ")
    assert refused(epochs=0).startswith("epochs: ")
    assert refused(lr=math.nan).startswith("lr: ")
    assert refused(lr=math.inf).startswith("lr: ")
    assert "multiple of 8" in refused(size=100)
    assert refused(name="mine").startswith("name: ")
    with pytest.raises(LabkitError, match="did you mean 'smoke'"):
        load_preset("smok")
    with pytest.raises(LabkitError, match="did you mean 'lung-bce'"):
        load("smoke", "lung_bce")


def test_preset_names_do_not_leave_their_folder():
    with pytest.raises(LabkitError, match="there is no"):
        load_preset("../presets/smoke")


def test_broken_preset_file(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    for content in ("about: x\nexperiment: {}", "[1, 2]", "about: 'x", "about: x\nexperiments: {}"):
        (tmp_path / "mine.yml").write_text(content)
        with pytest.raises(LabkitError, match="mine.yml") as error:
            load_preset("mine")
        assert "\n" not in str(error.value)


def test_the_four_runs_are_what_their_names_say():
    runs = load_all("smoke")
    presets.reference_runs(runs)
    for wrong in ({"task": "lung"}, {"loss": "bce"}, {"controls": True}):
        swapped = [*runs[:3], runs[3].model_copy(update=wrong)]
        with pytest.raises(LabkitError, match="smoke.yml: the report needs an experiment named infection-bce_iou"):
            presets.reference_runs(swapped)


def test_yaml_may_bring_in_what_is_changed_then(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    text = """
about: x
experiments:
  a: &a {task: infection, loss: bce, epochs: 3}
  b: {<<: *a, epochs: 4}
"""
    (tmp_path / "mine.yml").write_text(text)
    found = load("mine", "b")
    assert (found.loss, found.epochs) == ("bce", 4)


def test_preset_errors_name_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    runs = "experiments: {a: {task: lung, loss: bce}}"
    for content, told in (
        (f"about: x\nsettings: {{epoch: 3}}\n{runs}", "a: epoch: there is no such knob"),
        (f"about: x\nsettings: {{seed: 3}}\n{runs}", "settings: seed is not set by a preset's settings"),
        (
            "about: x\nexperiments: {a: {task: lung, loss: bce, seed: 1}}",
            "experiments: seed is not set by a preset's settings",
        ),
        ("about: x\nexperiments: {a: {task: lung}}", "a: loss: is missing"),
        ("about: x\nexperiments: {a b: {task: lung, loss: bce}}", "'a b': an experiment's name must begin with"),
        ("about: x\nexperiments: {..: {task: lung, loss: bce}}", "'..': an experiment's name must begin with"),
        (
            "about: x\nexperiments: {a: {task: lung, loss: bce, pretrained: b}, b: {task: lung, loss: bce}}",
            "a: pretrained: b must stand above it",
        ),
        ("about: x\nexperiments: {a: {task: lung, loss: bce, pretrained: a}}", "a: pretrained: a must stand above it"),
        (f"about: x\n{runs[:-1]}, a: {{task: lung, loss: dice}}}}", "'a' stands twice"),
        ("about: x\nexperiments: {a: {task: lung, loss: bce, loss: dice}}", "'loss' stands twice"),
        (
            "about: x\nexperiments: {a: {task: infection, loss: bce, lung_input: true, lungs: true}}",
            'a: lungs: must be text; put it in quotes: "true"',
        ),
        ("about: 2026-02-30", "not a preset: day is out of range for month"),
        ("about: Lungenflügel".encode("latin-1"), "not a preset: 'utf-8' codec can't decode"),
        (f"about: x\nat_once: 2\nsettings: {{threads: 4}}\n{runs}", "threads: with at_once (2) each has its share"),
    ):
        (tmp_path / "mine.yml").write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(LabkitError, match=r"mine\.yml: ") as error:
            load("mine", "a")
        assert told in str(error.value) and "\n" not in str(error.value)
    (tmp_path / "a{b}.yml").write_text(f"about: x\n{runs}")
    with pytest.raises(LabkitError, match=r"a\{b\}\.yml: braces in a name"):
        load("a{b}", "a")


def notebook(*cells: str) -> dict:
    """The namespace of a notebook in which these cells were run."""
    namespace = {"In": ["", *cells, "run = from_notebook(globals())"]}
    for cell in cells:
        exec(cell, namespace)
    return namespace


def test_notebook_neutral_values_come_from_the_preset():
    assert from_notebook(notebook(CELL)) == load("smoke", "lung-bce")


def test_notebook_takes_what_papermill_injects():
    run = from_notebook(notebook(CELL, "# Parameters\nlr = 0.25\nexperiment = 'infection-bce'\nseed = 0\n"))
    assert (run.lr, run.task, run.seed) == (0.25, "infection", 0)


def test_notebook_refuses_a_misspelt_parameter():
    with pytest.raises(LabkitError, match="epoch: there is no such knob"):
        from_notebook(notebook(CELL, "# Parameters\nepoch = 3\n"))
    with pytest.raises(LabkitError, match="dat: not a parameter of this notebook .did you mean 'data'"):
        from_notebook(
            notebook("# Parameters of this notebook\npreset = 'smoke'\ndata = ''\n", "# Parameters\ndat = 'x'\n")
        )


def test_an_empty_experiment_is_refused_by_name():
    with pytest.raises(LabkitError, match="^experiment: preset smoke has no ''; it has lung-bce, "):
        from_notebook(notebook(CELL, "# Parameters\nexperiment = ''\n"))


def test_a_notebook_of_all_runs_takes_no_experiment():
    with pytest.raises(LabkitError, match="^experiment: not a parameter of this notebook"):
        from_notebook(
            notebook("# Parameters of this notebook\npreset = 'smoke'\n", "# Parameters\nexperiment = 'lung-bce'\n")
        )


def test_notebook_ignores_the_readers_own_variables_and_older_parameters():
    cells = [CELL.replace("lr = -1", "lr = 0.75"), "mine = 3", CELL]
    assert from_notebook(notebook(*cells)) == load("smoke", "lung-bce")


def test_notebook_reads_annotated_parameters():
    assert from_notebook(notebook(CELL + "clip: float = 0.5\n")).clip == 0.5


def test_notebook_without_history():
    """nbval runs cells without keeping them; a reader may also lose the cell's first line."""
    namespace = notebook(CELL.replace("lr = -1", "lr = 0.75"), "import math\n_own = 3")
    namespace["In"] = [""]
    assert from_notebook(namespace).lr == 0.75
    with pytest.raises(LabkitError, match="epoch: there is no such knob"):
        from_notebook(namespace | {"epoch": 3})


def test_notebook_without_experiment_gets_all():
    runs = from_notebook(notebook("# Parameters of this notebook\npreset = 'smoke'\ndata = ''\n"))
    assert runs == load_all("smoke")


def test_seeds_of_a_preset(tmp_path, monkeypatch):
    text = (presets.PRESETS / "smoke.yml").read_text()
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    (tmp_path / "many.yml").write_text(f"seeds: [3, 0]\n{text}")
    runs = load_all("many")
    assert [(run.name, run.seed) for run in runs[3:5]] == [("infection-bce_iou", 3), ("lung-bce", 0)] and len(runs) == 8
    assert {run.seed for run in presets.reference_runs(runs).values()} == {3}  # the first
    for seeds, told in (("[1, 1]", "must differ"), ("[-1]", "seeds.0"), ("[]", "at least 1"), ("[x]", "valid integer")):
        (tmp_path / "wrong.yml").write_text(f"seeds: {seeds}\n{text}")
        with pytest.raises(LabkitError, match=told):
            load_all("wrong")


def test_seeds_of_one_experiment(tmp_path, monkeypatch):
    """And the runs that it starts from: listed, and with the same seeds."""
    text = (presets.PRESETS / "smoke.yml").read_text()
    monkeypatch.setattr(presets, "PRESETS", tmp_path)

    def preset(extra):
        (tmp_path / "more.yml").write_text(f"{text}  more: {{task: infection, loss: bce, {extra}}}\n")
        return [(run.name, run.seed) for run in load_all("more")]

    assert preset("seeds: [2, 0]")[4:] == [("more", 0), ("more", 2)]
    assert load("more", "more", seed=1).seed == 1  # by hand, any
    assert ("more", 0) in preset("pretrained: lung-bce") and ("more", 0) in preset("lung_input: true, lungs: lung-bce")
    for extra, told in (
        ("seeds: 3", "more: seeds: must be a list, such as .0, 1, 2. .got 3."),
        ("seeds: [1, 1]", "more: seeds: must differ from each other"),
        ("pretrained: lung-bse", "more: pretrained: the preset has no experiment 'lung-bse' .did you mean 'lung-bce'"),
        ("lung_input: true, lungs: x", "more: lungs: the preset has no experiment 'x'$"),
        ("pretrained: lung-bce, seeds: [0, 1]", "more: pretrained: lung-bce must be run with the same seeds"),
    ):
        with pytest.raises(LabkitError, match=told):
            preset(extra)


def test_no_two_experiments_have_one_name():
    """A run's name with a knob in it, and the same knob of the run that starts from it."""
    chained = load("smoke", "infection-bce", pretrained="lung-bce,zoom=0.5")
    apart = load("smoke", "infection-bce", pretrained="lung-bce", zoom=0.5)
    assert chained.name == "infection-bce,pretrained=(lung-bce,zoom=0.5)" and apart.folder != chained.folder
    assert apart.name == "infection-bce,pretrained=lung-bce,zoom=0.5"


def test_the_four_runs_are_of_one_seed(tmp_path, monkeypatch):
    text = (presets.PRESETS / "smoke.yml").read_text()
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    for bce, seeds in (("[1]", None), ("[2, 1, 0]", {0}), ("[2, 1]", None), ("[0]", {0})):
        changed = text.replace("{task: lung, loss: bce}", f"{{task: lung, loss: bce, seeds: {bce}}}")
        assert changed != text
        (tmp_path / "mine.yml").write_text(changed)
        if seeds:
            assert {run.seed for run in presets.reference_runs(load_all("mine")).values()} == seeds
        else:
            with pytest.raises(
                LabkitError, match="^workflow/presets/mine.yml: seeds: lung-bce, .* must have one in common"
            ):
                presets.reference_runs(load_all("mine"))


def test_a_number_that_yaml_takes_for_text(tmp_path, monkeypatch):
    text = (presets.PRESETS / "smoke.yml").read_text()
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    (tmp_path / "mine.yml").write_text(text.replace("{task: lung, loss: bce}", "{task: lung, loss: bce, lr: 1e-3}"))
    with pytest.raises(LabkitError, match="lr: .* .got '1e-3'; write it with a point, as 1.0e-3.$"):
        load("mine", "lung-bce")


def test_knobs_that_need_each_other():
    with pytest.raises(LabkitError, match="^film_gate: needs tta 1"):
        load("smoke", "infection-bce", film_gate=True, multitask=True, controls=True, tta=2)
    for knobs, told in (
        ({"controls": True}, "controls: is for the infection task"),
        ({"multitask": True}, "multitask: is for the infection task"),
        ({"lungs": "lung-bce"}, "lungs: needs lung_input or lung_prior"),
        ({"film_gate": True}, "film_gate: needs multitask and controls"),
    ):
        with pytest.raises(LabkitError, match=f"^{told}"):
            load("smoke", "lung-bce", **knobs)
    with pytest.raises(LabkitError, match="^film_gate: needs multitask and controls"):
        load("smoke", "infection-bce", film_gate=True, multitask=True)
    assert load("smoke", "infection-bce", film_gate=True, multitask=True, controls=True).film_gate


def test_an_experiment_prints_itself():
    run = load("smoke", "lung-bce", data="<b>films</b>")
    assert "size=64" in repr(run) and "clip" not in repr(run)  # the report's value
    assert eval(repr(run), {"Experiment": experiment.Experiment}) == run
    table = run._repr_html_()
    assert '<th scope="row">size</th><td><b>64</b></td><td>256</td>' in table  # differs from the report
    assert '<th scope="row">clip</th><td>1.0</td><td></td>' in table
    assert '<th scope="row">task</th><td>lung</td><td></td>' in table  # the report has both
    assert "&lt;b&gt;films&lt;/b&gt;" in table and "<b>films" not in table
    assert table.count("<tr>") == 1 + len(experiment.Experiment.model_fields)


@pytest.mark.parametrize("preset", ["best", "beyond"])
def test_readme_says_how_many_trainings_a_preset_has(preset):
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| `{preset}`"))
    assert f"{len(load_all(preset))} trainings" in row


def test_an_experiment_needs_a_seed_of_its_base(tmp_path, monkeypatch):
    text = (presets.PRESETS / "smoke.yml").read_text()
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    (tmp_path / "mine.yml").write_text(text + "  infection-x: {task: infection, loss: dice, seeds: [1]}\n")
    with pytest.raises(
        LabkitError, match="mine.yml: infection-x: seeds: must have one in common with infection-bce_iou"
    ):
        presets.reference_runs(load_all("mine"))
    (tmp_path / "mine.yml").write_text(text + "  infection-x: {task: infection, loss: dice, seeds: [1, 0]}\n")
    assert len(presets.reference_runs(load_all("mine"))) == 4
