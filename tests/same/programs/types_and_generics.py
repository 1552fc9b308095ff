"""`NewType`, `TypeVar`, generics, protocols and typed dictionaries."""

from typing import Generic, NamedTuple, NewType, Protocol, TypedDict, TypeVar, runtime_checkable

from ways import go

Item = TypeVar("Item")
UserId = NewType("UserId", int)


class Row(TypedDict, total=False):
    user: UserId


class Pair(NamedTuple):
    left: int
    right: "Box[int]"


@runtime_checkable
class Sized(Protocol):
    def size(self): ...


class Box(Generic[Item]):
    def __init__(self, item: Item) -> None:
        self.item = item

    def size(self) -> int:
        return 1

    def __repr__(self) -> str:
        return f"Box({self.item!r})"


def task(index):
    box = Box[int](UserId(index))
    row: Row = {"user": UserId(index)}
    return box, Pair(index, box), row, isinstance(box, Sized), Box[str] == Box[str]


def main(each):
    given = each(task)
    return given, all(isinstance(box, Box) for box, *_ in given)


if __name__ == "__main__":
    go(main)
