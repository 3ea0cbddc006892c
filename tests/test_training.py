"""A training learns, goes on bit for bit, and stops with one line."""

import dataclasses
import math
import shutil
import threading
import time

import pandas as pd
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from labkit import checkpoint, files, losses, phantom, progress, store, training, workflow
from labkit.errors import LabkitError
from labkit.files import read_json
from labkit.hardware import set_up_device
from labkit.presets import load
from labkit.schedule import cosine
from labkit.scoring import batches, score
from labkit.training import fit, load_best


def weights(run, name="last.pt"):
    return torch.load(run.folder / name, weights_only=True)["network"]


def assert_same(run, other):
    for name in ("last.pt", "best.pt"):
        mine, theirs = weights(run, name), weights(other, name)
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    mine, theirs = (pd.read_csv(one.folder / "history.csv").drop(columns="seconds") for one in (run, other))
    pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


def test_history_and_files(smoke):
    run = smoke(epochs=3)
    history = fit(run)
    assert list(history.columns) == ["epoch", "train_loss", "val_loss", "mae", "iou", "lr", "seconds"]
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    about = read_json(run.folder / "experiment.json")
    assert about["identity"]["knobs"]["loss"] == "bce_iou"
    assert {"packages", "commit", "threads", "device", "precision"} <= set(about["environments"][0])
    assert read_json(run.folder / "training.json")["best_epoch"] == history["iou"].idxmax() + 1
    assert [path.name for path in run.folder.glob(".*")] == [".lock"]  # no temporary file is left


def test_best_checkpoint_is_the_best_epoch(smoke):
    run = smoke("lung-bce", epochs=4)
    history = fit(run)
    pack, device = store.load(run), set_up_device(run)
    rows = score(load_best(run, device), pack, pack.rows("Val"), run, device)
    best = history.loc[history["iou"].idxmax()]
    assert best["iou"] > 0
    assert training.metrics.iou(rows) == best["iou"]
    assert rows["loss"].mean() == best["val_loss"]


def test_same_again_bit_for_bit(smoke):
    run = smoke(epochs=2, threads=2)
    fit(run)
    again = run.model_copy(update={"name": "again"})
    fit(again)
    assert_same(run, again)
    other = smoke(epochs=2, seed=1)
    fit(other)
    assert not torch.equal(weights(run)["head.weight"], weights(other)["head.weight"])


