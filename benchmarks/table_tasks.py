"""A task in a module that imports pandas, as a user's own does: what does a worker then cost?"""

import pandas as pd
from tasks import meet


def meet_with_pandas(place):
    assert pd.__version__
    return meet(place)
