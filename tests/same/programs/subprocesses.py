"""Tasks start programs, feed and read them."""

import os
import subprocess
import sys

from ways import go


def task(index):
    words = [sys.executable, "-S", "-c", "import sys; print(int(sys.stdin.read()) * 2, sys.argv)"]
    ran = subprocess.run(words, input=str(index), capture_output=True, text=True, check=True)
    failed = subprocess.run(["false"], check=False)
    return ran.stdout, failed.returncode, os.popen("echo a").read()


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main, many=12)
