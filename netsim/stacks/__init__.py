"""What calls whom in the lab: one module per program that can make a call."""
