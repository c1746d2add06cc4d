"""What the project promises in numbers, measured: ``python -m netsim bench NAME``."""
