"""Temporary folders and files in tasks."""

import pathlib
import tempfile

from ways import go


def task(index):
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile("w+") as file:
        path = pathlib.Path(folder, "x")
        path.write_text(str(index), encoding="utf-8")
        file.write("held")
        file.flush()
        file.seek(0)
        return path.read_text(encoding="utf-8"), file.read(), tempfile.gettempdir()


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
