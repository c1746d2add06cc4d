"""STUN (RFC 8489), as ICE (RFC 8445) and TURN (RFC 8656) use it. Pure."""
