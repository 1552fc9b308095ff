"""Settings in a module of the program's own that it changes before the batch."""

import shop_settings
from ways import go

shop_settings.RATE = 7
shop_settings.FLAGS["fast"] = True
shop_settings.NAMES = ("a", "b")


def task(index):
    return shop_settings.price(index), shop_settings.FLAGS, shop_settings.NAMES


def main(each):
    first = each(task)
    shop_settings.RATE = 8
    return first, each(task), each(shop_settings.price)


if __name__ == "__main__":
    go(main)
