"""The order of sets, with PYTHONHASHSEED set."""

from ways import go

WORDS = ("one", "two", "three", "four")


def task(index):
    return list(set(WORDS)), list({f"w{number}" for number in range(index % 20)}), hash("word") % 97


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
