"""The commands of ``python -m netsim``, one module each."""
