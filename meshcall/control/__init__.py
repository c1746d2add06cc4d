"""The local API: one HTTP application on a unix socket, and its client."""
