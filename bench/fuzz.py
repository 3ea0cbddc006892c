"""Real faults, many of them: damaged films, damaged packs and results, processes killed with SIGKILL at random moments.

Each must end in an error of one line that names the file, or in the results of an undisturbed run, bit for bit
(tests/faults.py). Nothing is timed.
"""

import sys

from labkit.files import ROOT

sys.path.insert(0, str(ROOT / "tests"))

import faults  # noqa: E402

if __name__ == "__main__":
    faults.main()
