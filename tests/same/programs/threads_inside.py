"""Threads and their pool in a task; what they print comes with the task."""

import threading
from concurrent.futures import ThreadPoolExecutor

from ways import go

LOCAL = threading.local()


def add(lock, seen, number):
    LOCAL.number = number
    with lock:
        seen.append(LOCAL.number)


def task(index):
    seen, lock = [], threading.Lock()
    threads = [threading.Thread(target=add, args=(lock, seen, number)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ThreadPoolExecutor(2) as pool:
        doubled = list(pool.map(lambda number: number * 2, range(index % 5)))
        pool.submit(print, "from a thread", index).result()
    return sorted(seen), doubled


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main, many=50)
