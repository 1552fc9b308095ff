"""Runs a notebook, one way after the other in cells; each cell's output is that way's."""

import json
import os
from pathlib import Path

SET_UP = """
import sys
from ways import opened

RATE = 1


class Shop:
    def __init__(self, index):
        self.index = index


def task(index):
    print("task", index)
    print("careful", index, file=sys.stderr)
    return Shop(index).index * RATE
"""
CELL = """
with opened({way!r}) as each:
    given = each(task)
RATE += 1
print("given", given, RATE)
RATE -= 1
"""


def run(ways, folder):
    """Run all cells in one kernel, and write down what each has shown."""
    import nbformat
    from nbclient import NotebookClient

    cells = [SET_UP, *(CELL.format(way=way) for way in ways)]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(made, timeout=120, kernel_name="python3", allow_errors=True).execute()
    for way, cell in zip(ways, made.cells[1:], strict=True):
        texts = {"stdout": "", "stderr": "", "given": ""}
        for output in cell.outputs:
            if output.output_type == "stream":
                texts[output.name] += output.text
            else:
                texts["given"] += "\n".join(output.traceback)
        (folder / f"{way}.given").write_text(texts["given"], encoding="utf-8")
        (folder / f"{way}.out").write_text(texts["stdout"], encoding="utf-8")
        (folder / f"{way}.err").write_text(texts["stderr"], encoding="utf-8")


if __name__ == "__main__":
    run(json.loads(os.environ["SAME_WAYS"]), Path(os.environ["SAME_FOLDER"]))