def interrupt_at(monkeypatch, call):
    """Let Ctrl-C come in the middle of the epoch of that number."""
    real, calls = training.score, []

    def scored(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(training, "score", scored)


def test_interrupted_run_goes_on_bit_for_bit(smoke, monkeypatch):
    # No loss is better than one before, on whatever machine: the count of such epochs, which must be kept, comes to matter.
    monkeypatch.setattr(ReduceLROnPlateau, "_is_better", lambda self, loss, best: False)
    whole = smoke(epochs=5, patience=2, factor=0.5, lr=0.1, threads=2)
    fit(whole)
    broken = whole.model_copy(update={"name": "broken"})
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(LabkitError, match="interrupted: 2 of 5 epochs are kept in .*broken.*run the same again"):
            fit(broken)
    assert len(pd.read_csv(broken.folder / "history.csv")) == 2
    assert not (broken.folder / "training.json").exists()
    fit(broken)
    assert_same(whole, broken)
    assert pd.read_csv(broken.folder / "history.csv")["lr"].tolist() == [0.1, 0.1, 0.1, 0.05, 0.05]


def test_an_epoch_is_kept_once_it_is_saved(smoke, monkeypatch):
    def interrupted(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.checkpoint, "save", interrupted)
    with pytest.raises(LabkitError, match="interrupted: 0 of 1 epochs are kept"):
        fit(smoke(epochs=1))


SWITCHES = {
    "attention": True,
    "elastic": 0.5,
    "zoom": 0.5,
    "intensity": 0.5,
    "schedule": "cosine",
    "warmup": 1,
    "ema": 0.8,
}


def test_interrupted_run_with_all_switches_goes_on_bit_for_bit(smoke, monkeypatch):
    whole = smoke(epochs=5, stop_after=4, lr=0.1, threads=2, **SWITCHES)
    fit(whole)
    broken = whole.model_copy(update={"name": "broken"})
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(LabkitError, match="2 of 5 epochs are kept"):
            fit(broken)
    fit(broken)
    assert_same(whole, broken)
    averages = [torch.load(run.folder / "last.pt", weights_only=True)["average"] for run in (whole, broken)]
    assert all(torch.equal(averages[0][name], averages[1][name]) for name in averages[0])
    rates = pd.read_csv(whole.folder / "history.csv")["lr"].tolist()
    assert rates == pytest.approx([0.05, 0.1, *(0.05 * (1 + math.cos(math.pi * done / 4)) for done in (1, 2, 3))])


def test_average_equals_the_hand_computation(smoke):
    """After the first step it is the network; then it keeps `ema` of itself and takes the rest from the network."""
    run = smoke(ema=0.7)
    state, random = training.Trainee(run, set_up_device(run)), torch.Generator().manual_seed(0)
    masks = (torch.rand(4, 1, 16, 16, generator=random) < 0.5).float()
    expected = None
    for _ in range(4):
        state.network.train()
        state.step(torch.rand(4, 1, 16, 16, generator=random), masks)
        now = {name: value.detach().clone() for name, value in state.network.named_parameters()}
        expected = {name: 0.7 * expected[name] + 0.3 * now[name] for name in now} if expected else now
    torch.testing.assert_close(dict(state.judged.named_parameters()), expected)
    assert not torch.equal(state.judged.head.weight, state.network.head.weight)
    torch.testing.assert_close(dict(state.judged.named_buffers()), dict(state.network.named_buffers()), rtol=0, atol=0)


def test_average_is_what_is_validated_and_kept(smoke):
    run = smoke(epochs=3, ema=0.5)
    history = fit(run)
    pack, device = store.load(run), set_up_device(run)
    rows = score(load_best(run, device), pack, pack.rows("Val"), run, device)
    assert training.metrics.iou(rows) == history["iou"].max()
    plain = fit(smoke(epochs=3))
    assert plain["train_loss"].tolist() == history["train_loss"].tolist()  # the average does not touch the training
    assert plain["val_loss"].iloc[-1] != history["val_loss"].iloc[-1]


def test_stops_when_the_validation_iou_gets_no_better(smoke):
    run = smoke(epochs=12, stop_after=2)
    ious = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    history = []
    while not training.finished(run, history):
        history.append({"epoch": len(history) + 1, "iou": next(ious)})
    assert len(history) == 4  # two epochs after the second, of which one is as good, but no better
    assert not training.finished(smoke(epochs=12), history) and training.finished(smoke(epochs=4), history)


def test_early_stop_ends_a_training(smoke):
    run = smoke(epochs=9, stop_after=1, lr=1e-9)  # too low a rate to better anything for long
    history = fit(run)
    assert len(history) < 9 and len(history) == training.best_epoch(history.to_dict("records")) + 1
    assert (run.folder / "training.json").is_file() and len(fit(run)) == len(history)


def test_cosine_rises_then_falls():
    rates = [cosine(epoch, epochs=10, warmup=4) for epoch in range(10)]
    assert rates[:5] == [0.2, 0.4, 0.6, 0.8, 1.0] and rates[7] == pytest.approx(0.5)
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] > 0
    for given in ({"warmup": 1}, {"warmup": 3, "schedule": "cosine"}):
        with pytest.raises(LabkitError, match="^warmup: needs schedule cosine and more epochs"):
            load("smoke", "lung-bce", **given)


def test_done_is_not_done_again(smoke):
    run = smoke(epochs=1)
    fit(run)
    before = (run.folder / "last.pt").stat().st_mtime_ns
    assert len(fit(run)) == 1
    assert (run.folder / "last.pt").stat().st_mtime_ns == before


def test_other_knobs_or_code_start_anew(smoke, monkeypatch):
    run = smoke(epochs=1)
    fit(run)
    before = (run.folder / "last.pt").stat().st_mtime_ns
    fit(run.model_copy(update={"lr": 0.02}))
    changed = (run.folder / "last.pt").stat().st_mtime_ns
    assert changed > before
    monkeypatch.setitem(training.code.HASHES, "train", "other code")
    fit(run.model_copy(update={"lr": 0.02}))
    assert (run.folder / "last.pt").stat().st_mtime_ns > changed


def test_numbers_that_are_none_stop_the_run(smoke):
    run = smoke(lr=1e30, clip=1e30, epochs=2)
    told = r"is not finite in epoch 1, step \d \(films .*png.*\); 0 epochs are kept in runs/smoke/.*lower lr"
    with pytest.raises(LabkitError, match=told):
        fit(run)
    assert not (run.folder / "training.json").exists()


def test_recipe_is_the_reports():
    state = training.Trainee(load("paper", "lung-bce"), torch.device("cpu"))
    group = state.optimizer.param_groups[0]
    assert type(state.optimizer) is torch.optim.Adam
    assert (group["lr"], group["weight_decay"]) == (1e-4, 1e-5)
    assert (state.scheduler.patience, state.scheduler.factor, state.scheduler.mode) == (7, 0.5, "min")
    rates = []
    for _ in range(10):  # a validation loss that never falls again
        state.scheduler.step(1.0)
        rates.append(group["lr"])
    assert rates == [1e-4] * 8 + [5e-5] * 2


