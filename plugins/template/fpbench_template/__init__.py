"""A spread-spectrum mark: the smallest honest method."""
