"""Variables of the environment, set, changed and removed; the time zone."""

import os
import time

from ways import go

os.environ["MINE"] = "1"
os.environ["TZ"] = "Asia/Tokyo"
time.tzset()


def task(index):
    zone = time.strftime("%H %Z", time.localtime(index * 3600))
    return os.environ.get("MINE"), os.getenv("HOME"), zone


def main(each):
    first = each(task)
    os.environ["MINE"] = "2"
    del os.environ["HOME"]
    return first, each(task)


if __name__ == "__main__":
    go(main)
