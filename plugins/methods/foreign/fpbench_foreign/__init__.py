"""Programs of other people: codes put into images in another process."""