def test_bf16_and_fp32_agree(smoke):
    losses = []
    for precision in ("fp32", "bf16"):
        run = smoke(epochs=1, precision=precision).model_copy(update={"name": precision})
        losses.append(fit(run)["train_loss"].item())
    assert losses[0] == pytest.approx(losses[1], abs=5e-3)


def test_gpu_that_is_not_there(smoke):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(LabkitError, match="device: this machine has no CUDA GPU"):
        fit(smoke(device="cuda"))


def test_other_films_take_away_the_marks_of_completion(smoke, home):
    """Snakemake knows files, not the films they were made from: what is out of date must go before it looks."""
    run = smoke(epochs=1)
    fit(run)
    eda, mark = files.build_folder("smoke") / "eda.json", run.folder / "training.json"
    pack = store.load(run)
    files.write_json(eda, {"lung": {"fingerprint": pack.about["fingerprint"]}})
    workflow._forget_other_films(run, pack)
    assert eda.is_file() and mark.is_file()
    workflow._forget_other_films(run, dataclasses.replace(pack, about={"fingerprint": "other"}))
    assert not eda.exists() and not mark.exists()


def test_two_trainings_of_one_run_do_not_meet(smoke, capsys):
    run = smoke(epochs=1)
    pack = store.load(run)
    other = threading.Thread(target=fit, args=[run, pack])
    with files.lock(run.folder / ".lock", "a test"):
        other.start()
        said, end = "", time.monotonic() + 60
        while "another training is at work in runs/smoke" not in said and time.monotonic() < end:
            time.sleep(0.05)
            said += capsys.readouterr().out
        assert "another training is at work in runs/smoke" in said
        assert other.is_alive() and not (run.folder / "last.pt").exists()
    other.join(timeout=60)
    assert (run.folder / "training.json").is_file()


def test_a_lost_experiment_json_costs_no_epoch(smoke, monkeypatch, capsys):
    whole, broken = smoke(epochs=4), smoke(epochs=4).model_copy(update={"name": "broken"})
    fit(whole)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(LabkitError, match="2 of 4 epochs are kept"):
            fit(broken)
    (broken.folder / "experiment.json").write_text("{")
    capsys.readouterr()
    fit(broken)
    told = capsys.readouterr().out
    assert "epoch 3/4" in told and "epoch 2/4" not in told and "another machine" not in told
    assert_same(whole, broken)
    assert len(read_json(broken.folder / "experiment.json")["environments"]) == 1


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_good_one(smoke, monkeypatch):
    """Which would be lost if the next one were not written to its end."""
    run = smoke(epochs=3)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(LabkitError, match="2 of 3 epochs are kept"):
            fit(run)
    (run.folder / "last.pt").write_bytes(b"damaged")
    good = (run.folder / "previous.pt").read_bytes()
    state = training.Trainee(run, set_up_device(run))
    state.restore(run.folder, read_json(run.folder / "experiment.json")["identity"])
    assert len(state.history) == 1
    checkpoint.save(run.folder / "last.pt", {}, keep=run.folder / "previous.pt")
    assert (run.folder / "previous.pt").read_bytes() == good


