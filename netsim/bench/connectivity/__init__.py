"""The bench of paths: who reaches whom, how soon, and what of a call is heard when its network changes."""
