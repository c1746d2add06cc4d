"""Media endpoints in processes of their own: a worker for each call, one for each room.

The node keeps keys, sockets, ICE and the DHT. A worker holds what strangers' packets are decoded by.
"""
