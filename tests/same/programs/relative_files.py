"""Files relative to the folder, which changes; the mask of new files."""

import os
import pathlib
import tempfile

from ways import go

os.umask(0o027)


def task(index):
    path = pathlib.Path(f"made-{index}")
    path.write_text(pathlib.Path("given.txt").read_text(encoding="utf-8"), encoding="utf-8")
    return path.exists(), oct(path.stat().st_mode), pathlib.Path.cwd().name


def main(each):
    with tempfile.TemporaryDirectory() as folder:
        given = []
        for name in ("a", "b"):
            inner = pathlib.Path(folder, name)
            inner.mkdir()
            (inner / "given.txt").write_text(name, encoding="utf-8")
            os.chdir(inner)
            given.append((each(task), sorted(one.name for one in inner.iterdir())))
        os.chdir("/")
    return given


if __name__ == "__main__":
    go(main)
