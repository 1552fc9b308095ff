"""A database in memory, one in a file that all tasks write to, and an adapter of the program's."""

import contextlib
import os
import sqlite3
import tempfile

from ways import go


def task_on(path, index):
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as book, book:
        book.execute("insert into seen values (?)", (index,))
    with contextlib.closing(sqlite3.connect(":memory:")) as book:
        return book.execute("select ? * 2", (index,)).fetchone()


def main(each):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "book")
        with contextlib.closing(sqlite3.connect(path)) as book, book:
            book.execute("create table seen (number)")
        given = each(lambda index: task_on(path, index))
        with contextlib.closing(sqlite3.connect(path)) as book:
            return given, book.execute("select number from seen order by number").fetchall()


if __name__ == "__main__":
    go(main, many=50)
