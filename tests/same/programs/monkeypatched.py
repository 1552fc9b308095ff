"""A function of the program's module that was replaced, as tests do."""

import shop_settings
from ways import go


def dearer(index):
    return 100 * shop_settings.RATE + index


shop_settings.price = dearer


def task(index):
    return shop_settings.price(index), shop_settings.total([index, 1])


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
