"""The numbers of the board, each with one definition."""
