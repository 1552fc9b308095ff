"""A test case of `unittest`, whose methods are tasks."""

import unittest

from ways import go


class Prices(unittest.TestCase):
    rate = 3

    def setUp(self):
        self.base = 1

    def price(self, index):
        return self.base + index * self.rate

    def test_prices(self):
        go(lambda each: each(self.price))


if __name__ == "__main__":
    unittest.main()
