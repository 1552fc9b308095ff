"""Batches described by a card: input, function, output, limits; and the default card.

What is here reads tables, draws samples, puts rows in order and writes them. It starts no worker
and prints nothing.
"""
