"""Published autoencoders: what lies in their files, and the networks of it."""
