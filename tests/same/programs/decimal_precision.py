"""Decimal's precision, rounding and traps."""

import decimal

from ways import go

decimal.getcontext().prec = 5
decimal.getcontext().rounding = decimal.ROUND_UP
decimal.getcontext().traps[decimal.Inexact] = False
decimal.DefaultContext.traps[decimal.DivisionByZero] = False


def task(index):
    return str(decimal.Decimal(1) / decimal.Decimal(index + 7))


def main(each):
    first = each(task)
    with decimal.localcontext() as context:
        context.prec = 2
        return first, each(task)


if __name__ == "__main__":
    go(main)
