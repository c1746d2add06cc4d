"""The attacks on the pure parts that need time, each by its name: in virtual time or on octets."""
