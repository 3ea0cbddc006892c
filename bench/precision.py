"""Does bfloat16 bend the results? The demo preset's lung and infection runs with BCE+IoU, in bfloat16 and in float32.

Two seeds each: what bfloat16 changes is to be held against what another seed changes.
"""

import shutil
import sys
from contextlib import redirect_stdout

import pandas as pd
from common import show

from labkit.evaluation import evaluate
from labkit.presets import load
from labkit.training import fit

SEEDS = 2


def main() -> None:
    rows = []
    for name in ("lung-bce_iou", "infection-bce_iou"):
        curves, ious = {}, {}
        for seed in range(SEEDS):
            for precision in ("bf16", "fp32"):
                run = load("demo", name, seed=seed, precision=precision, device="cpu")
                # In runs/bench, and anew: the demo's own may be another machine's.
                run = run.model_copy(update={"preset": "bench"})
                shutil.rmtree(run.folder, ignore_errors=True)
                with redirect_stdout(sys.stderr):  # a line an epoch
                    curves[seed, precision] = fit(run)
                    ious[seed, precision] = evaluate(run)["test"]["iou"]
        seeds = range(SEEDS)
        loss = max(abs(curves[seed, "bf16"]["train_loss"] - curves[seed, "fp32"]["train_loss"]).max() for seed in seeds)
        best = pd.Series({key: curve["iou"].max() for key, curve in curves.items()}).unstack()
        test = pd.Series(ious).unstack()
        rows.append(
            [
                name,
                f"{loss:.4f}",
                f"{best['bf16'].mean():.3f} / {best['fp32'].mean():.3f}",
                f"{test['bf16'].mean():.3f} / {test['fp32'].mean():.3f}",
                ", ".join(f"{difference:+.3f}" for difference in test["bf16"] - test["fp32"]),
                f"{test['fp32'].std():.3f}",
            ]
        )
    show(
        [
            "run", "largest difference of the training loss in any epoch", "best validation IoU, bf16 / fp32",
            "test IoU, bf16 / fp32", "test IoU, bf16 − fp32, by seed", "standard deviation over seeds, fp32",
        ],
        rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
