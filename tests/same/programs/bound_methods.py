"""Methods of an instance, of a class, and of a builtin."""

from ways import go


class Shop:
    rate = 2

    def __init__(self, prices):
        self.prices = prices

    def price(self, index):
        return self.prices[index % len(self.prices)] * self.rate

    @classmethod
    def doubled(cls, index):
        return cls.rate * index

    @staticmethod
    def plain(index):
        return index


def main(each):
    Shop.rate = 3
    shop = Shop([1, 2, 3])
    return each(shop.price), each(Shop.doubled), each(Shop.plain), each("{} good".format)


if __name__ == "__main__":
    go(main)
