"""Numbers and names in the locale that was chosen."""

import calendar
import locale

from ways import go

locale.setlocale(locale.LC_ALL, "C.UTF-8")


def task(index):
    return (
        locale.setlocale(locale.LC_ALL),
        locale.format_string("%d", 1000 + index),
        calendar.month_name[index % 12 + 1],
    )


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
