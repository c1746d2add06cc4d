"""Octets of strangers, mutated from a corpus, into every parser that faces them.

python -m tests.fuzz --inputs 200000 --seed 1
"""
