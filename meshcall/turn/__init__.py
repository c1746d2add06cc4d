"""TURN (RFC 8656): a client and a server, machines that are given octets and time. Pure."""
