"""`catch_warnings(record=True)` around the batch."""

import warnings

from ways import go


class OldFormatWarning(UserWarning):
    pass


def task(index):
    warnings.warn(OldFormatWarning(f"format {index}"), stacklevel=1)
    return index


def main(each):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        given = each(task)
    return given, sorted((str(one.message), one.category.__name__, one.lineno) for one in seen)


if __name__ == "__main__":
    go(main)
