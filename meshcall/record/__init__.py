"""Signed records as the DHT carries them: layout, validation, what we keep for others, what we publish.

A storage node sees only what is here: a type, a key that changes each epoch, a number, sealed octets.
"""
