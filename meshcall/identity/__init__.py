"""Who a peer is: the ID, its keys, what they sign and seal, and how people check them.

Law 1: this package is the only importer of ``cryptography``.
Law 2: a :class:`~meshcall.identity.peer_id.PeerId` that exists holds a key that can be trusted to verify:
weak, non-canonical and off-curve keys are refused wherever one is made.
Law 3: no secret is shown by ``repr``, by ``str``, by an exception or by ``pickle``.
"""
