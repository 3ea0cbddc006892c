"""`labkit download`: COVID-QU-Ex from Kaggle into data/covidqu, or words on how to get it by hand."""

from pathlib import Path

from labkit import dataset, files
from labkit.errors import LabkitError
from labkit.files import shown

HANDLE = "anasmohammedtahir/covidqu"
ABOUT = """COVID-QU-Ex: 33,920 chest X-rays with lung masks, 5,826 of them for infection masks; about 1.5 GB.
  Licence: CC BY-SA 4.0; the films come from public collections whose own terms vary.
  Cite: A. M. Tahir et al., "COVID-19 infection localization and severity grading from chest X-ray images",
        Computers in Biology and Medicine 139 (2021) 105002; data set doi:10.34740/kaggle/dsv/3122958."""
BY_HAND = f"""  1. Log in to Kaggle and download "COVID-QU-Ex Dataset" ({HANDLE}).
  2. Unpack it; the folder with 'Lung Segmentation Data' and 'Infection Segmentation Data' is the one that counts.
  3. Put or link that folder at data/covidqu, then `labkit check data/covidqu`.
  For this command to do it: a Kaggle API token in ~/.kaggle/kaggle.json (Kaggle > Settings > API), and a network."""


def download() -> None:
    """Fetch the data set with Kaggle's own client and link it at data/covidqu; what is there already stays.

    Raises LabkitError, with what to do by hand, if it cannot be fetched or is not what it should be.
    """
    print(ABOUT, flush=True)
    target = files.ROOT / "data" / "covidqu"
    if target.exists():
        print(f"{shown(target)} is there already; `labkit check {shown(target)}` looks at it")
        return
    import kagglehub  # takes a moment to import: only where it is used

    try:
        fetched = Path(kagglehub.dataset_download(HANDLE))
    except Exception as error:  # no network, no token, no disk, or Kaggle's refusal: the way by hand is the same
        reason = " ".join(str(error).split())[:100]
        raise LabkitError(
            f"download: Kaggle did not give it ({type(error).__name__}: {reason}). By hand:\n{BY_HAND}"
        ) from None
    root = next((path.parent for path in sorted(fetched.rglob(dataset.TREES["infection"]))), None)
    if root is None:
        raise LabkitError(f"download: {fetched} has no folder '{dataset.TREES['infection']}'. By hand:\n{BY_HAND}")
    target.unlink(missing_ok=True)  # a link that leads nowhere
    target.symlink_to(root)
    print(f"{shown(target)} leads to {root}; `labkit check {shown(target)}` looks at it")
