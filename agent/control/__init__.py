"""What a local client may ask of the running agent, over its socket."""
