"""What each kind of stage does, one file each, and the bench that they share."""
