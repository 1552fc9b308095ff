"""A model that is loaded by the first task which needs it."""

from ways import go

MODEL = None


class Model:
    def __init__(self):
        self.weights = list(range(1000))

    def predict(self, index):
        return self.weights[index] * 2


def get_model():
    global MODEL
    if MODEL is None:
        MODEL = Model()
    return MODEL


def task(index):
    return get_model().predict(index), get_model() is MODEL


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
