"""Published data sets, prepared once from torchvision's own classes."""
