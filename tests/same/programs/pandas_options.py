"""pandas' options decide how frames are written."""

import pandas as pd
from ways import go

pd.set_option("display.precision", 2)
pd.set_option("display.max_columns", 3)
pd.set_option("display.float_format", "{:.3f}".format)
FRAME = pd.DataFrame({name: [0.123456789, 2.0] for name in "abcdef"})


def task(index):
    frame = FRAME + index
    return str(frame), float(frame["a"].sum()), str(frame.dtypes.iloc[0])


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
