"""`python -m package.tool`, whose tasks import siblings."""

from shop.prices import go, price


def task(index):
    from . import prices

    return price(index), prices.RATE, __name__, __package__


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
