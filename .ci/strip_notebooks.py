"""Strip notebooks of their outputs with nbstripout, which leaves those of cells tagged keep_output; and of saved widgets.

nbstripout alone would also take the execution counts of those cells, and nbval does not check a cell that has none.
"""

import sys
from pathlib import Path

import nbformat
from nbstripout import strip_output

for path in map(Path, sys.argv[1:]):
    notebook = nbformat.read(path, as_version=4)
    notebook = strip_output(notebook, False, keep_count=False, keep_id=True, extra_keys=["metadata.widgets"])
    for cell in notebook.cells:
        if cell.get("outputs"):
            cell.execution_count = 1
    nbformat.write(notebook, path)
