"""A plug-in that is loaded from its file, and is in `sys.modules` under a name of its own."""

import importlib.util
import pathlib
import sys

from ways import go

path = pathlib.Path(__file__).with_name("shop_settings.py")
spec = importlib.util.spec_from_file_location("plug_in_of_mine", path)
plug_in = importlib.util.module_from_spec(spec)
sys.modules["plug_in_of_mine"] = plug_in
spec.loader.exec_module(plug_in)
plug_in.RATE = 9


def main(each):
    return each(plug_in.price), each(lambda index: plug_in.total([index, 2]))


if __name__ == "__main__":
    go(main)
