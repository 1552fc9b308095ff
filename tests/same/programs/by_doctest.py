"""A program whose tasks are written in a doctest.

>>> from ways import go
>>> def task(index):
...     return index * 2
>>> go(lambda each: each(task))
"""

if __name__ == "__main__":
    import doctest

    doctest.testmod()
