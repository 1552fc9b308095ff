"""Tasks raise: own classes with arguments, causes, groups, notes, and `SystemExit`."""

from ways import go


class ShopError(ValueError):
    def __init__(self, text, number):
        super().__init__(text)
        self.number = number


def failing(index):
    try:
        {}[index]
    except KeyError as error:
        raise ShopError("no such thing", index) from error


def caught(each, task):
    try:
        each(task)
    except BaseException as error:
        led = [type(one).__name__ for one in (error.__cause__, error.__context__) if one]
        led = [name for name in led if name != "WorkerTraceback"]
        inner = getattr(error, "exceptions", ())
        return type(error), str(error), error.args, getattr(error, "number", None), led, inner
    return None


def ending(index):
    raise SystemExit(index + 3)


def grouped(index):
    raise ExceptionGroup("two", [ValueError(index), ShopError("a", 2)])


def noted(index):
    try:
        return 1 / index
    except ZeroDivisionError as error:
        return repr(error)


def main(each):
    return [caught(each, task) for task in (failing, ending, grouped)], each(noted)[0]


if __name__ == "__main__":
    go(main)
