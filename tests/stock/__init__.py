"""Attacks side by side: each succeeds against the kademlia package as it is, and fails against meshcall."""
