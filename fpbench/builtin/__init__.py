"""Built-in plugins; they use the public hooks like any other plugin."""
