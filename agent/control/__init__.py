"""The local socket of the running agent: its server, its requests and the status document."""
