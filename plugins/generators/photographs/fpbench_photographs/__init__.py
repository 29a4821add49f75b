"""A host without a model: photographs of the data set."""