def test_long_epochs_tell_how_far_they_are(smoke, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LONG", 0.0)
    fit(smoke(epochs=1, batch=1, seed=3))
    told = capsys.readouterr().out
    name = "lung-bce_iou,batch=1,epochs=1/seed3"
    for part in (" epoch 1, training", ", scoring 3 films"):
        found = [line for line in told.splitlines() if line.startswith(f"{name}{part}: ")]
        assert found and found[0].endswith(" s left"), told


def test_going_on_elsewhere_is_told(smoke, monkeypatch, capsys):
    run = smoke(epochs=2, threads=2)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(LabkitError, match="1 of 2 epochs are kept"):
            fit(run)
    fit(run.model_copy(update={"threads": 1}))
    assert "goes on with another machine, thread count" in capsys.readouterr().out
    # Both machines are told; one that computed no epoch is not.
    (run.folder / "training.json").unlink()
    fit(run.model_copy(update={"threads": 2}))
    environments = read_json(run.folder / "experiment.json")["environments"]
    assert [environment["threads"] for environment in environments] == [2, 1]


def test_a_machine_that_is_interrupted_in_its_first_epoch_is_not_told(smoke, monkeypatch):
    run = smoke(epochs=2, threads=2)
    for threads, epoch in ((2, 2), (1, 1)):  # the second goes on where the first was, and does not get on
        with monkeypatch.context() as patch:
            interrupt_at(patch, epoch)
            with pytest.raises(LabkitError, match="1 of 2 epochs are kept"):
                fit(run.model_copy(update={"threads": threads}))
    fit(run)
    assert [one["threads"] for one in read_json(run.folder / "experiment.json")["environments"]] == [2]


def test_the_switches_have_no_part_in_a_run_without_them(smoke, monkeypatch):
    def used(*_, **__):
        raise AssertionError("a switch that is off")

    for name in ("_bend", "_zoom", "_other_intensity"):
        monkeypatch.setattr(f"labkit.augment.{name}", used)
    for name in ("AttentionGate", "MultiTaskUNet"):
        monkeypatch.setattr(f"labkit.model.{name}", used)
    monkeypatch.setattr(training, "AveragedModel", used)
    assert len(fit(smoke("infection-bce_iou", epochs=1))) == 1
    for knobs in (
        {"elastic": 1},
        {"zoom": 1},
        {"intensity": 1},
        {"attention": True},
        {"multitask": True},
        {"ema": 0.5},
    ):
        with pytest.raises(AssertionError, match="a switch that is off"):
            fit(smoke("infection-bce_iou", epochs=1, **knobs))


def test_a_few_real_steps_of_the_paper_preset(home, tmp_path):
    """The reference's own experiment: base 64, 256 x 256, a batch of 16; two steps of it in each of two epochs."""
    phantom.write_tree(tmp_path / "films", films=18)
    run = load("paper", "lung-bce_iou", data=str(tmp_path / "films"), epochs=2)
    history = fit(run)
    assert (
        sum(value.numel() for key, value in weights(run).items() if "running" not in key and "num" not in key)
        == 8_044_545
    )
    assert history["train_loss"].iloc[1] < history["train_loss"].iloc[0]


def test_training_with_controls(smoke):
    """With controls=true the control films are trained on and validated with; the headline still leaves them out."""
    plain, with_controls = smoke("infection-bce", epochs=1), smoke("infection-bce", epochs=1, controls=True)
    assert with_controls.name == "infection-bce,controls=True,epochs=1"
    assert fit(plain)["train_loss"].item() != fit(with_controls)["train_loss"].item()
    pack, device = store.load(with_controls), set_up_device(with_controls)
    rows = score(load_best(with_controls, device), pack, pack.rows("Val", controls=True), with_controls, device)
    assert rows["control"].sum() == 4 and len(rows) == 7
    history = fit(with_controls)
    assert history["val_loss"].item() == pytest.approx(rows["loss"].mean())
    assert history["iou"].item() == pytest.approx(training.metrics.iou(rows[~rows["control"]]))


def test_multitask_learns_lungs_and_films_and_reports_the_infection(smoke):
    run = smoke("infection-bce", multitask=True, precision="fp32")
    state, pack = training.Trainee(run, set_up_device(run)), store.load(run)
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    images, masks = next(batches(pack, pack.rows("Train")[:8], 8, state.device, lungs=True))
    expected = losses.bce(state.network.train()(images).infection, masks[:, :1])
    torch.testing.assert_close(state.step(images, masks)[0], expected.detach())
    for head in ("head", "lung_head", "film_head"):
        assert not torch.equal(before[f"{head}.weight"], state.network.state_dict()[f"{head}.weight"])
    history = fit(run)
    best = history.loc[history["iou"].idxmax()]
    rows = score(load_best(run, set_up_device(run)), pack, pack.rows("Val"), run, set_up_device(run))
    assert best["val_loss"] == pytest.approx(rows["loss"].mean()) and best["iou"] == pytest.approx(
        training.metrics.iou(rows)
    )


def test_controls_need_control_films(smoke, tree, tmp_path):
    few = shutil.copytree(tree, tmp_path / "few")
    for name in ("Non-COVID", "Normal"):
        for folder in (few / "Infection Segmentation Data").rglob(name):
            shutil.rmtree(folder)
    with pytest.raises(LabkitError, match="^controls: there is no control film to train on in .*few"):
        fit(smoke("infection-bce", controls=True).model_copy(update={"data": str(few)}))


def test_one_slow_epoch_does_not_count_for_those_to_come(smoke):
    """As of a machine that slept in the middle of an epoch."""
    numbers = {"train_loss": 0.5, "val_loss": 0.5, "mae": 0.5, "iou": 0.5}
    history = [numbers | {"epoch": epoch, "seconds": seconds} for epoch, seconds in ((1, 2.0), (2, 2.0), (3, 100.0))]
    assert "100.0 s, 4 s left" in training._line(history, smoke(epochs=5))
