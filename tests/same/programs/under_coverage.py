"""A program that is run under coverage."""

from ways import go


def task(index):
    if index % 2:
        return "odd"
    return "even"


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
