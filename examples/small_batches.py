"""Small batches go to threads, larger ones to processes, by themselves; the report says why.

Run it with `python examples/small_batches.py`.
"""

import hashlib

from adaptive_exec import adaptive_executor


def score(sample: str) -> str:
    """Score a sample; a stand-in for work that takes a while."""
    digest = hashlib.pbkdf2_hmac("sha256", sample.encode(), b"salt", 20_000)
    return digest.hex()[:8]


for count in (3, 12):
    samples = [f"sample {number}" for number in range(count)]
    with adaptive_executor(samples) as executor:
        scores = list(executor.map(score, samples))
    plan = next(one for one in executor.report.decisions if one.event == "planned")
    print(
        f"{count} samples: {plan.new}, since {plan.reason.code}; scores {scores[0]} to {scores[-1]}"
    )
