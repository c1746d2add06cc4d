"""Calls by public key, with no server.

Public names live in :mod:`meshcall.node`, :mod:`meshcall.config`, :mod:`meshcall.errors` and
:mod:`meshcall.testing`. Nothing is re-exported here, so that importing a submodule (the command line,
say) never loads aiortc.
"""

__version__ = "0.1.0"
