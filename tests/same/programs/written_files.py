"""Each task writes a file of its own: CSV, JSON, pickle, and some left to be closed by itself."""

import csv
import json
import os
import pickle
import tempfile

from ways import go


def task_in(folder, index):
    with open(os.path.join(folder, f"{index}.csv"), "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[index, "é"]])
    with open(os.path.join(folder, f"{index}.json"), "w", encoding="utf-8") as file:
        json.dump({"index": index}, file)
    with open(os.path.join(folder, f"{index}.pickle"), "wb") as file:
        pickle.dump((task_in, index), file)
    with open(os.path.join(folder, f"{index}.pickle"), "rb") as file:
        return pickle.load(file)[1]


def main(each):
    with tempfile.TemporaryDirectory() as folder:
        given = each(lambda index: task_in(folder, index))
        texts = []
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                texts.append((name, file.read()))
        return given, texts


if __name__ == "__main__":
    go(main, many=50)
