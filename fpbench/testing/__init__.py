"""For plugin authors: tiny CPU fakes with known answers."""
