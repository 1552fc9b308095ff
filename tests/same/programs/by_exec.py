"""Functions made by `exec` and `types.FunctionType` with globals of their own."""

import types

from ways import go

SPACE = {"RATE": 5}
exec("def price(index):\n    return index * RATE\n", SPACE)
OTHER = types.FunctionType(SPACE["price"].__code__, {"RATE": 6, "__builtins__": __builtins__})


def main(each):
    first = each(SPACE["price"])
    SPACE["RATE"] = 7
    return first, each(OTHER), each(SPACE["price"])


if __name__ == "__main__":
    go(main)
