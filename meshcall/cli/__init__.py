"""The command line. It talks to the daemon through the local API and never loads the node itself."""
