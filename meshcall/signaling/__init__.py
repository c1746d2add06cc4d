"""What two peers say to each other to set up a call, and how it is sealed into records.

The path of a message: :mod:`messages` (body) -> :mod:`envelope` (signed, sealed, padded) ->
:mod:`rendezvous` (where it goes) -> :mod:`meshcall.record` (what storage nodes see).
"""
