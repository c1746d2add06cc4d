"""End-to-end attacks on whole nodes: real sockets on loopback, a real DHT, real homes on the disk.

Each file is one kind of attacker; each test's docstring says what must hold.

- ``test_privacy``: storage nodes that keep all they see of a hundred calls, over four epochs.
- ``test_theft``: traffic that was recorded, and the whole disk stolen two days later.
- ``test_flood``: ten thousand junk datagrams a second for a minute, while a contact calls.
- ``test_replay``: offers and presences of earlier, delivered and stored again.
- ``test_strangers``: offers that name victims, that want an address, that want every socket.
- ``test_clocks``: clocks that are a minute and ten minutes wrong.
- ``test_logs``: the log of twenty calls at its loudest.

Only the media are played (``nodes.PlayedEndpoint``), where a test is about the messages around a call: with
them a hundred calls take seconds. ``flooder.py`` and ``callee.py`` are processes of their own.
Run it with ``pytest tests/attacks``; ``-s`` shows the figures.
"""
