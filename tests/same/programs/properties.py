"""Properties, descriptors, class and static methods."""

from ways import go


class Positive:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, one, owner):
        return self if one is None else getattr(one, self.name)

    def __set__(self, one, value):
        if value < 0:
            message = f"{self.name} is {value}"
            raise ValueError(message)
        setattr(one, self.name, value)


class Account:
    balance = Positive()
    opened = 0

    def __init__(self, balance):
        self.balance = balance

    @property
    def half(self):
        return self.balance / 2

    @half.setter
    def half(self, value):
        self.balance = value * 2

    @classmethod
    def empty(cls):
        return cls(0)

    @staticmethod
    def rate():
        return 0.5


def task(index):
    account = Account.empty()
    account.half = index
    try:
        account.balance = -1
    except ValueError as error:
        return account.balance, account.half, str(error), Account.rate()
    return None


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
